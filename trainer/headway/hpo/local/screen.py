"""A local study as a person sees it: a table that stays in place on a terminal, or lines for what happens."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from headway_api.hpo_study import HPOStudySpec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headway.hpo.local.engine import Moment, ShownTrial
from headway.units import percent, short_duration

PLAIN_SECONDS = 15.0


class StudyScreen:
    """Shows moments of a study between `with` and its end."""

    def __init__(self, console: Console, spec: HPOStudySpec, plain: bool) -> None:
        self._console, self._spec = console, spec
        self._live = None if plain else Live(console=console, auto_refresh=False, transient=True)
        self._next = 0.0

    def show(self, moment: Moment, said: Iterable[str]) -> None:
        """Print what has happened, and show the present moment."""
        for line in said:
            self._console.print(Text(f" {line}"), soft_wrap=True)
        if self._live is not None:
            self._live.update(render(self._spec, moment), refresh=True)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            self._console.print(headline(self._spec, moment), soft_wrap=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()


def headline(spec: HPOStudySpec, moment: Moment) -> Text:
    """Counts, the best so far, and how long it may take."""
    counts = moment.snapshot.trials
    words = [
        f"{short_duration(moment.seconds):>6}",
        f"{counts.finished} of {counts.total} trials finished",
        f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed",
        f"{len(moment.running)} running",
    ]
    best = next(iter(moment.snapshot.best), None)
    if best is not None:
        words.append(f"best {', '.join(f'{m} {v:.4g}' for m, v in best.values.items())} (trial {best.number})")
    left = counts.total - counts.finished
    if moment.leaving:
        words.append("saving… (Ctrl-C again leaves at once, without saving)")
    elif moment.snapshot.seconds > 0 and left > 0:
        words.append(f"about {short_duration(left * moment.snapshot.seconds / spec.budget.parallel)} left")
    return Text(" · ".join(words))


def render(spec: HPOStudySpec, moment: Moment) -> Group:
    """Return the lines for a terminal: a row for each trial that runs."""
    table = Table(box=None, padding=(0, 2, 0, 1), header_style="dim")
    for column in ("trial", "steps", spec.objectives[0].metric, *(p.path.rsplit(".", 1)[-1] for p in spec.parameters)):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    values = {row.number: row.values for row in moment.snapshot.running}
    for trial in moment.running:
        table.add_row(*cells(spec, trial, values.get(trial.number, {})))
    return Group(Text(), headline(spec, moment), table)


def cells(spec: HPOStudySpec, trial: ShownTrial, values: dict[str, Any]) -> list[str]:
    """Return the row of a trial."""
    name = str(trial.number) if spec.seeds_per_trial == 1 else f"{trial.number}, seed {trial.seed_index}"
    progress = trial.view.progress if trial.view is not None else None
    share = percent(trial.step / spec.run_template.train.total_steps) if progress is not None else "starting"
    success = progress.success if progress is not None and progress.success else "–"
    if trial.pruned:
        share = "stopping"
    return [name, share, success, *(short(values[p.path]) if p.path in values else "–" for p in spec.parameters)]


def short(value: Any) -> str:
    """Return a parameter's value for a table."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
