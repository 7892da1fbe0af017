"""Ranks as processes of their own, forked from a server that has loaded torch already: one starts in milliseconds."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROCESSES = multiprocessing.get_context("forkserver")
# Torch loads its compiler at an optimiser's first step, nearly two seconds in each rank.
PROCESSES.set_forkserver_preload(["headway.train", "trainer_tests.line_env", "torch._dynamo"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Rank:
    """One rank: a call of `program(*arguments)` in a process of its own."""

    def __init__(self, program: Callable[..., None], arguments: tuple[Any, ...], variables: dict[str, str]) -> None:
        self.log = Path(tempfile.mkstemp(prefix="rank-")[1])
        self.process = PROCESSES.Process(target=_run, args=(program, arguments, variables, str(self.log)))
        self.process.start()

    def wait(self, timeout_s: float) -> int:
        """Return the exit code, negative for a signal; kill it if it takes too long."""
        self.process.join(timeout_s)
        assert self.process.exitcode is not None, f"still running after {timeout_s} s: {self.log.read_text()}"
        return self.process.exitcode


def _run(program: Callable[..., None], arguments: tuple[Any, ...], variables: dict[str, str], log: str) -> None:
    os.environ.update(variables)
    descriptor = os.open(log, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        program(*arguments)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def start(world_size: int, program: Callable[..., None], *arguments: Any) -> list[Rank]:
    """Call `program` once a rank; the ranks meet on a free port of this machine."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world_size)}
    return [Rank(program, arguments, meeting | {"RANK": str(rank)}) for rank in range(world_size)]


def finish(ranks: list[Rank], timeout_s: float = 100.0) -> list[tuple[int, str]]:
    """Wait for all; return (exit code, output) of each, in rank order."""
    with ended(ranks):
        return [(rank.wait(timeout_s), rank.log.read_text()) for rank in ranks]


@contextmanager
def ended(ranks: list[Rank]) -> Iterator[list[Rank]]:
    """Kill at the end those that are left."""
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.process.kill()
            rank.log.unlink(missing_ok=True)


def train_a_rank(
    env: str,
    wire: dict[str, Any],
    folder: Path,
    attempt: int,
    killed_at: int,
    victim: int,
    pause_s: float = 0.0,
    by: signal.Signals = signal.SIGKILL,
    life_s: float = 60.0,
) -> None:
    """Train on LineEnv or the real one; rank `victim` sends itself a signal after update `killed_at` (0: never).

    Saves at every update and waits; with a pause, it saves beside the training, and each update takes so much longer.
    """
    from headway import train as loop
    from headway.envs import registry
    from headway.run_context import RunContext
    from headway_api.train_spec import TrainSpec
    from trainer_tests.line_env import LineEnv

    loop.LIFE_S = life_s
    if env == "line":
        registry.make_vector_env = lambda spec, num_envs, offset, threads, device: LineEnv(num_envs, offset, spec.seed)
    logging.basicConfig(level=logging.INFO)
    rank, calls = int(os.environ["RANK"]), 0

    def die_or_go_on() -> bool:  # asked once an update, before the save
        nonlocal calls
        calls += 1
        time.sleep(pause_s)
        if calls == killed_at and rank == victim:
            os.kill(os.getpid(), by)
        return False

    run = RunContext(
        namespace="here", name="run", uid="u1", attempt=attempt, out=folder, checkpoints=folder / "checkpoints",
        checkpoint_every_s=1e-3 if pause_s else 0.0, keep=2, rank=rank, world_size=int(os.environ["WORLD_SIZE"]),
        threads=1,
    )  # fmt: skip
    loop.train(TrainSpec.model_validate(wire), run, die_or_go_on, lambda snapshot: None)


def resume_a_rank(wire: dict[str, Any], roots: list[Path], out: Path, leave_at: int) -> None:
    """Go on from what is under this rank's own root, train nothing, and say where that was."""
    from headway.envs import registry
    from headway.run_context import RunContext
    from headway.train import train
    from headway_api.train_spec import TrainSpec
    from trainer_tests.line_env import LineEnv

    registry.make_vector_env = lambda spec, num_envs, offset, threads, device: LineEnv(num_envs, offset, spec.seed)
    logging.basicConfig(level=logging.INFO)
    rank = int(os.environ["RANK"])
    run = RunContext(
        namespace="here", name="run", uid="u1", attempt=2, out=out, checkpoints=roots[rank], rank=rank,
        world_size=int(os.environ["WORLD_SIZE"]), threads=1, leave_at=leave_at,
    )  # fmt: skip
    result = train(TrainSpec.model_validate(wire), run, lambda: False, lambda snapshot: None)
    print("went on from", result.step, result.checkpoint, flush=True)
