"""The life of a run, on one page. Pure: the same run, children and time give the same Plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from headway_api import names
from headway_api.training_run import TrainingRun

from headway_operator.core import failure_policy, lifecycle, pod_security, pods, times
from headway_operator.core.observed import Observed
from headway_operator.core.plan import Plan


@dataclass(frozen=True)
class Context:
    """What the core must know of the operator itself."""

    reporting: pods.Reporting
    observing_since: datetime
    """Since when this operator could have heard of progress, without a break."""


def reconcile_run(run: TrainingRun, seen: Observed, context: Context, now: datetime) -> Plan:
    """Return what is to be done for the run now."""
    if run.metadata.deletion_timestamp:
        return Plan()  # owner references collect the children
    plan = _lifecycle(run, seen, context, now)
    return plan.deleting(*lifecycle.forced(seen)).waking_after(lifecycle.next_forced(seen, now))


def _lifecycle(run: TrainingRun, seen: Observed, context: Context, now: datetime) -> Plan:
    if lifecycle.status_of(run).is_true(names.FINISHED):
        return lifecycle.tidy(run, seen, now)
    if problem := first_problem(run, seen, context):
        return lifecycle.reject(run, problem, now)
    if is_begun(run) and seen.all_succeeded:
        return lifecycle.succeed(run, seen, now)
    if run.spec.suspend:
        return lifecycle.suspend(run, seen, now)
    if not is_begun(run):
        return lifecycle.begin(run, seen, now)
    if (deadline := active_deadline(run)) and now >= deadline:
        message = f"the run was active for {run.spec.active_deadline_seconds} s (activeDeadlineSeconds)"
        return lifecycle.fail(run, names.REASON_DEADLINE, message, now)
    return _active(run, seen, context, now).waking_after(times.seconds_until(deadline, now) if deadline else None)


def _active(run: TrainingRun, seen: Observed, context: Context, now: datetime) -> Plan:
    """A run that is to be running, within its deadline."""
    if seen.stale:
        return lifecycle.clear_away(run, seen, now)
    verdict = failure_policy.decide(run, seen, now)
    silence = failure_policy.decide_on_silence(run, context.observing_since, now)
    if decision := verdict or (silence if isinstance(silence, failure_policy.Decision) else None):
        if decision.is_final:
            return lifecycle.fail(run, decision.reason, decision.message, now)
        return lifecycle.restart(run, seen, decision, now)
    if seen.of("failed"):  # settling
        return Plan(requeue_after=failure_policy.SETTLE.total_seconds())
    if all(pod.is_terminating for pod in seen.current) and (waiting := lifecycle.back_off(run, now)):
        return waiting
    if seen.foreign:
        names_taken = ", ".join(seen.foreign)
        return lifecycle.refused(run, f"{names_taken} exists already and is not this run's: delete it", now)
    if seen.leaving:
        return lifecycle.await_previous(run, ", ".join(seen.leaving), now)
    is_unheard = failure_policy.is_unheard(run, context.observing_since, now)
    plan = lifecycle.ensure(run, seen, context.reporting, now, is_unheard=is_unheard)
    return plan.waking_after(times.seconds_until(silence, now) if isinstance(silence, datetime) else None)


def is_begun(run: TrainingRun) -> bool:
    """Say whether an attempt is written down as active: after suspension the next one has to be."""
    status = lifecycle.status_of(run)
    reconciling = status.condition(names.RECONCILING)
    is_suspending = reconciling is not None and reconciling.reason == names.REASON_SUSPENDING
    return status.attempt > 0 and not is_suspending and not status.is_true(names.SUSPENDED)


def first_problem(run: TrainingRun, seen: Observed, context: Context) -> str:
    """Return why the spec cannot be carried out, though it is well-formed; empty if it can."""
    claim = run.spec.checkpoint.volume
    modes = seen.access_modes
    if claim and modes is not None and run.spec.nodes > 1 and not {"ReadWriteMany"} & set(modes):
        return (
            f"checkpoint.volume.claimName: claim {claim.claim_name} is {', '.join(modes) or 'without access modes'}, "
            f"but nodes is {run.spec.nodes}: use a ReadWriteMany claim, or nodes: 1"
        )
    violations = pod_security.violations(pods.build_pod(run, max(1, seen.attempt), 0, context.reporting))
    return "; ".join(violations)


def active_deadline(run: TrainingRun) -> datetime | None:
    """Return when the run has been active for too long, if there is such a limit."""
    since = times.from_text(lifecycle.status_of(run).active_since)
    if since is None or run.spec.active_deadline_seconds is None:
        return None
    return since + timedelta(seconds=run.spec.active_deadline_seconds)
