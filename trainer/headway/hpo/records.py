"""What the storage holds of a trial beside Optuna's own: user attributes, written and read here only.

An attribute is written in one transaction. So what belongs together is one attribute: the number, the decided values,
the state of each seed's run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headway_api.hpo_study import METRICS
from headway_api.progress import EvaluationPoint
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

NUMBER, VALUES, NOW, STEPS, REASON, WARM = (
    "headway:number",
    "headway:values",
    "headway:now",
    "headway:steps",
    "headway:reason",
    "headway:warm",
)
SEED = "headway:seed:"


@dataclass(frozen=True)
class SeedRecord:
    """How far the run of one seed has come."""

    index: int = 0  # of its newest evaluation, from 1
    metrics: Mapping[str, float] = field(default_factory=dict)  # of that one
    ended: bool = False

    def with_points(self, points: Sequence[EvaluationPoint], ended: bool) -> SeedRecord:
        """Return the record with newer evaluations, oldest first."""
        newest = points[-1] if points else None
        if newest is None:
            return SeedRecord(self.index, self.metrics, self.ended or ended)
        return SeedRecord(newest.index, dict(newest.metrics), self.ended or ended)


def number_of(trial: FrozenTrial) -> int | None:
    """Return our number of a trial; None of one that was taken over from another study."""
    number = trial.user_attrs.get(NUMBER)
    return number if isinstance(number, int) else None


def values_of(trial: FrozenTrial) -> dict[str, Any] | None:
    """Return the decided values by path; None before the decision."""
    values = trial.user_attrs.get(VALUES)
    return values if isinstance(values, dict) else None


def present_values_of(trial: FrozenTrial) -> dict[str, Any] | None:
    """Return the values that the trial trains with now, where a population has changed them, or the decided ones."""
    values = trial.user_attrs.get(NOW)
    return values if isinstance(values, dict) else values_of(trial)


def seeds_of(trial: FrozenTrial, seeds: int) -> list[SeedRecord]:
    """Return the records of all seeds, those that have not begun among them."""
    found = [trial.user_attrs.get(f"{SEED}{k}") for k in range(seeds)]
    return [SeedRecord(**record) if isinstance(record, dict) else SeedRecord() for record in found]


def write_seed(storage: BaseStorage, trial: FrozenTrial, seed_index: int, record: SeedRecord) -> None:
    """Write the record of one seed."""
    wire = {"index": record.index, "metrics": dict(record.metrics), "ended": record.ended}
    storage.set_trial_user_attr(trial._trial_id, f"{SEED}{seed_index}", wire)


def mean(records: Sequence[SeedRecord], metric: str) -> float | None:
    """Mean of a metric of the spec over the seeds that have begun; None where one of them lacks it, or none has."""
    begun = [record for record in records if record.index > 0]
    found = [record.metrics.get(METRICS[metric]) for record in begun]
    if not found or any(value is None for value in found):
        return None
    return sum(value for value in found if value is not None) / len(found)


def numbered(trials: Sequence[FrozenTrial]) -> Iterator[tuple[int, FrozenTrial]]:
    """Yield the trials that are ours, with their numbers."""
    for trial in trials:
        if (number := number_of(trial)) is not None:
            yield number, trial
