"""A study: asks, reports and tells, each of which may be repeated, by any process that opens the storage next.

All truth is in Optuna's storage. A trial is found by its number, an attribute that it is made with; its values are
decided by writing one attribute, and only then handed out parameter by parameter. So a process that dies between any
two writes leaves a trial that the next call goes on with: nothing is lost, nothing is there twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from headway_api.hpo_study import HPOStudySpec, Objective
from headway_api.progress import EvaluationPoint
from headway_api.search_space import fingerprint, grid, points
from headway_api.study_wire import Outcome, StudySnapshot
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from headway.hpo import records, warm
from headway.hpo.mirror import Mirror
from headway.hpo.pruners import evaluations_per_run, make_pruner
from headway.hpo.samplers import make_sampler, trial_seed
from headway.hpo.snapshot import snapshot
from headway.hpo.space import contains, distribution, from_optuna, to_optuna

ATTEMPTS = 16  # points that a sampler may repeat before one is drawn among those that were not tried
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class UnknownTrialError(KeyError):
    """A trial of that number was never asked for."""


class StaleStudyError(StorageInternalError):
    """A write of this core has failed: another core of the study has to be opened."""


class StudyCore:
    """One study. All methods may be called from several threads; one process at a time may hold a study."""

    def __init__(self, storage: BaseStorage, key: str, spec: HPOStudySpec, warm_from: str | None = None) -> None:
        """Make the study, or open it. `key` is its name in the storage, `warm_from` that of the study to learn from."""
        self.spec = spec
        self._lock = threading.RLock()
        self._key, self._pruner = key, make_pruner(spec)
        directions = [_direction(objective) for objective in spec.objectives]
        optuna.create_study(storage=storage, study_name=key, directions=directions, load_if_exists=True)
        study_id = storage.get_study_id_from_name(key)
        if spec.warm_start is not None and warm_from is not None:
            warm.start(storage, study_id, storage.get_study_id_from_name(warm_from), spec)
        self._storage = Mirror(storage, study_id)
        self._id = self._storage.study_id
        self._ids = {number: trial._trial_id for number, trial in records.numbered(self._trials())}
        self._tried: dict[int, str] = {}  # fingerprints of decided values by number

    @property
    def is_stale(self) -> bool:
        """Whether a write has failed: then open the study anew, from the storage."""
        return self._storage.is_stale

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the study. Once a write has failed nobody may: who was waiting would write behind the back of the core
        that has been opened since."""
        with self._lock:
            if self.is_stale:
                raise StaleStudyError("a write has failed: the study is opened anew")
            yield

    def ask(self, number: int) -> dict[str, Any]:
        """Return the point that is trial `number`, values by path; the same again for the same number."""
        with self._held():
            trial = self._find(number)
            if trial is None:
                with self._storage.draft(_template(number)) as trial_id:
                    values = self._settle(self._storage.get_trial(trial_id), number)
                self._ids[number] = trial_id
                return values
            return self._settle(trial, number)

    def _settle(self, trial: FrozenTrial, number: int) -> dict[str, Any]:
        """Decide the trial's values, if that is not done, and hand them out. Of a trial that is there already, each
        write can be the last one of this process: the decision is one write, the rest can be repeated."""
        values = records.values_of(trial)
        if values is None:
            values = self._decide(trial, number)
            self._storage.set_trial_user_attr(trial._trial_id, records.VALUES, values)
        if not trial.state.is_finished():
            self._hand_out(trial, values)
        return values

    def change(self, number: int, values: dict[str, Any]) -> None:
        """Note the values that a trial goes on with. Its point, which no other trial has, stays what `ask` has told.

        Raises UnknownTrialError.
        """
        with self._held():
            trial = self._need(number)
            if records.present_values_of(trial) != values:
                self._storage.set_trial_user_attr(trial._trial_id, records.NOW, values)

    def report(self, number: int, seed_index: int, evaluations: Sequence[EvaluationPoint], ended: bool = False) -> bool:
        """Note evaluations of a seed's run; return whether the trial is to stop. Those known already change nothing.

        Raises UnknownTrialError, IndexError for a seed that there is not.
        """
        with self._held():
            trial = self._need(number)
            if not 0 <= seed_index < self.spec.seeds_per_trial:
                raise IndexError(f"seed {seed_index}: the trial has {self.spec.seeds_per_trial}")
            if trial.state.is_finished():
                return trial.state == TrialState.PRUNED
            seeds = records.seeds_of(trial, self.spec.seeds_per_trial)
            fresh = sorted((p for p in evaluations if p.index > seeds[seed_index].index), key=lambda p: p.index)
            for point in fresh:
                seeds[seed_index] = seeds[seed_index].with_points([point], False)
                self._note(trial, seeds, self._step(seed_index, point.index))
            if ended and not seeds[seed_index].ended:
                seeds[seed_index] = seeds[seed_index].with_points([], True)
                self._note(trial, seeds, None)
            # Last: until this is written a repeated report does it all again, with the same result.
            if fresh or ended:
                records.write_seed(self._storage, trial, seed_index, seeds[seed_index])
            return self._is_to_stop(self._need(number))

    def tell(self, number: int, outcome: Outcome, steps: int, reason: str = "") -> None:
        """Note how a trial ended. The first word counts. One without all its values has failed, whatever is said.

        Raises UnknownTrialError.
        """
        with self._held():
            trial = self._need(number)
            if trial.state.is_finished():
                return
            values = self._values(trial) if outcome == "complete" else None
            if outcome == "complete" and values is None:
                outcome, reason = "failed", "it ended without an evaluation that has all objectives"
            if outcome == "pruned" and len(self.spec.objectives) == 1 and trial.intermediate_values:
                values = [trial.intermediate_values[max(trial.intermediate_values)]]  # as Optuna does
            self._storage.set_trial_user_attr(trial._trial_id, records.STEPS, steps)
            if reason:
                self._storage.set_trial_user_attr(trial._trial_id, records.REASON, reason)
            self._constrain(trial)
            self._storage.set_trial_state_values(trial._trial_id, STATES[outcome], values)

    def snapshot(self) -> StudySnapshot:
        """Return the study as the storage has it."""
        with self._held():
            return snapshot(self.spec, self._trials())

    def values_of(self, number: int) -> list[float]:
        """Return what the trial was told with; nothing while it runs, or if it has failed."""
        with self._held():
            return list(self._need(number).values or [])

    def reported(self, number: int) -> int:
        """Index of the newest evaluation that is noted of a trial's first seed; 0 before the first.

        Raises UnknownTrialError.
        """
        with self._held():
            return records.seeds_of(self._need(number), 1)[0].index

    def curves(self) -> dict[int, dict[int, float]]:
        """Return the objective by evaluation of each trial."""
        with self._held():
            return {n: dict(trial.intermediate_values) for n, trial in records.numbered(self._trials())}

    def trials(self) -> list[FrozenTrial]:
        """Return copies of all trials, those of an earlier study among them."""
        return self._storage.get_all_trials(self._id, deepcopy=True)

    def _opened(self) -> optuna.Study:
        """The study as Optuna's samplers and pruners want it; new each time: it keeps what it has read."""
        return optuna.Study(study_name=self._key, storage=self._storage, pruner=self._pruner)

    # --- finding and making -------------------------------------------------------------------------------------
    def _trials(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def _find(self, number: int) -> FrozenTrial | None:
        return self._storage.get_trial(self._ids[number]) if number in self._ids else None

    def _need(self, number: int) -> FrozenTrial:
        trial = self._find(number)
        if trial is None:
            raise UnknownTrialError(f"trial {number} was never asked for")
        return trial

    # --- choosing -----------------------------------------------------------------------------------------------
    def _decide(self, trial: FrozenTrial, number: int) -> dict[str, Any]:
        """Choose the trial's values: none that another trial has, as long as there are others."""
        first = warm.first_points(self._storage, self._id)
        tried = self._fingerprints()
        if number < len(first) and fingerprint(first[number]) not in tried:
            return first[number]
        values: dict[str, Any] = {}
        for attempt in range(ATTEMPTS):
            values = self._sample(trial, number, attempt)
            if fingerprint(values) not in tried:
                return values
        if points(self.spec.parameters) == np.inf:
            return values
        left = [point for point in grid(self.spec.parameters) if fingerprint(point) not in tried]
        return left[trial_seed(self.spec, number) % len(left)] if left else values

    def _fingerprints(self) -> set[str]:
        """What the decided values of all trials are known by; what is decided never changes."""
        for number, trial_id in self._ids.items():
            if number not in self._tried and (values := records.values_of(self._storage.get_trial(trial_id))):
                self._tried[number] = fingerprint(values)
        return set(self._tried.values())

    def _sample(self, trial: FrozenTrial, number: int, attempt: int) -> dict[str, Any]:
        """Ask the sampler, as Optuna's own trials do: what it models together first, each other parameter alone."""
        sampler = make_sampler(self.spec, number, attempt)
        study = optuna.pruners._filter_study(self._opened(), trial)  # Hyperband: what is known of its bracket
        space = sampler.infer_relative_search_space(study, trial)
        together = sampler.sample_relative(study, trial, space)
        chosen: dict[str, Any] = {}
        for parameter in self.spec.parameters:
            if not parameter.is_active(chosen):
                continue
            path, found = parameter.path, distribution(parameter)
            if path not in together or not contains(found, together[path]):
                together[path] = sampler.sample_independent(study, trial, path, found)
            chosen[path] = from_optuna(parameter, together[path])
        return chosen

    def _hand_out(self, trial: FrozenTrial, values: dict[str, Any]) -> None:
        """Write the decided values as Optuna's parameters, those that are not there yet."""
        for parameter in self.spec.parameters:
            if parameter.path in values and parameter.path not in trial.params:
                found = distribution(parameter)
                internal = found.to_internal_repr(to_optuna(parameter, values[parameter.path]))
                self._storage.set_trial_param(trial._trial_id, parameter.path, internal, found)

    # --- judging ------------------------------------------------------------------------------------------------
    @property
    def _pairs_seeds(self) -> bool:
        optuna_engine = self.spec.engine.optuna
        return optuna_engine is not None and optuna_engine.pruner.wilcoxon is not None

    def _step(self, seed_index: int, index: int) -> int:
        """Optuna's step of an evaluation."""
        return seed_index * evaluations_per_run(self.spec) + index

    def _note(self, trial: FrozenTrial, seeds: list[records.SeedRecord], step: int | None) -> None:
        """Write what pruning looks at: the mean so far at `step`; with Wilcoxon's test, each seed that has ended."""
        if len(self.spec.objectives) > 1:
            return
        metric = self.spec.objectives[0].metric
        if self._pairs_seeds:
            for seed_index, record in enumerate(seeds):
                value = records.mean([record], metric)
                if record.ended and value is not None and seed_index not in trial.intermediate_values:
                    self._storage.set_trial_intermediate_value(trial._trial_id, seed_index, value)
        elif step is not None and step not in trial.intermediate_values:
            value = records.mean(seeds, metric)
            if value is not None:
                self._storage.set_trial_intermediate_value(trial._trial_id, step, value)

    def _is_to_stop(self, trial: FrozenTrial) -> bool:
        if len(self.spec.objectives) > 1 or not trial.intermediate_values:
            return False
        return bool(self._pruner.prune(self._opened(), trial))  # some answer with NumPy's

    def _values(self, trial: FrozenTrial) -> list[float] | None:
        """The objectives, where every seed has them."""
        seeds = records.seeds_of(trial, self.spec.seeds_per_trial)
        if any(record.index == 0 for record in seeds):
            return None
        found = [records.mean(seeds, objective.metric) for objective in self.spec.objectives]
        return None if any(value is None for value in found) else [value for value in found if value is not None]

    def _constrain(self, trial: FrozenTrial) -> None:
        """Write how far the trial is beyond each constraint; 0 and less is within. Optuna's own attribute for it."""
        seeds = records.seeds_of(trial, self.spec.seeds_per_trial)
        for constraint in self.spec.constraints:
            value = records.mean(seeds, constraint.metric)
            if value is None:
                continue
            beyond = (
                value - constraint.at_most if constraint.at_most is not None else (constraint.at_least or 0.0) - value
            )
            self._storage.set_trial_system_attr(trial._trial_id, f"constraints:{constraint.metric}", beyond)


def _template(number: int) -> FrozenTrial:
    """Return a trial as it begins: with its number."""
    template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={records.NUMBER: number})
    template.datetime_start = datetime.now()
    return template


def _direction(objective: Objective) -> StudyDirection:
    return StudyDirection.MAXIMIZE if objective.direction == "maximize" else StudyDirection.MINIMIZE
