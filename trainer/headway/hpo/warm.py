"""Beginning with what an earlier study has found: its trials as knowledge, its best points to be tried first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from headway_api.hpo_study import HPOStudySpec
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from headway.errors import UserError
from headway.hpo import records
from headway.hpo.space import fits, from_optuna

FIRST = "headway:first"  # of the study: points to be tried first, once all is taken over


def start(storage: BaseStorage, study_id: int, source_id: int, spec: HPOStudySpec) -> None:
    """Take over what the spec asks for, once; killed in between, it goes on. Raises UserError for other objectives."""
    assert spec.warm_start is not None
    if FIRST in storage.get_study_user_attrs(study_id):
        return
    if storage.get_study_directions(source_id) != storage.get_study_directions(study_id):
        raise UserError(f"warmStart.study: {spec.warm_start.study} has other objectives: leave warmStart out")
    trials = storage.get_all_trials(source_id, deepcopy=False, states=(TrialState.COMPLETE,))
    useful = [trial for trial in trials if fits(spec.parameters, trial.params)]
    there = {t.user_attrs.get(records.WARM) for t in storage.get_all_trials(study_id, deepcopy=False)}
    for trial in useful if spec.warm_start.history else ():
        if trial.number not in there:
            copy = optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                values=trial.values,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={records.WARM: trial.number},
            )
            storage.create_new_trial(study_id, template_trial=copy)
    best = sorted(useful, key=lambda trial: _rank(trial, spec))[: spec.warm_start.best]
    storage.set_study_user_attr(study_id, FIRST, [_point(trial, spec) for trial in best])


def first_points(storage: BaseStorage, study_id: int) -> Sequence[dict[str, Any]]:
    """Return the points to be tried first, in order."""
    found = storage.get_study_user_attrs(study_id).get(FIRST, [])
    return found if isinstance(found, list) else []


def _rank(trial: FrozenTrial, spec: HPOStudySpec) -> tuple[float, int]:
    """Best first, by the first objective."""
    sign = -1.0 if spec.objectives[0].direction == "maximize" else 1.0
    return sign * float(trial.values[0]), trial.number


def _point(trial: FrozenTrial, spec: HPOStudySpec) -> dict[str, Any]:
    return {p.path: from_optuna(p, trial.params[p.path]) for p in spec.parameters if p.path in trial.params}
