"""A study as one picture: its history, which parameters matter, how they go together, and who was stopped where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#b0b0b0"  # told apart by everybody (Okabe and Ito)
INCHES = (13.0, 9.0)


def plot(study: optuna.Study, path: Path, name: str, metric: str) -> None:
    """Draw a study to a .png or .svg file. Of several objectives the first, `metric`, is drawn. Raises OSError."""
    matplotlib.use("Agg")  # no window, wherever this runs
    from matplotlib import pyplot

    trials = study.get_trials(deepcopy=False)
    is_maximised = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
    figure, panels = pyplot.subplots(2, 2, figsize=INCHES, constrained_layout=True)
    counts = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    figure.suptitle(
        f"{name}: {counts[TrialState.COMPLETE]} complete, {counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed trials"
    )
    _history(panels[0, 0], trials, metric, is_maximised)
    _importance(panels[0, 1], study, is_maximised)
    _parallel(panels[1, 0], trials, metric, is_maximised)
    _rungs(panels[1, 1], trials, metric)
    for panel in panels.flat:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _history(panel: Axes, trials: Sequence[FrozenTrial], metric: str, is_maximised: bool) -> None:
    """Value by number, and the best so far."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.intermediate_values]
    panel.scatter([t.number for t in pruned], [_last(t) for t in pruned], s=28, color=GREY, marker="x", label="pruned")
    values = [trial.values[0] for trial in complete]
    panel.scatter([t.number for t in complete], values, s=28, color=BLUE, label="complete")
    best = (np.maximum if is_maximised else np.minimum).accumulate(values) if values else []
    panel.step([t.number for t in complete], best, where="post", color=ORANGE, label="best so far")
    panel.set(title="history", xlabel="trial", ylabel=metric)
    panel.legend(frameon=False)


def _importance(panel: Axes, study: optuna.Study, is_maximised: bool) -> None:
    """Share of the variance that each parameter explains, by PED-ANOVA (Watanabe et al. 2023)."""
    panel.set(title="importance (PED-ANOVA)", xlabel="share")
    try:
        sign = -1.0 if is_maximised else 1.0  # what is low counts there
        target = (lambda trial: sign * trial.values[0]) if len(study.directions) > 1 else None
        found = optuna.importance.get_param_importances(study, target=target)
    except (ValueError, RuntimeError) as error:  # too few trials, or all of them equal
        panel.text(0.5, 0.5, f"not yet: {error}", ha="center", va="center", wrap=True, transform=panel.transAxes)
        panel.set_yticks([])
        return
    names = list(found)[::-1]
    panel.barh([_short(name) for name in names], [found[name] for name in names], color=BLUE)


def _parallel(panel: Axes, trials: Sequence[FrozenTrial], metric: str, is_maximised: bool) -> None:
    """A line for each complete trial through its parameters, the best ones on top and dark."""
    complete = sorted((t for t in trials if t.state == TrialState.COMPLETE), key=lambda t: t.values[0])
    complete = complete if is_maximised else complete[::-1]
    names = list(dict.fromkeys(name for trial in complete for name in trial.params))
    scales = {name: _Scale([t for t in complete if name in t.params], name) for name in names}
    colours = matplotlib.colormaps["cividis_r"](np.linspace(0.0, 1.0, max(2, len(complete))))
    for colour, trial in zip(colours, complete, strict=False):
        points = [scales[n].place(trial.params[n]) if n in trial.params else np.nan for n in names]
        panel.plot(range(len(names)), points, color=colour, linewidth=1.2)
    for index, name in enumerate(names):
        panel.axvline(index, color="black", linewidth=0.6)
        for place, text in scales[name].ticks():
            panel.text(index + 0.03, place, text, fontsize=7, va="center")
    panel.set(title=f"parameters, the best {metric} dark", ylim=(-0.05, 1.05), yticks=[])
    panel.set_xticks(range(len(names)), [_short(name) for name in names], fontsize=8)


class _Scale:
    """Places the values of a parameter between 0 and 1: by logarithm where the search did so, choices side by side."""

    def __init__(self, trials: Sequence[FrozenTrial], name: str) -> None:
        found = trials[0].distributions[name]
        self._choices: list[Any] | None = None
        self._is_log = bool(getattr(found, "log", False))
        if isinstance(found, optuna.distributions.CategoricalDistribution):
            self._choices = list(found.choices)
            self._ends = (0.0, max(1.0, len(self._choices) - 1.0))
        else:
            assert isinstance(found, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution)
            self._ends = (self._number(found.low), self._number(found.high))

    def _number(self, value: Any) -> float:
        if self._choices is not None:
            return float(self._choices.index(value))
        return float(np.log10(value)) if self._is_log else float(value)

    def place(self, value: Any) -> float:
        """Where a value lies, from 0 to 1."""
        low, high = self._ends
        return (self._number(value) - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts of what is written beside the axis."""
        if self._choices is not None:
            return [(self.place(choice), str(choice)) for choice in self._choices]
        low, high = self._ends
        return [(end, f"{10**value if self._is_log else value:.3g}") for end, value in ((0.0, low), (1.0, high))]


def _rungs(panel: Axes, trials: Sequence[FrozenTrial], metric: str) -> None:
    """Values by evaluation; who was stopped is grey, with a cross where."""
    for trial in trials:
        steps = sorted(trial.intermediate_values)
        values = [trial.intermediate_values[step] for step in steps]
        if trial.state == TrialState.PRUNED:
            panel.plot(steps, values, color=GREY, linewidth=0.9, zorder=1)
            panel.scatter(steps[-1:], values[-1:], color=GREY, marker="x", s=24, zorder=1)
        elif trial.state == TrialState.COMPLETE:
            panel.plot(steps, values, color=BLUE, linewidth=1.2, alpha=0.7, zorder=2)
    panel.set(title="evaluations: blue to the end, grey stopped at the cross", xlabel="evaluation", ylabel=metric)


def _last(trial: FrozenTrial) -> float:
    return trial.intermediate_values[max(trial.intermediate_values)]


def _short(path: str) -> str:
    """The end of a path says enough."""
    return path.rsplit(".", 1)[-1]
