"""From how the ranks of a node ended to how the node ended: pure, and the only place that decides it."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from headway_api import names

from headway.launch.record import Record

# Kubernetes keeps 4096 bytes of a termination message, and a cut JSON document says nothing.
MESSAGE_BYTES = 4000
# torch's agent, once a rank has failed, sends the others SIGTERM and after so many seconds SIGKILL.
AGENT_GRACE_S = 30.0

_SIGNAL_CAUSES = {
    signal.SIGKILL: "often: out of memory",
    signal.SIGSEGV: "a crash in native code",
    signal.SIGBUS: "often: /dev/shm or the disk is full",
    signal.SIGABRT: "native code gave up",
}


@dataclass(frozen=True)
class Outcome:
    """How a node's part in an attempt ended: the launcher's exit code and termination message."""

    outcome: str  # names.OUTCOME_*
    exit_code: int
    step: int | None = None
    checkpoint: str | None = None
    error: str = ""

    def message(self) -> str:
        """Return the termination message: one JSON object of less than 4096 bytes; a long error loses its end."""
        fields = {key: value for key, value in asdict(self).items() if key != "exit_code"}
        error, text = self.error, json.dumps(fields)
        while len(text) > MESSAGE_BYTES and error:  # json.dumps gives ASCII: characters are bytes
            error = error[: len(error) * 9 // 10]
            text = json.dumps({**fields, "error": f"{error}…"})
        return text


def of_finished_ranks(records: Sequence[Record], ranks: Sequence[int]) -> Outcome:
    """Return the outcome of ranks that all left with exit code 0: over only if every one of them says so."""
    silent = sorted(set(ranks) - {record.rank for record in records})
    if silent:
        return Outcome(names.OUTCOME_FAILED, names.EXIT_ERROR, error=f"rank {silent[0]} left without saying how")
    first = records[0]
    is_over = first.outcome in names.OUTCOMES_OF_THE_END and all(r.outcome == first.outcome for r in records)
    return Outcome(
        outcome=first.outcome if is_over else names.OUTCOME_STOPPED,
        exit_code=names.EXIT_OK if is_over else names.EXIT_SAVED_AND_LEFT,
        step=first.step,
        checkpoint=first.checkpoint,
    )


def of_failed_ranks(records: Sequence[Record], exit_codes: Mapping[int, int], now: float) -> Outcome:
    """Return the outcome of a gang that a rank has ended. `exit_codes` by rank; negative ones are signals.

    The ranks that did not fail first fail too (a peer is gone), and one that is killed cannot say so. So whoever was
    killed without a word is the cause, unless it was killed for hanging, or by the agent, long after an error;
    then whoever left without a note, as the watchdog does; else it is the earliest error. A rank that has only given up
    waiting for others is a witness, and never named where they have an error of their own.
    """
    errors = {r.rank: r for r in records if r.outcome == names.OUTCOME_FAILED}
    earliest = min(errors.values(), key=lambda record: record.time, default=None)
    hung = {rank for record in errors.values() if record.hung for rank in record.lost or ()}
    killed = {rank: -code for rank, code in exit_codes.items() if code < 0 and rank not in errors}
    violent = {rank: number for rank, number in killed.items() if number != signal.SIGTERM and rank not in hung}
    if violent and (earliest is None or now - earliest.time < AGENT_GRACE_S):
        return _killed(*min(violent.items()))
    silent = {rank: code for rank, code in exit_codes.items() if code > 0 and rank not in errors}
    if silent:
        return _left(*min(silent.items()))
    if earliest is not None:
        return _of_error(earliest, errors)
    return _killed(*min(killed.items()))


def _of_error(earliest: Record, errors: Mapping[int, Record]) -> Outcome:
    """The outcome of the earliest error, or of the rank's that it blames."""
    own = [errors[rank] for rank in earliest.lost or () if rank in errors and errors[rank].lost is None]
    cause = own[0] if own else earliest
    is_told_alone = cause.exit_code == names.EXIT_BAD_INPUT or cause.lost is not None  # not as this rank's affair
    whose = "" if is_told_alone else f"rank {cause.rank}: "
    return Outcome(names.OUTCOME_FAILED, cause.exit_code, error=whose + cause.error)


def _killed(rank: int, number: int) -> Outcome:
    name = signal.Signals(number).name
    cause = f" ({_SIGNAL_CAUSES[signal.Signals(number)]})" if number in _SIGNAL_CAUSES else ""
    return Outcome(names.OUTCOME_FAILED, 128 + number, error=f"rank {rank}: killed by {name}{cause}")


def _left(rank: int, code: int) -> Outcome:
    if code == names.EXIT_SAVED_AND_LEFT:
        return Outcome(names.OUTCOME_STOPPED, code)
    cause = {names.EXIT_STALLED: "no sign of life within stallSeconds; its stacks are in the log"}
    return Outcome(names.OUTCOME_FAILED, code, error=f"rank {rank}: {cause.get(code, f'left with exit code {code}')}")
