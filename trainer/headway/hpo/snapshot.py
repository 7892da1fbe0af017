"""What a study has come to: counts, what runs, what is best. Pure: trials in, snapshot out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from headway_api.hpo_study import BestTrial, HPOStudySpec, TrialCounts
from headway_api.study_wire import Outcome, StudySnapshot, TrialRow
from optuna.trial import FrozenTrial, TrialState

from headway.hpo import records

OUTCOMES: dict[TrialState, Outcome] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
MOST_BEST = 16


def snapshot(spec: HPOStudySpec, trials: Sequence[FrozenTrial]) -> StudySnapshot:
    """Return the snapshot of a study with these trials; those of an earlier study are not counted."""
    ours = dict(sorted(records.numbered(trials)))
    outcomes = {number: OUTCOMES[trial.state] for number, trial in ours.items() if trial.state in OUTCOMES}
    counts = {outcome: sum(found == outcome for found in outcomes.values()) for outcome in OUTCOMES.values()}
    running = [_row(spec, number, trial) for number, trial in ours.items() if number not in outcomes]
    starts = [trial.datetime_start for trial in ours.values() if trial.datetime_start is not None]
    durations = [trial.duration.total_seconds() for trial in ours.values() if trial.duration is not None]
    return StudySnapshot(
        trials=TrialCounts(total=spec.budget.trials, running=len(running), **counts),
        running=running,
        finished={str(number): outcome for number, outcome in outcomes.items()},
        best=best_trials(spec, ours),
        steps=sum(int(trial.user_attrs.get(records.STEPS, 0)) for trial in ours.values()),
        began=min(starts).timestamp() if starts else 0.0,
        seconds=float(np.mean(durations)) if durations else 0.0,
    )


def best_trials(spec: HPOStudySpec, ours: dict[int, FrozenTrial]) -> list[BestTrial]:
    """Return the best complete trial within the constraints; of several objectives, all that no other dominates."""
    complete = {
        number: trial
        for number, trial in ours.items()
        if trial.state == TrialState.COMPLETE and all(beyond <= 0 for beyond in trial.constraints.values())
    }
    signs = np.array([1.0 if o.direction == "maximize" else -1.0 for o in spec.objectives])
    scores = {number: signs * np.array(trial.values) for number, trial in complete.items()}
    if not scores:
        return []
    if len(spec.objectives) == 1:
        front = [max(scores, key=lambda number: (scores[number][0], -number))]  # of equal ones the earliest
    else:
        front = _undominated(scores)
    return [_best(spec, number, complete[number]) for number in front[:MOST_BEST]]


def _undominated(scores: dict[int, np.ndarray]) -> list[int]:
    everything = np.array(list(scores.values()))  # [T, objectives]

    def is_dominated(score: np.ndarray) -> bool:
        return bool(((everything >= score).all(axis=1) & (everything > score).any(axis=1)).any())

    return [number for number, score in scores.items() if not is_dominated(score)]


def _best(spec: HPOStudySpec, number: int, trial: FrozenTrial) -> BestTrial:
    values = {objective.metric: value for objective, value in zip(spec.objectives, trial.values, strict=True)}
    return BestTrial(number=number, run="", values=values, parameters=records.present_values_of(trial) or {})


def _row(spec: HPOStudySpec, number: int, trial: FrozenTrial) -> TrialRow:
    ended = sum(record.ended for record in records.seeds_of(trial, spec.seeds_per_trial))
    return TrialRow(number=number, values=records.present_values_of(trial) or {}, seeds_done=ended)
