"""The status that a local run writes: the conditions of the operator's, from what this machine observes. Pure."""

from __future__ import annotations

from headway_api import names
from headway_api.progress import ProgressReport
from headway_api.training_run import Condition, TrainingRunStatus

Facts = dict[str, tuple[bool, str, str]]  # condition type -> (status, reason, message)


def starting(before: TrainingRunStatus | None, now: str) -> TrainingRunStatus:
    """Begin the next attempt."""
    old = before or TrainingRunStatus()
    fresh = old.model_copy(
        update={
            "phase": names.PHASE_PENDING,
            "attempt": old.attempt + 1,
            "start_time": old.start_time or now,
            "active_since": now,
            "attempt_start_time": "",
            "completion_time": "",
            # What an earlier attempt ended with is over.
            "conditions": [c for c in old.conditions if c.type not in (names.FINISHED, names.SUCCEEDED, names.FAILED)],
        }
    )
    return _with(fresh, now, _facts(reconciling=(names.REASON_STARTING, "the trainer is starting")))


def reported(before: TrainingRunStatus, report: ProgressReport, now: str) -> TrainingRunStatus:
    """Take in a report of the present attempt."""
    running = before.model_copy(
        update={
            "phase": names.PHASE_RUNNING,
            "attempt_start_time": before.attempt_start_time or now,
            "progress": report.progress.model_copy(update={"reported_at": now}),
        }
    )
    return _with(running, now, _facts(ready=(names.REASON_RUNNING, "the trainer reports progress")))


def succeeded(before: TrainingRunStatus, now: str) -> TrainingRunStatus:
    """End the run: nothing is left to train."""
    ended = before.model_copy(update={"phase": names.PHASE_SUCCEEDED, "completion_time": now})
    why = (names.REASON_SUCCEEDED, "training is complete")
    return _with(ended, now, _facts(ready=why) | _finished(names.SUCCEEDED, why))


def pruned(before: TrainingRunStatus, now: str) -> TrainingRunStatus:
    """End the run: its study has stopped it. It has neither succeeded nor failed, and nothing follows."""
    ended = before.model_copy(update={"phase": names.PHASE_PRUNED, "completion_time": now})
    why = (names.REASON_PRUNED, "the study has stopped this trial")
    return _with(ended, now, _facts(ready=why) | {names.FINISHED: (True, *why)})


def stopped(before: TrainingRunStatus, message: str, now: str) -> TrainingRunStatus:
    """Leave the run, saved, to be gone on with."""
    paused = before.model_copy(update={"phase": names.PHASE_SUSPENDED})
    return _with(paused, now, _facts(suspended=(names.REASON_SUSPENDED, message)))


def failed(before: TrainingRunStatus, message: str, now: str) -> TrainingRunStatus:
    """End the attempt by an error; the run can be gone on with by hand."""
    ended = before.model_copy(update={"phase": names.PHASE_FAILED, "completion_time": now})
    why = (names.REASON_FAILED, message[:4000])
    return _with(ended, now, _facts(stalled=why) | _finished(names.FAILED, why))


def _facts(
    ready: tuple[str, str] | None = None,
    reconciling: tuple[str, str] | None = None,
    suspended: tuple[str, str] | None = None,
    stalled: tuple[str, str] | None = None,
) -> Facts:
    """Say which one of these holds, and that the others do not, for the same reason."""
    given = {names.READY: ready, names.RECONCILING: reconciling, names.SUSPENDED: suspended, names.STALLED: stalled}
    reason, message = next(why for why in given.values() if why is not None)
    facts: Facts = {kind: (why is not None, reason, message) for kind, why in given.items()}
    return {names.SPEC_VALID: (True, names.REASON_ACCEPTED, ""), **facts}


def _finished(kind: str, why: tuple[str, str]) -> Facts:
    return {kind: (True, *why), names.FINISHED: (True, *why)}


def _with(status: TrainingRunStatus, now: str, facts: Facts) -> TrainingRunStatus:
    """Set conditions; the time of the last transition stays where the truth does."""
    conditions = {condition.type: condition for condition in status.conditions}
    for kind, (truth, reason, message) in facts.items():
        word = "True" if truth else "False"
        old = conditions.get(kind)
        since = old.last_transition_time if old is not None and old.status == word else now
        conditions[kind] = Condition(type=kind, status=word, reason=reason, message=message, last_transition_time=since)
    return status.model_copy(update={"conditions": list(conditions.values())})
