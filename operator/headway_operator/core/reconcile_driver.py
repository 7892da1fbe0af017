"""The life of a study that Ray Tune searches: its driver does the work, the storage says how far it is. Pure."""

from __future__ import annotations

from datetime import datetime

from headway_api import names
from headway_api.hpo_study import HPOStudy
from headway_api.study_wire import StudySnapshot

from headway_operator.core import conditions, pod_security
from headway_operator.core.driver import Access, Driver, audience, build_config_map, build_job, patched
from headway_operator.core.study_outcome import best_config_map, figures, finish, next_look
from headway_operator.core.study_plan import StudyPlan
from headway_operator.core.study_status import enter, reject_study


def reconcile_driver(
    study: HPOStudy, driver: Driver | None, access: Access, seen: StudySnapshot, now: datetime
) -> StudyPlan:
    """Return what is to be done for the study now."""
    counts, total = seen.trials, study.spec.budget.trials
    if driver is not None and driver.fate != "active":
        return _ended(study, driver, seen, now)
    job = build_job(study, access)
    if violations := pod_security.violations(job["spec"]["template"], audience(study)):
        return reject_study(study, "; ".join(violations), now)
    said = f"{counts.finished} of {total} trials are finished"
    written = enter(study, *_state(study, driver, said), now, **figures(study, [], seen, now))
    plan = written.with_(
        apply=(build_config_map(study, access), *best_config_map(study, seen)), requeue_after=next_look(study, now)
    )
    if driver is None:
        return plan.with_(create=(job,))
    if driver.is_suspended != study.spec.suspend:
        return plan.with_(patch=(patched(study, driver),))
    return plan


def _ended(study: HPOStudy, driver: Driver, seen: StudySnapshot, now: datetime) -> StudyPlan:
    counts, total = seen.trials, study.spec.budget.trials
    if driver.fate == "failed":
        what = f"the driver has failed: {driver.reason}; see kubectl logs of its pods"
        return enter(study, "failed", names.REASON_FAILED, what, now, **figures(study, [], seen, now)).with_(
            apply=best_config_map(study, seen)
        )
    ending = "" if counts.finished >= total else f"{counts.finished} of {total} trials: the budget is used up"
    return finish(study, [], seen, ending, now)


def _state(study: HPOStudy, driver: Driver | None, said: str) -> tuple[conditions.State, str, str]:
    if study.spec.suspend:
        is_asleep = driver is not None and driver.is_suspended and not driver.is_active
        message = "suspended; set spec.suspend to false to go on"
        if is_asleep:
            return "suspended", names.REASON_SUSPENDED, message
        return "suspending", names.REASON_SUSPENDING, message
    if driver is not None and driver.is_active:
        return "running", names.REASON_RUNNING, said
    return "starting", names.REASON_STARTING, f"the driver starts; {said}"
