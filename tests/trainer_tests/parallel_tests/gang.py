"""Ranks of tests: those of `headway.bench.gang`, which train on LineEnv or on the real environment."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from headway.bench.gang import PRELOADED, PROCESSES, ended, finish, free_port, start

__all__ = ["PROCESSES", "begin_where_each_looks", "ended", "finish", "free_port", "save_again", "start", "train_a_rank"]

PROCESSES.set_forkserver_preload([*PRELOADED, "trainer_tests.line_env"])


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


def save_again(wire: dict[str, Any], folder: Path, attempt: int) -> None:
    """Go on from the newest checkpoint, and save at once, before anything is trained."""
    from headway.parallel import join
    from headway.run_context import RunContext
    from headway.session import Session
    from headway_api.train_spec import TrainSpec

    logging.basicConfig(level=logging.INFO)
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    run = RunContext(
        namespace="here", name="run", uid="bench", attempt=attempt, out=folder, checkpoints=folder / "checkpoints",
        rank=rank, world_size=world_size, threads=1,
    )  # fmt: skip
    with join(rank, world_size) as group:
        session = Session(TrainSpec.model_validate(wire), run, group)
        assert session.begin()
        session.save()


def begin_where_each_looks(wire: dict[str, Any], seen: list[Path], blind: int) -> None:
    """Go on, on LineEnv, each rank with checkpoints of its own; rank `blind` can read none (-1: all can)."""
    from headway import checkpoint
    from headway.envs import registry
    from headway.parallel import join
    from headway.run_context import RunContext
    from headway.session import Session
    from headway_api.train_spec import TrainSpec
    from trainer_tests.line_env import LineEnv

    registry.make_vector_env = lambda spec, num_envs, offset, threads, device: LineEnv(num_envs, offset, spec.seed)
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if rank == blind:
        checkpoint.read_manifest = lambda directory: checkpoint.manifest.read_manifest(directory / "not-mounted")
    run = RunContext(
        namespace="here", name="run", uid="u1", attempt=3, out=seen[rank], checkpoints=seen[rank] / "checkpoints",
        rank=rank, world_size=world_size, threads=1,
    )  # fmt: skip
    with join(rank, world_size) as group:
        session = Session(TrainSpec.model_validate(wire), run, group)
        session.begin()
        print(f"begins at {session.step} after {session.parent}")
