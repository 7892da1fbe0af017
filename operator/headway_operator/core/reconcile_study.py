"""The life of a study. Pure: the same study, runs, snapshot and time give the same plan.

Level-triggered: each pass compares what the service has written down with the runs that are there. What is asked for
now is made a run in the next pass, from the snapshot, so that a death in between loses and doubles nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headway_api import names, trials
from headway_api.hpo_study import HPOStudy
from headway_api.study_wire import StudySnapshot, TrialRow
from headway_api.trials import UnknownPathError, run_document, run_name
from pydantic import ValidationError

from headway_operator.core import conditions, times
from headway_operator.core.driver import Access, Driver, driver_problem
from headway_operator.core.plan import Deletion, Event, Manifest
from headway_operator.core.reconcile_driver import reconcile_driver
from headway_operator.core.study_outcome import best_config_map, figures, finish, next_look, steps
from headway_operator.core.study_ownership import ownership
from headway_operator.core.study_plan import StudyPlan, Tell, TrialRun
from headway_operator.core.study_status import REFUSED_RETRY_SECONDS, enter, reject_study, status_of

AWAY_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Away:
    """The service cannot be reached, or cannot reach its storage."""

    reason: str


@dataclass(frozen=True)
class Declined:
    """The service will not have the study as it is: another space than it began with, no such study to start from."""

    reason: str


@dataclass(frozen=True)
class Driving:
    """What there is of a study that has a driver."""

    driver: Driver | None
    access: Access


Answer = StudySnapshot | Away | Declined


def reconcile_study(
    study: HPOStudy, runs: list[TrialRun], service: Answer | None, now: datetime, driving: Driving | None = None
) -> StudyPlan:
    """Return what is to be done for the study now. `service`: None as long as this pass has not asked it. `driving`: of
    a study with a driver."""
    if study.metadata.deletion_timestamp or status_of(study).is_true(names.FINISHED):
        return StudyPlan()  # owner references collect the runs
    if found := trials.problems(study.spec):
        return reject_study(study, "; ".join(f"spec.{text}" for text in found), now)
    if driving is not None and (problem := driver_problem(study.spec)):
        return reject_study(study, problem, now)
    if service is None:
        return StudyPlan(open=True, requeue_after=0.0)
    if isinstance(service, Declined):
        return reject_study(study, service.reason, now).with_(requeue_after=REFUSED_RETRY_SECONDS)
    if isinstance(service, Away):
        phase = status_of(study).phase or names.PHASE_PENDING
        message = f"the study service is away: {service.reason}; runs go on, and nothing is lost"
        plan = enter(study, "starting", names.REASON_SERVICE_AWAY, message, now, phase=phase)
        awake = [run for run in runs if not (run.is_over or run.is_terminating or run.is_suspended)]
        pausing = tuple((run, True) for run in awake if study.spec.suspend)  # GPUs are given back all the same
        return plan.with_(suspend=pausing, requeue_after=AWAY_RETRY_SECONDS)
    if driving is not None:
        return reconcile_driver(study, driving.driver, driving.access, service, now)
    return _with_service(study, runs, service, now)


def _with_service(study: HPOStudy, runs: list[TrialRun], seen: StudySnapshot, now: datetime) -> StudyPlan:
    ending = _ending(study, runs, seen, now)
    plan = _Trials(study, runs, ending).plan(seen)
    is_quiet = not seen.running
    if is_quiet and (ending or seen.trials.finished >= study.spec.budget.trials):
        left = _deletions([run for run in runs if not run.is_over and not run.is_terminating])
        if surplus := tuple(dict.fromkeys(left + _beyond_history(study, runs, seen))):
            return StudyPlan(delete=surplus, requeue_after=0.0)  # first: nobody looks at a study that is Finished
        return finish(study, runs, seen, ending, now)
    if not ending and not study.spec.suspend:
        plan = plan.with_(ask=_missing(study, seen, plan.tell))
    is_asleep = study.spec.suspend and all(run.fate != "active" for run in runs)
    state: conditions.State
    if study.spec.suspend:
        state, reason = ("suspended", names.REASON_SUSPENDED) if is_asleep else ("suspending", names.REASON_SUSPENDING)
        message = "suspended; set spec.suspend to false to go on"
    else:
        state, reason = "running", names.REASON_RUNNING
        message = ending or f"{seen.trials.finished} of {study.spec.budget.trials} trials are finished"
    written = enter(study, state, reason, message, now, **figures(study, runs, seen, now))
    has_spoken = plan.ended or plan.tell or plan.ask  # and the service knows more now than this pass did
    return plan.with_(
        status=written.status,
        apply=best_config_map(study, seen),
        delete=_beyond_history(study, runs, seen),
        events=(*_failures(study, plan.tell), *written.events),
        requeue_after=0.0 if has_spoken else next_look(study, now),
    )


class _Trials:
    """Takes each trial that the service has open one step on."""

    def __init__(self, study: HPOStudy, runs: list[TrialRun], ending: str) -> None:
        self._study, self._ending = study, ending
        self._runs = {(run.number, run.seed_index): run for run in runs}
        self._known = set(status_of(study).runs)
        self._ended: list[TrialRun] = []
        self._tell: list[Tell] = []
        self._create: list[Manifest] = []
        self._suspend: list[tuple[TrialRun, bool]] = []

    def plan(self, seen: StudySnapshot) -> StudyPlan:
        """Return what the open trials need."""
        for row in seen.running:
            self._advance(row)
        return StudyPlan(
            ended=tuple(self._ended), tell=tuple(self._tell), create=tuple(self._create), suspend=tuple(self._suspend)
        )

    def _advance(self, row: TrialRow) -> None:
        if row.seeds_done >= self._study.spec.seeds_per_trial:
            return self._over(row, "complete")
        run = self._runs.get((row.number, row.seeds_done))
        if run is None:
            return self._without_run(row)
        if run.fate == "complete":
            self._ended.append(run)  # the snapshot counts it in the next pass
        elif run.fate == "pruned":
            self._over(row, "pruned")
        elif run.fate == "failed":
            self._over(row, "failed", run.reason or f"{run.name} has failed")
        elif self._ending and run.fate == "suspended":
            self._over(row, "pruned", self._ending)
        elif not run.is_terminating and run.is_suspended != (want := bool(self._ending) or self._study.spec.suspend):
            self._suspend.append((run, want))
        return None

    def _without_run(self, row: TrialRow) -> None:
        spec, name = self._study.spec, self._name(row)
        if name in self._known:
            return self._over(row, "failed", f"{name} was deleted")
        if self._ending:
            return self._over(row, "pruned", self._ending)
        if spec.suspend:
            return None
        try:
            document = run_document(spec, name, row.values, row.number, row.seeds_done)
        except (ValidationError, UnknownPathError) as error:
            return self._over(row, "failed", " ".join(str(error).split()))
        document["metadata"] |= _child_metadata(self._study, row)
        self._create.append(document)
        return None

    def _over(self, row: TrialRow, outcome: Any, reason: str = "") -> None:
        steps = sum(run.steps for (number, _), run in self._runs.items() if number == row.number)
        self._tell.append(Tell(row.number, outcome, steps, reason[:1024]))

    def _name(self, row: TrialRow) -> str:
        return run_name(self._study.metadata.name, row.number, row.seeds_done, self._study.spec.seeds_per_trial)


def _ending(study: HPOStudy, runs: list[TrialRun], seen: StudySnapshot, now: datetime) -> str:
    """Why nothing more is started and what runs is stopped; empty while the budget lasts. Never goes back to empty."""
    budget, began = study.spec.budget, times.from_text(status_of(study).start_time)
    if budget.failed is not None and seen.trials.failed >= budget.failed:
        return f"{seen.trials.failed} trials have failed (budget.failed)"
    if budget.seconds is not None and began and (now - began).total_seconds() >= budget.seconds:
        return f"the study has taken {budget.seconds} s (budget.seconds)"
    if budget.steps is not None and steps(runs, seen) >= budget.steps:
        return f"the trials have made {budget.steps} steps (budget.steps)"
    return ""


def _missing(study: HPOStudy, seen: StudySnapshot, telling: tuple[Tell, ...]) -> tuple[int, ...]:
    """Return the lowest numbers that the service does not know, for as many trials as may run beside the open ones."""
    failed = seen.trials.failed + sum(tell.outcome == "failed" for tell in telling)
    if study.spec.budget.failed is not None and failed >= study.spec.budget.failed:
        return ()
    told = {tell.number for tell in telling}
    open_now = {row.number for row in seen.running}
    known = open_now | {int(number) for number in seen.finished}
    free = max(0, study.spec.budget.parallel - len(open_now - told))
    return tuple([number for number in range(study.spec.budget.trials) if number not in known][:free])


def _beyond_history(study: HPOStudy, runs: list[TrialRun], seen: StudySnapshot) -> tuple[Deletion, ...]:
    """Only what the service has been told of is ever deleted, the oldest first."""
    told = [run for run in runs if str(run.number) in seen.finished and not run.is_terminating]
    stray = [run for run in told if not run.is_over]  # of a trial that is over: stopped at the end of a budget
    over = sorted((run for run in told if run.is_over), key=lambda run: (run.finished_at, run.number))
    return _deletions(stray + over[: max(0, len(over) - study.spec.trial_history_limit)])


def _failures(study: HPOStudy, telling: tuple[Tell, ...]) -> tuple[Event, ...]:
    failed = [tell for tell in telling if tell.outcome == "failed"]
    return tuple(
        Event("Warning", names.REASON_TRIAL_FAILED, f"trial {tell.number} has failed: {tell.reason}") for tell in failed
    )


def _deletions(runs: list[TrialRun]) -> tuple[Deletion, ...]:
    return tuple(Deletion(run.name, run.uid) for run in runs)


def _child_metadata(study: HPOStudy, row: TrialRow) -> dict[str, Any]:
    owned = ownership(study)
    owned["labels"] |= {names.LABEL_TRIAL: str(row.number), names.LABEL_SEED_INDEX: str(row.seeds_done)}
    return {"namespace": study.metadata.namespace, **owned}
