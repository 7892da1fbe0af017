"""Ranks as processes of their own, forked from a server that has loaded torch already: one starts in milliseconds.

They meet over gloo as the launcher's ranks do. A launcher loads torch twice for every start, which is most of the time
of a run of seconds that is started several times.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PROCESSES: Final = multiprocessing.get_context("forkserver")
# Torch loads its compiler at an optimiser's first step, nearly two seconds in each rank.
PRELOADED: Final = ("headway.train", "torch._dynamo")
PROCESSES.set_forkserver_preload([*PRELOADED])


class Rank:
    """One rank: a call of `program(*arguments)` in a process of its own."""

    def __init__(self, program: Callable[..., None], arguments: tuple[Any, ...], variables: dict[str, str]) -> None:
        descriptor, name = tempfile.mkstemp(prefix="headway-rank-")
        os.close(descriptor)
        self.log = Path(name)
        self.process = PROCESSES.Process(target=_run, args=(program, arguments, variables, name))
        self.process.start()

    def wait(self, timeout_s: float) -> int:
        """Return the exit code, negative for a signal. Raises TimeoutError, with what it said, if it takes too long."""
        self.process.join(timeout_s)
        if self.process.exitcode is None:
            raise TimeoutError(f"a rank still runs after {timeout_s:g} s:\n{self.log.read_text()}")
        return self.process.exitcode

    def kill(self) -> None:
        """End it with SIGKILL, wherever it is."""
        self.process.kill()


def _run(program: Callable[..., None], arguments: tuple[Any, ...], variables: dict[str, str], log: str) -> None:
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the parent
    descriptor = os.open(log, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        program(*arguments)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(world_size: int, program: Callable[..., None], *arguments: Any) -> list[Rank]:
    """Call `program` once a rank; the ranks meet on a free port of this machine."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world_size)}
    return [Rank(program, arguments, meeting | {"RANK": str(rank)}) for rank in range(world_size)]


def finish(ranks: Sequence[Rank], timeout_s: float = 100.0) -> list[tuple[int, str]]:
    """Wait for all; return (exit code, output) of each, in rank order. Raises TimeoutError; none is left running."""
    with ended(ranks):
        return [(rank.wait(timeout_s), rank.log.read_text()) for rank in ranks]


@contextmanager
def ended(ranks: Sequence[Rank]) -> Iterator[Sequence[Rank]]:
    """Kill at the end those that are left."""
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.process.kill()
            rank.log.unlink(missing_ok=True)
