"""Ray's schedulers, each writing what it decides to the study's record at once.

Tuner.restore forgets what a scheduler knows (Ray 2.60 saves trials, searcher and callbacks alone): ASHA's rungs would
begin empty. Ours are filled again from the record, and nothing of Ray's is ever unpickled.
"""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

from headway_api.hpo_study import HPOStudySpec
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from headway.hpo.pruners import evaluations_per_run
from headway.hpo.raytune.book import Book

EARLIER = "earlier-"  # before the names of trials that ended before this process began


class NotedHalving(AsyncHyperBandScheduler):
    """ASHA over the evaluations of a study, or asynchronous Hyperband: ASHA in brackets that begin at other rungs each.

    An evaluation that the record has was decided before: it goes on.
    """

    def __init__(self, spec: HPOStudySpec, book: Book) -> None:
        assert spec.engine.ray_tune is not None
        scheduler, self._last, self._seed = spec.engine.ray_tune.scheduler, evaluations_per_run(spec), spec.seed
        kind = scheduler.asha or scheduler.hyperband
        assert kind is not None
        rungs = int(math.log(max(1.0, self._last / kind.min_evaluations), kind.reduction_factor) + 1e-9) + 1
        super().__init__(
            brackets=rungs if scheduler.hyperband is not None else 1,
            time_attr="evaluation",
            metric="value",
            mode="max" if spec.objectives[0].direction == "maximize" else "min",
            max_t=self._last,
            grace_period=min(kind.min_evaluations, self._last),
            reduction_factor=kind.reduction_factor,
            stop_last_trials=False,
        )
        self._book = book
        for number, curve in book.curves().items():
            self._remember(number, curve)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give the trial its bracket: drawn as Ray does, but from the study's seed, so that it is the same again."""
        super().on_trial_add(tune_controller, trial)
        weights = [math.exp(len(bracket._rungs)) for bracket in self._brackets]
        rng = random.Random(f"{self._seed}/bracket/{trial.config['number']}")
        self._trial_info[trial.trial_id] = rng.choices(self._brackets, weights)[0]

    def _remember(self, number: int, curve: dict[int, float]) -> None:
        """Fill the rungs with a trial that has ended."""
        trial: Any = SimpleNamespace(trial_id=f"{EARLIER}{number}", config={"number": number})
        self.on_trial_add(None, trial)
        for evaluation, value in sorted(curve.items()):
            if evaluation < self._last:
                super().on_trial_result(None, trial, {"evaluation": evaluation, "value": value})

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Note the report, and answer whether the trial goes on. Whoever made all evaluations is complete."""
        number, decision = trial.config["number"], TrialScheduler.CONTINUE
        if "evaluation" not in result:
            self._book.end(number, result)
            return decision
        if result["evaluation"] < self._last:
            decision = super().on_trial_result(tune_controller, trial, result)
        return self._book.note(number, result, decision)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """The actor has died more often than it may."""
        self._book.fail(trial.config["number"], "its actor has died: see Ray's log")

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """What matters came with the last report."""


class NotedFifo(FIFOScheduler):
    """Every trial runs to its end."""

    def __init__(self, spec: HPOStudySpec, book: Book) -> None:
        super().__init__()
        self._book = book

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Note the report."""
        if "evaluation" not in result:
            self._book.end(trial.config["number"], result)
            return TrialScheduler.CONTINUE
        return self._book.note(trial.config["number"], result, TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """The actor has died more often than it may."""
        self._book.fail(trial.config["number"], "its actor has died: see Ray's log")


SCHEDULERS: dict[str, type[NotedHalving] | type[NotedFifo]] = {
    "asha": NotedHalving,
    "hyperband": NotedHalving,
    "pbt": NotedFifo,  # between the rounds of Ray's loop: population.py
    "pb2": NotedFifo,
    "none": NotedFifo,
}
