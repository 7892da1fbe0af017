"""Reading a study, and writing its state down: what its conditions say, and which events are told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from headway_api import load, names
from headway_api.hpo_study import HPOStudy, HPOStudyStatus
from headway_api.training_run import Metadata

from headway_operator.core import conditions
from headway_operator.core.plan import Event
from headway_operator.core.study_plan import StudyPlan

REFUSED_RETRY_SECONDS = 30.0
LEAVING_RETRY_SECONDS = 3.0  # the garbage collector takes a second or two
_STATE = frozenset({"conditions", "phase", "observed_generation"})  # what a state decides; the rest are figures


def read_study(raw: Mapping[str, Any]) -> tuple[HPOStudy, str]:
    """Return the study and an empty text, or, with a spec that is not valid (it has passed by validation, or is of
    another version), a study without spec, for `reject_study` alone, and what is wrong. Raises ValueError for a status
    that cannot be read. Fields of the status that are not known are no error: a newer operator may have written them.
    """
    status = HPOStudyStatus.model_validate(raw.get("status") or {}, by_alias=True, extra="ignore")
    try:
        study = load.checked({key: value for key, value in raw.items() if key != "status"}, HPOStudy)
        return study.model_copy(update={"status": status}), ""
    except load.SpecError as error:
        metadata = Metadata.model_validate(raw["metadata"], by_alias=True)
        parts: dict[str, Any] = {"metadata": metadata, "spec": None, "status": status}
        return HPOStudy.model_construct(**parts), str(error)


def reject_study(study: HPOStudy, problem: str, now: datetime) -> StudyPlan:
    """The spec cannot be carried out: say so, and leave the runs alone. Not Finished: it can be mended."""
    if status_of(study).is_true(names.FINISHED):
        return StudyPlan()  # what has ended stays so, also where a newer operator cannot read its spec any more
    return enter(study, "invalid", names.REASON_INVALID_SPEC, problem, now)


def status_of(study: HPOStudy) -> HPOStudyStatus:
    """Return the status, or that of a study that nobody has looked at yet."""
    return study.status or HPOStudyStatus()


def enter(
    study: HPOStudy, state: conditions.State, reason: str, message: str, now: datetime, **changes: Any
) -> StudyPlan:
    """Write the state down, if it is not so written already; an event where the reason is another than before."""
    old = status_of(study)
    generation = study.metadata.generation
    new = conditions.status_in(state, old, generation=generation, reason=reason, message=message, now=now, **changes)
    if new == old:
        return StudyPlan()
    was = old.condition(names.READY)
    is_bad = state in ("invalid", "failed") or reason in (names.REASON_SERVICE_AWAY, names.REASON_RUN_REFUSED)
    event = Event("Warning" if is_bad else "Normal", reason, message)
    return StudyPlan(status=new, events=() if was and was.reason == reason else (event,))


def refused(study: HPOStudy, plan: StudyPlan, problem: str, now: datetime, *, is_leaving: bool) -> StudyPlan:
    """Return what is left of a plan of which a child was refused (a quota, a namesake): people have to know."""
    plan = plan.with_(requeue_after=LEAVING_RETRY_SECONDS if is_leaving else REFUSED_RETRY_SECONDS)
    if plan.status and plan.status.is_true(names.FINISHED):
        return plan  # nothing is to be started any more: only the best run's ConfigMap is missing
    reason, figures = names.REASON_RUN_REFUSED, {}
    if plan.status is not None:
        figures = {key: getattr(plan.status, key) for key in HPOStudyStatus.model_fields if key not in _STATE}
    message = f"{problem} is still being deleted" if is_leaving else problem
    failures = [event for event in plan.events if event.reason == names.REASON_TRIAL_FAILED]
    written = enter(study, "starting", reason, message, now, **figures)
    return plan.with_(status=written.status, events=(*failures, *written.events))
