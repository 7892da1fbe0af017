"""Conditions: one literal table says what each state of a run means for every condition type and for the phase."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeVar

from headway_api import names
from headway_api.hpo_study import HPOStudyStatus
from headway_api.training_run import Condition, TrainingRunStatus

from headway_operator.core import times

State = Literal[
    "invalid", "starting", "restarting", "running", "suspending", "suspended", "succeeded", "pruned", "failed"
]
# Runs and studies have the same conditions, and the same states but for restarting and pruned.
Status = TypeVar("Status", TrainingRunStatus, HPOStudyStatus)

TYPES = (
    names.SPEC_VALID,
    names.READY,
    names.RECONCILING,
    names.STALLED,
    names.SUSPENDED,
    names.SUCCEEDED,
    names.FAILED,
    names.FINISHED,
)
# The conditions that are true; all others are false, and all eight are always there, so that any can be waited for.
TRUE_IN: dict[State, frozenset[str]] = {
    "invalid": frozenset({names.STALLED}),
    "starting": frozenset({names.SPEC_VALID, names.RECONCILING}),
    "restarting": frozenset({names.SPEC_VALID, names.RECONCILING}),
    "running": frozenset({names.SPEC_VALID, names.READY}),
    "suspending": frozenset({names.SPEC_VALID, names.RECONCILING}),
    "suspended": frozenset({names.SPEC_VALID, names.SUSPENDED}),
    "succeeded": frozenset({names.SPEC_VALID, names.READY, names.SUCCEEDED, names.FINISHED}),
    # Neither a success nor a failure; and for kstatus as it should be: nothing moves, nothing is wrong.
    "pruned": frozenset({names.SPEC_VALID, names.READY, names.FINISHED}),
    "failed": frozenset({names.SPEC_VALID, names.STALLED, names.FAILED, names.FINISHED}),
}
PHASES: dict[State, str] = {
    "invalid": names.PHASE_INVALID,
    "starting": names.PHASE_PENDING,
    "restarting": names.PHASE_RESTARTING,
    "running": names.PHASE_RUNNING,
    "suspending": names.PHASE_SUSPENDED,
    "suspended": names.PHASE_SUSPENDED,
    "succeeded": names.PHASE_SUCCEEDED,
    "pruned": names.PHASE_PRUNED,
    "failed": names.PHASE_FAILED,
}

_ENDS: dict[State, str] = {
    "succeeded": names.REASON_SUCCEEDED,
    "pruned": names.REASON_PRUNED,
    "failed": names.REASON_FAILED,
}


def status_in(
    state: State,
    status: Status,
    *,
    generation: int,
    reason: str,
    message: str,
    now: datetime,
    **changes: Any,
) -> Status:
    """Return the status for a run or a study in `state`; `changes` replace further top-level fields.

    progress is left alone.
    """
    conditions = status.conditions
    for kind in TYPES:
        is_true = kind in TRUE_IN[state]
        conditions = set_condition(
            conditions,
            Condition(
                type=kind,
                status="True" if is_true else "False",
                observed_generation=generation,
                last_transition_time=times.to_text(now),
                reason=_reason(kind, is_true, state, reason),
                message=message[:4096] if (is_true and kind != names.SPEC_VALID) or _explains(kind, state) else "",
            ),
        )
    update = {"conditions": conditions, "phase": PHASES[state], "observed_generation": generation, **changes}
    return status.model_copy(update=update)


def set_condition(conditions: list[Condition], new: Condition) -> list[Condition]:
    """Return the list with `new` in the place of its type; lastTransitionTime moves only when the status does."""
    old = next((c for c in conditions if c.type == new.type), None)
    if old is None:
        return [*conditions, new]
    if old.status == new.status:
        new = new.model_copy(update={"last_transition_time": old.last_transition_time})
    return [new if c.type == new.type else c for c in conditions]


def _reason(kind: str, is_true: bool, state: State, reason: str) -> str:
    if kind == names.SPEC_VALID:
        return names.REASON_ACCEPTED if is_true else names.REASON_INVALID_SPEC
    if kind == names.FINISHED and is_true:  # a fixed word, whatever the cause
        return _ENDS[state]
    return reason


def _explains(kind: str, state: State) -> bool:
    """Ready says why it is false; SpecValid too."""
    return kind == names.READY or (kind == names.SPEC_VALID and state == "invalid")
