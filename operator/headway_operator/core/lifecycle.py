"""The steps of a run's life, each a function to a Plan. When each is taken stands in reconcile_run.py, on one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from headway_api import load, names
from headway_api.training_run import Metadata, TrainingRun, TrainingRunStatus

from headway_operator.core import conditions, failure_policy, pods, times
from headway_operator.core.observed import FORCE_AFTER, Child, Observed
from headway_operator.core.plan import Deletion, Event, Manifest, Plan

REFUSED_RETRY_SECONDS = 30.0
LEAVING_RETRY_SECONDS = 3.0  # the garbage collector takes a second or two
FORCE_RETRY_SECONDS = 10.0  # a pod that is overdue on a node that is well: somebody's finalizer, or a slow kubelet
_NOTHING = Observed()
CLOSING = timedelta(seconds=15)  # between the end of a container and that of its pod; usually one or two


def read_run(raw: Mapping[str, Any]) -> tuple[TrainingRun, str]:
    """Return the run and an empty text, or, with a spec that is not valid (it has passed by validation, or is of
    another version), a run without spec, for `reject` alone, and what is wrong. Raises ValueError for a status
    that cannot be read: a run of which nobody knows whether it is finished is left alone. Fields of the status that are
    not known are no error: a newer operator may have written them."""
    status = TrainingRunStatus.model_validate(raw.get("status") or {}, by_alias=True, extra="ignore")
    try:
        run = load.validate({key: value for key, value in raw.items() if key != "status"})
        return run.model_copy(update={"status": status}), ""
    except load.SpecError as error:
        metadata = Metadata.model_validate(raw["metadata"], by_alias=True)
        parts: dict[str, Any] = {"metadata": metadata, "spec": None, "status": status}
        return TrainingRun.model_construct(**parts), str(error)


def status_of(run: TrainingRun) -> TrainingRunStatus:
    """Return the status, or that of a run that nobody has looked at yet."""
    return run.status or TrainingRunStatus()


def enter(
    run: TrainingRun,
    state: conditions.State,
    reason: str,
    message: str,
    now: datetime,
    *,
    event: Event | None = None,
    **changes: Any,
) -> Plan:
    """Return a Plan that writes the state down, if it is not so written already."""
    old = status_of(run)
    new = conditions.status_in(
        state, old, generation=run.metadata.generation, reason=reason, message=message, now=now, **changes
    )
    return Plan() if new == old else Plan(status=new, events=(event,) if event else ())


def reject(run: TrainingRun, problem: str, now: datetime) -> Plan:
    """The spec cannot be carried out. Nothing is made; pods that are there are left alone."""
    if status_of(run).is_true(names.FINISHED):
        return Plan()  # what has ended stays so, also where a newer operator cannot read its spec any more
    is_news = not _is_in(run, names.SPEC_VALID, "False")
    event = Event("Warning", names.REASON_INVALID_SPEC, problem) if is_news else None
    # Not Finished: a claim can be replaced and an operator updated, and then the run goes on.
    plan = enter(run, "invalid", names.REASON_INVALID_SPEC, problem, now, event=event)
    return plan.waking_after(REFUSED_RETRY_SECONDS)


def begin(run: TrainingRun, seen: Observed, now: datetime) -> Plan:
    """Write down that the run is to be active, with a new attempt. The next pass makes its pods."""
    status, attempt = status_of(run), seen.attempt + 1
    is_resumed = status.attempt > 0
    verb = "going on from the newest checkpoint" if is_resumed else "starting"
    reason = names.REASON_RESUMED if is_resumed else names.REASON_STARTING
    return enter(
        run,
        "starting",
        reason,
        f"{verb}, attempt {attempt}",
        now,
        event=Event("Normal", reason, f"attempt {attempt}: {verb}"),
        attempt=attempt,
        start_time=status.start_time or times.to_text(now),
        active_since=times.to_text(now),
        attempt_start_time="",
        restarts=status.restarts.model_copy(update={"not_before": ""}),
    ).waking_after(0.0)


def suspend(run: TrainingRun, seen: Observed, now: datetime) -> Plan:
    """End the pods that still run; suspended is what a run is when none is left."""
    waiting = seen.unfinished
    if not waiting:
        event = None if _is_in(run, names.SUSPENDED, "True") else Event("Normal", names.REASON_SUSPENDED, "suspended")
        message = "suspended; set spec.suspend to false to go on from the newest checkpoint"
        return enter(run, "suspended", names.REASON_SUSPENDED, message, now, event=event)
    message = f"waiting for {len(waiting)} pod(s) to save and end"
    return enter(run, "suspending", names.REASON_SUSPENDING, message, now).deleting(*deletions(waiting))


def clear_away(run: TrainingRun, seen: Observed, now: datetime) -> Plan:
    """End what earlier attempts have left running: the next gang starts when they are gone."""
    message = f"waiting for pods of an earlier attempt to end; attempt {seen.attempt} starts then{_after(run)}"
    plan, end = _enter_starting(run, message, now), _end(seen.stale, now)
    return plan.deleting(*end.delete).waking_after(end.requeue_after)


def restart(run: TrainingRun, seen: Observed, decision: failure_policy.Decision, now: datetime) -> Plan:
    """Write down that the gang is to start again. Only that: the next pass acts on it."""
    restarts = failure_policy.restarts_after(run, seen, decision, now)
    attempt = seen.attempt + 1
    return enter(
        run,
        "restarting",
        names.REASON_RESTARTING,
        f"attempt {attempt} starts after {restarts.reason}",
        now,
        event=Event("Warning", names.REASON_RESTARTING, f"attempt {attempt} follows: {restarts.reason}"),
        attempt=attempt,
        restarts=restarts,
        attempt_start_time="",
    ).waking_after(0.0)


def fail(run: TrainingRun, reason: str, message: str, now: datetime) -> Plan:
    """The run has failed for good."""
    event = Event("Warning", names.REASON_FAILED, f"{reason}: {message}")
    return enter(run, "failed", reason, message, now, event=event, completion_time=times.to_text(now)).waking_after(0.0)


def succeed(run: TrainingRun, seen: Observed, now: datetime) -> Plan:
    """Every node says that nothing is left to do: training is complete, or the study has pruned the run."""
    step = max((pod.outcome.step for pod in seen.current), default=0)
    state: conditions.State
    if any(pod.outcome.outcome == names.OUTCOME_PRUNED for pod in seen.current):
        state, reason, message = "pruned", names.REASON_PRUNED, f"the study has stopped this trial at step {step}"
    else:
        state, reason, message = "succeeded", names.REASON_SUCCEEDED, f"training is complete at step {step}"
    event = Event("Normal", reason, message)
    return enter(run, state, reason, message, now, event=event, completion_time=times.to_text(now)).waking_after(0.0)


def tidy(run: TrainingRun, seen: Observed, now: datetime) -> Plan:
    """After the end: nothing runs on, and finished pods go when their time is over. The run itself stays."""
    plan = _end(seen.unfinished, now).deleting(*deletions(seen.outdated))
    plan = replace(plan, status=_observed(run))
    ttl, ended = run.spec.ttl_seconds_after_finished, times.from_text(status_of(run).completion_time)
    if ttl is None or ended is None or not seen.pods:
        return plan
    due = ended + timedelta(seconds=ttl)
    if now >= due:
        return plan.deleting(*deletions(seen.pods))
    return plan.waking_after(times.seconds_until(due, now))


def _observed(run: TrainingRun) -> TrainingRunStatus | None:
    """Return the status as having seen an edit after the end: until then kstatus takes the run for moving."""
    status, generation = status_of(run), run.metadata.generation
    if status.observed_generation == generation:
        return None
    conditions = [c.model_copy(update={"observed_generation": generation}) for c in status.conditions]
    return status.model_copy(update={"observed_generation": generation, "conditions": conditions})


def back_off(run: TrainingRun, now: datetime) -> Plan | None:
    """Wait before the next attempt, if it is to be waited for."""
    moment = times.from_text(status_of(run).restarts.not_before)
    if moment is None or now >= moment:
        return None
    return Plan().waking_after(times.seconds_until(moment, now))


def ensure(
    run: TrainingRun, seen: Observed, reporting: pods.Reporting, now: datetime, *, is_unheard: bool = False
) -> Plan:
    """Make what is missing, and say how far the gang has come, and whether it is never heard of."""
    create, apply = _children(run, seen, reporting)
    plan = _unheard(run, reporting, now) if is_unheard else _gang_status(run, seen, now)
    return Plan(delete=deletions(seen.outdated), create=create, apply=apply, status=plan.status, events=plan.events)


def refused(run: TrainingRun, message: str, now: datetime, seen: Observed = _NOTHING) -> Plan:
    """The API server refuses a child (quota, admission, a namesake of somebody else): say so, and try again later.

    Until then the pods of a gang that is not whole are taken back: they would hold GPUs and quota for nothing, and two
    such gangs could wait for each other for ever.
    """
    old = status_of(run).condition(names.RECONCILING)
    is_news = old is None or old.reason != names.REASON_POD_REFUSED
    event = Event("Warning", names.REASON_POD_REFUSED, message) if is_news else None
    status, half = status_of(run), [pod for pod in seen.current if not pod.is_over]
    if half and not status.attempt_start_time:
        retry = times.to_text(now + timedelta(seconds=REFUSED_RETRY_SECONDS))
        changes: dict[str, Any] = {"restarts": status.restarts.model_copy(update={"not_before": retry})}
    else:
        half, changes = [], {}
    plan = _enter_starting(run, message, now, names.REASON_POD_REFUSED, event=event, **changes)
    return plan.deleting(*deletions(half)).waking_after(REFUSED_RETRY_SECONDS)


def await_previous(run: TrainingRun, what: str, now: datetime) -> Plan:
    """What an earlier run of this name has left stands in the way, and goes by itself."""
    plan = _enter_starting(run, f"waiting for the previous run's {what} to go", now)
    return plan.waking_after(LEAVING_RETRY_SECONDS)


def deletions(children: Iterable[Child]) -> tuple[Deletion, ...]:
    """Return deletions of the pods that are not being deleted already."""
    return tuple(Deletion(pod.name, pod.uid) for pod in children if not pod.is_terminating)


def _end(children: tuple[Child, ...], now: datetime) -> Plan:
    """End pods, but for those whose container has only just ended: the kubelet is about to close them, and deleted now
    they would take their logs along. One that stays open (a sidecar, a node that died) is ended some seconds later."""
    closing = [pod for pod in children if pod.finished_at and timedelta(0) <= now - pod.finished_at < CLOSING]
    plan = Plan(delete=deletions(pod for pod in children if pod not in closing))
    return plan.waking_after(CLOSING.total_seconds() if closing else None)


def forced(seen: Observed) -> tuple[Deletion, ...]:
    """Return forced deletions of pods whose node is gone, and whose grace is long over (the checkpoint's fence
    makes it safe, should they run on all the same)."""
    return tuple(Deletion(pod.name, pod.uid, force=True) for pod in seen.pods if pod.is_unconfirmed)


def next_forced(seen: Observed, now: datetime) -> float | None:
    """Return the seconds after which a terminating pod may have to be forced."""
    waits = [(pod.delete_at + FORCE_AFTER - now).total_seconds() for pod in seen.unfinished if pod.delete_at]
    return min((wait if wait > 0 else FORCE_RETRY_SECONDS for wait in waits), default=None)


def _children(
    run: TrainingRun, seen: Observed, reporting: pods.Reporting
) -> tuple[tuple[Manifest, ...], tuple[Manifest, ...]]:
    """Return what is to be created, and what is to be changed."""
    create: list[Manifest] = []
    apply: list[Manifest] = []
    if seen.service is None:
        create.append(pods.build_service(run))
    config_map = pods.build_config_map(run, reporting)
    if seen.config_map is None:
        create.append(config_map)
    elif seen.config_map.get("data") != config_map["data"]:
        config_map["metadata"]["uid"] = seen.config_map["metadata"]["uid"]
        apply.append(config_map)
    # Of a gang that ran none is missing here: it has been judged, and is started again as a whole.
    create += [pods.build_pod(run, seen.attempt, node, reporting) for node in seen.missing]
    return tuple(create), tuple(apply)


def _gang_status(run: TrainingRun, seen: Observed, now: datetime) -> Plan:
    status = status_of(run)
    started = status.attempt_start_time
    if started or seen.all_running:
        message = f"{run.spec.nodes} of {run.spec.nodes} pods run, attempt {seen.attempt}"
        event = None if started else Event("Normal", names.REASON_RUNNING, message)
        started = started or times.to_text(now)
        changes = {"attempt_start_time": started, "attempt": seen.attempt}
        return enter(run, "running", names.REASON_RUNNING, message, now, event=event, **changes)
    reason, message = _waited_for(run, seen)
    return _enter_starting(run, message, now, reason, attempt=seen.attempt)


def _unheard(run: TrainingRun, reporting: pods.Reporting, now: datetime) -> Plan:
    url = urlsplit(reporting.url)
    message = f"the pods run, but no report arrives: can they reach port {url.port} of {url.hostname}?"
    ready = status_of(run).condition(names.READY)
    is_news = ready is None or ready.reason != names.REASON_NO_REPORTS
    event = Event("Warning", names.REASON_NO_REPORTS, message) if is_news else None
    return enter(run, "running", names.REASON_NO_REPORTS, message, now, event=event)


def _waited_for(run: TrainingRun, seen: Observed) -> tuple[str, str]:
    """Return reason and message of the first pod that waits for something, in the scheduler's or the kubelet's words;
    without one, no reason and how many run."""
    for pod in seen.of("active"):
        reason, message = pod.waiting
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            known = names.REASON_UNSCHEDULABLE if reason == "Unschedulable" else names.REASON_WAITING
            return known, f"pod {pod.name}: {reason}: {message}"
    up = sum(pod.is_running or pod.fate == "succeeded" for pod in seen.current)
    return "", f"{up} of {run.spec.nodes} pods run, attempt {seen.attempt}{_after(run)}"


def _enter_starting(run: TrainingRun, message: str, now: datetime, reason: str = "", **more: Any) -> Plan:
    """Enter the state of a gang that does not run yet: starting, or restarting after a failure."""
    if _is_restarting(run):
        return enter(run, "restarting", reason or names.REASON_RESTARTING, message, now, **more)
    return enter(run, "starting", reason or names.REASON_STARTING, message, now, **more)


def _after(run: TrainingRun) -> str:
    """Say which failure the present attempt follows, if any."""
    return f" after {status_of(run).restarts.reason}" if _is_restarting(run) else ""


def _is_restarting(run: TrainingRun) -> bool:
    """Say whether the present attempt follows a failure: a first one waits only after a refusal."""
    status = status_of(run)
    return bool(status.restarts.not_before) and status.phase != names.PHASE_PENDING


def _is_in(run: TrainingRun, kind: str, status: str) -> bool:
    condition = status_of(run).condition(kind)
    return condition is not None and condition.status == status
