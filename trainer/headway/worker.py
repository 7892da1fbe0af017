"""`headway worker`: the first process of a container. Runs this node's ranks and says how they ended.

One attempt is one gang: the first rank that fails ends it, and nothing is restarted here; that is the operator's.
torchrun is not used because it turns every failure into exit code 1.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from headway_api import names

from headway.launch import outcome
from headway.launch.outcome import Outcome
from headway.launch.record import Notes
from headway.launch.settings import Settings, from_environment
from headway.launch.threads import available_cores, numba_cache, thread_environment

RANK_COMMAND = (sys.executable, "-m", "headway.rank")
# A gang's last pod may wait for days for a GPU or a quota. How long is the operator's business (activeDeadlineSeconds):
# a launcher that gave up would look like a crash.
RENDEZVOUS_TIMEOUT_S = 365 * 24 * 3600
EXIT_BARRIER_S = 60.0  # how long a node whose ranks are done waits for the other nodes
# How long a node that has only lost another one waits before it leaves: a cluster takes 50 s by default to say that a
# node is gone and 30 s more to evict its pods, and whoever leaves before that looks like the one that has crashed.
WITNESS_S = 150.0
STACKS_S = 1.0  # what a rank that hangs is given to write its stacks before it is killed


@dataclass
class _Gang:
    """This node's ranks under torch's agent, in a thread of its own: the main thread must stay free for signals."""

    settings: Settings
    notes: Notes
    command: Sequence[str]
    exit_codes: dict[int, int] = field(default_factory=dict)  # of failed ranks
    error: BaseException | None = None  # of the agent itself
    ended: set[int] = field(default_factory=set)  # ranks that hung, and were killed for it

    def run(self) -> None:
        """Run the ranks to their end. Raises nothing: what went wrong is in `exit_codes` or in `error`."""
        try:
            self._launch()
        except BaseException as error:
            self.error = error

    def _launch(self) -> None:
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        # It warns that a thread cannot handle signals: the main thread does.
        logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.ERROR)
        config = LaunchConfig(
            min_nodes=self.settings.nnodes,
            max_nodes=self.settings.nnodes,
            nproc_per_node=self.settings.nproc,
            run_id=f"{self.settings.uid}-{self.settings.attempt}",
            rdzv_backend="static",
            rdzv_endpoint=_endpoint(self.settings),
            rdzv_configs={"rank": self.settings.node_rank, "timeout": RENDEZVOUS_TIMEOUT_S},
            max_restarts=0,
            monitor_interval=0.1,
        )
        program, *arguments = *self.command, str(self.notes.folder)
        try:
            elastic_launch(config, program)(*arguments)
        except ChildFailedError as failed:
            self.exit_codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}

    def outcome(self) -> Outcome:
        """Return how it ended, once `run` has returned."""
        records = self.notes.records()
        if self.exit_codes:
            return outcome.of_failed_ranks(records, self.exit_codes, time.time())
        if self.error is not None:
            where = f"{self.settings.master_addr}:{self.settings.master_port}"
            text = f"the ranks could not be started (node 0 is {where}): {type(self.error).__name__}: {self.error}"
            return Outcome(names.OUTCOME_FAILED, names.EXIT_ERROR, error=text)
        return self.outcome_of_ranks()

    def outcome_of_ranks(self) -> Outcome:
        """Return how the ranks ended by what they say themselves."""
        first = self.settings.node_rank * self.settings.nproc
        return outcome.of_finished_ranks(self.notes.records(), range(first, first + self.settings.nproc))

    def end_hung_ranks(self) -> None:
        """Kill this node's ranks that others have given up: the agent would first ask them to leave, and wait."""
        lost = {rank for record in self.notes.records() if record.hung for rank in record.lost or ()}
        for rank in lost - self.ended:
            self.ended.add(rank)
            if pid := self.notes.pid(rank):
                _send(pid, signal.SIGABRT)  # a stopped process does not heed it, one that runs writes its stacks
                threading.Timer(STACKS_S, _send, (pid, signal.SIGKILL)).start()

    def is_only_a_witness(self) -> bool:
        """Say whether all that has failed here is that ranks of other nodes were waited for in vain."""
        first = self.settings.node_rank * self.settings.nproc
        here = set(range(first, first + self.settings.nproc))
        failed = [record for record in self.notes.records() if record.outcome == names.OUTCOME_FAILED]
        lost = [record.lost for record in failed]
        return self.settings.nnodes > 1 and bool(lost) and all(r is not None and here.isdisjoint(r) for r in lost)

    def ranks_have_left_well(self) -> bool:
        """Say whether every rank of this node has returned from training."""
        records = self.notes.records()
        return len(records) == self.settings.nproc and all(r.exit_code == names.EXIT_OK for r in records)


def work(termination_log: Path, stop_at_eof: bool = False, command: Sequence[str] = RANK_COMMAND) -> int:
    """Run this node's part of the attempt that the environment describes; return the exit code.

    Args:
        termination_log: gets the outcome as JSON, if it exists or its folder is not /dev.
        stop_at_eof: save and leave when standard input ends, as at SIGTERM: the parent is gone.
        command: what to run as a rank; it gets the notes' folder as its last argument.

    Raises UserError if the environment is incomplete.
    """
    os.environ.setdefault(names.ENV_LAUNCHED_AT, str(time.time()))  # a parent on this machine knows it better
    with tempfile.TemporaryDirectory(prefix="headway-") as scratch:
        notes = Notes(Path(scratch))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: notes.ask_to_stop())
        if stop_at_eof:
            threading.Thread(target=_await_eof, args=(notes,), daemon=True).start()
        settings = from_environment(os.environ)
        os.environ.update(thread_environment(os.environ, settings.nproc, available_cores()))
        os.environ.update(numba_cache(os.environ))
        gang = _Gang(settings, notes, command)
        result = _run_gang(gang)
        _say(termination_log, result)
        if gang.is_only_a_witness():
            _await_stop(notes, WITNESS_S)
    return result.exit_code


def _run_gang(gang: _Gang) -> Outcome:
    """Wait for the gang, at most until nothing of it can be waited for any more."""
    thread = threading.Thread(target=gang.run, daemon=True)
    thread.start()
    done_since: float | None = None
    while thread.is_alive():
        thread.join(0.1)
        if gang.notes.asked_to_stop() and not gang.notes.any_begun():
            return Outcome(names.OUTCOME_STOPPED, names.EXIT_SAVED_AND_LEFT)
        gang.end_hung_ranks()
        if done_since is None and gang.ranks_have_left_well():
            done_since = time.monotonic()
        if done_since is not None and time.monotonic() - done_since > EXIT_BARRIER_S:
            return gang.outcome_of_ranks()
    return gang.outcome()


def _endpoint(settings: Settings) -> str:
    """Return where the ranks meet: on node 0, or for a single node on any free port of this machine."""
    if settings.nnodes > 1:
        return f"{settings.master_addr}:{settings.master_port}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _await_stop(notes: Notes, seconds: float) -> None:
    """Wait for so long, or until this process is told to leave."""
    until = time.monotonic() + seconds
    while not notes.asked_to_stop() and time.monotonic() < until:
        time.sleep(0.1)


def _await_eof(notes: Notes) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    notes.ask_to_stop()


def _say(termination_log: Path, result: Outcome) -> None:
    if result.error:
        print(f"error: {result.error}", file=sys.stderr, flush=True)
    try:
        if termination_log.exists() or termination_log.parent != Path("/dev"):
            termination_log.write_text(result.message(), encoding="utf-8")
    except OSError as error:
        print(f"{termination_log}: cannot be written: {error.strerror}", file=sys.stderr, flush=True)
