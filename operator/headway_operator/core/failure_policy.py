"""What a failure means: an ordered chain of small rules, of which the first that speaks decides.

Disruptions come before crashes, because a gang whose one node is preempted crashes everywhere else, too. What is
restarted is always the whole gang, from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headway_api import names
from headway_api.training_run import Restarts, TrainingRun, TrainingRunStatus

from headway_operator.core import times
from headway_operator.core.observed import Child, Observed

UNCOUNTED_WITHOUT_CHECKPOINT = 10
MAX_BACKOFF_SECONDS = 300
# The first pod of a gang to fail is often a witness, not the cause: the others are given this time to say theirs.
SETTLE = timedelta(seconds=3)


@dataclass(frozen=True)
class Decision:
    """Start the gang again (counted or not), or fail the run."""

    reason: str
    message: str
    is_counted: bool = True
    is_final: bool = False
    needs_checkpoint: bool = True  # among the restarts that have to bring a newer checkpoint at some time


Rule = Callable[[TrainingRun, Observed], Decision | None]


def bad_input(run: TrainingRun, seen: Observed) -> Decision | None:
    """The trainer says that its input is wrong: it would be wrong again."""
    pod = _first(seen.of("failed"), lambda pod: pod.exit_code == names.EXIT_BAD_INPUT)
    return Decision(names.REASON_PERMANENT_ERROR, _account(pod), is_final=True) if pod else None


def disrupted(run: TrainingRun, seen: Observed) -> Decision | None:
    """Preempted, evicted, refused by a kubelet, or on a lost node: nothing that the trainer did."""
    pod = _first(seen.current, lambda pod: pod.is_disrupted and pod.fate != "succeeded")
    if pod is None:
        return None
    return Decision("Disrupted", f"node {pod.node} was disrupted{_because(pod.reason)}", is_counted=False)


def lost(run: TrainingRun, seen: Observed) -> Decision | None:
    """A pod of a gang that ran is gone, and has left no outcome."""
    if not _status(run).attempt_start_time or not seen.missing:
        return None
    gone = ", ".join(map(str, seen.missing))
    return Decision("Lost", f"the pod of node {gone} is gone without a recorded outcome", is_counted=False)


def left_early(run: TrainingRun, seen: Observed) -> Decision | None:
    """SIGTERM from somebody else: saved and left in order, to be gone on with."""
    pod = _first(
        seen.of("failed"),
        lambda pod: pod.exit_code == names.EXIT_SAVED_AND_LEFT or pod.outcome.outcome == names.OUTCOME_STOPPED,
    )
    if pod is None:
        return None
    return Decision("Stopped", f"node {pod.node} was told to stop, saved and left", is_counted=False)


def out_of_memory(run: TrainingRun, seen: Observed) -> Decision | None:
    """The kernel killed the container for its memory."""
    pod = _first(seen.of("failed"), lambda pod: pod.reason == "OOMKilled")
    if pod is None:
        return None
    limit = run.spec.pod_template.resources.limits.get("memory", "the node's memory")
    return Decision("OutOfMemory", f"node {pod.node} used more than {limit}: raise podTemplate.resources.limits.memory")


def stalled(run: TrainingRun, seen: Observed) -> Decision | None:
    """The trainer's own watchdog ended it."""
    pod = _first(seen.of("failed"), lambda pod: pod.exit_code == names.EXIT_STALLED)
    if pod is None:
        return None
    return Decision("Stalled", f"no sign of life for {run.spec.stall_seconds} s: {_account(pod)}")


def gang_incomplete(run: TrainingRun, seen: Observed) -> Decision | None:
    """A pod ended without a word while it waited for the others: no rank had begun, so nothing has failed."""
    failed = seen.of("failed")
    waiting = [*seen.missing, *(pod.node for pod in seen.of("active") if not pod.is_running)]
    has_spoken = any(p.exit_code == names.EXIT_OK or p.outcome.outcome or p.outcome.error for p in failed)
    if _status(run).attempt_start_time or not failed or not waiting or has_spoken:
        return None
    message = f"{_account(failed[0])} while node {', '.join(map(str, sorted(waiting)))} did not run yet"
    return Decision("GangIncomplete", message, is_counted=False, needs_checkpoint=False)


def crashed(run: TrainingRun, seen: Observed) -> Decision | None:
    """Anything else that ended without training being complete."""
    failed = seen.of("failed")
    pod = _first(failed, lambda pod: pod.outcome.outcome == names.OUTCOME_FAILED) or _first(failed, lambda pod: True)
    if pod is None:
        return None
    if pod.exit_code == names.EXIT_OK:
        return Decision("Incomplete", f"node {pod.node} left with exit code 0 before training was complete")
    return Decision("Crashed", _account(pod))


CHAIN: tuple[Rule, ...] = (
    bad_input,
    disrupted,
    lost,
    left_early,
    out_of_memory,
    stalled,
    gang_incomplete,
    crashed,
)


def decide(run: TrainingRun, seen: Observed, now: datetime) -> Decision | None:
    """Return what has gone wrong with the present attempt, within the run's limits; None if nothing has."""
    decision = next((decision for rule in CHAIN if (decision := rule(run, seen))), None)
    if decision is None or decision.is_final or not (is_settling(seen, now) or is_withdrawn(run, seen)):
        return decision and limited(run, seen, decision)
    return None


def is_settling(seen: Observed, now: datetime) -> bool:
    """Say whether pods have failed only just now, while others may still tell why."""
    failed, active = seen.of("failed"), [pod for pod in seen.of("active") if not pod.is_disrupted]
    ends = [pod.finished_at for pod in failed]
    return bool(failed and active) and all(end is not None and timedelta(0) <= now - end < SETTLE for end in ends)


def is_withdrawn(run: TrainingRun, seen: Observed) -> bool:
    """Say whether what ended are pods that were deleted before the gang ran: they had nothing to lose, and are made
    again when they are gone."""
    failed = seen.of("failed")
    is_theirs = all(pod.is_terminating and pod.outcome.outcome != names.OUTCOME_FAILED for pod in failed)
    return bool(failed) and is_theirs and not _status(run).attempt_start_time


def decide_on_silence(run: TrainingRun, observing_since: datetime, now: datetime) -> Decision | datetime | None:
    """Judge a gang that runs but reports nothing for twice stallSeconds; else return when to look again.

    Silence counts only while this operator could have heard: its own outage is never taken for a stall. Nor is the
    silence of a run that was never heard at all: see `is_unheard`.
    """
    due = _silent_at(run, observing_since)
    if due is None or now < due:
        return due
    if not _was_heard(run):
        return None
    seconds = 2 * run.spec.stall_seconds
    return limited(run, None, Decision("Stalled", f"no progress was reported for {seconds} s (twice stallSeconds)"))


def is_unheard(run: TrainingRun, observing_since: datetime, now: datetime) -> bool:
    """Say whether a gang runs, and no attempt of the run has ever been heard of: rather its network than a stall, which
    the trainer's own watchdog would end. Another attempt would be as silent."""
    due = _silent_at(run, observing_since)
    return due is not None and now >= due and not _was_heard(run)


def _silent_at(run: TrainingRun, observing_since: datetime) -> datetime | None:
    """Return when a gang that runs has been silent for twice stallSeconds."""
    status = _status(run)
    started, progress = times.from_text(status.attempt_start_time), status.progress
    if started is None:
        return None
    reported = times.from_text(progress.reported_at) if progress and progress.attempt == status.attempt else None
    heard = max(moment for moment in (started, reported, observing_since) if moment is not None)
    return heard + timedelta(seconds=2 * run.spec.stall_seconds)


def _was_heard(run: TrainingRun) -> bool:
    progress = _status(run).progress
    return progress is not None and bool(progress.reported_at)


def limited(run: TrainingRun, seen: Observed | None, decision: Decision) -> Decision:
    """Turn a restart into the run's failure where its limits are used up."""
    if decision.is_final:
        return decision
    restarts, most = _status(run).restarts, run.spec.failure_policy.max_restarts
    last = f"{decision.reason}: {decision.message}"
    if decision.is_counted and restarts.counted >= most:
        message = f"failurePolicy.maxRestarts ({most}) is used up; the last failure was {last}"
        return Decision(names.REASON_MAX_RESTARTS, message, is_final=True)
    is_bounded = not decision.is_counted and decision.needs_checkpoint
    if is_bounded and _without_checkpoint(run, seen) >= UNCOUNTED_WITHOUT_CHECKPOINT:
        message = f"{UNCOUNTED_WITHOUT_CHECKPOINT} restarts have brought no newer checkpoint; the last was {last}"
        return Decision(names.REASON_NO_PROGRESS, message, is_final=True)
    return decision


def restarts_after(run: TrainingRun, seen: Observed, decision: Decision, now: datetime) -> Restarts:
    """Return the counts and the backoff for the restart that was decided."""
    old, before = _status(run).restarts, _without_checkpoint(run, seen)
    # 2^16 times any base is over the limit: no need for larger powers
    wait = min(MAX_BACKOFF_SECONDS, run.spec.failure_policy.backoff_seconds * 2 ** min(before, 16))
    return Restarts(
        counted=old.counted + decision.is_counted,
        uncounted=old.uncounted + (not decision.is_counted),
        without_checkpoint=before + decision.needs_checkpoint,
        checkpoint_step=newest_checkpoint(run, seen),
        reason=f"{decision.reason}: {decision.message}"[:1024],
        not_before=times.to_text(now + timedelta(seconds=wait)),
    )


def newest_checkpoint(run: TrainingRun, seen: Observed | None) -> int:
    """Return the step of the newest checkpoint that anybody has told of; -1 without."""
    status = _status(run)
    told = [status.restarts.checkpoint_step]
    if status.progress and status.progress.checkpoint:
        told.append(status.progress.checkpoint.step)
    return max(told + [pod.outcome.checkpoint_step for pod in (seen.current if seen else ())])


def _without_checkpoint(run: TrainingRun, seen: Observed | None) -> int:
    """Restarts since the newest checkpoint moved on."""
    restarts = _status(run).restarts
    return 0 if newest_checkpoint(run, seen) > restarts.checkpoint_step else restarts.without_checkpoint


def _first(pods: tuple[Child, ...], matches: Callable[[Child], bool]) -> Child | None:
    """Return the first to end among those that match: the likeliest cause."""
    found = [pod for pod in pods if matches(pod)]
    latest = datetime.max.replace(tzinfo=UTC)
    return min(found, key=lambda pod: (pod.finished_at or latest, pod.node), default=None)


def _account(pod: Child) -> str:
    """Say how a pod ended, in its own words where it left any."""
    how = f"exit code {pod.exit_code}" if pod.exit_code is not None else "no exit code"
    own = f": {pod.outcome.error}" if pod.outcome.error else ""
    because = "" if pod.reason in ("", "Error") else f" ({pod.reason})"
    return f"node {pod.node} left with {how}{because}{own}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _status(run: TrainingRun) -> TrainingRunStatus:
    return run.status or TrainingRunStatus()
