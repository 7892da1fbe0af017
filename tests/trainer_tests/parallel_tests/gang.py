"""Starts ranks as processes of their own and waits for them. Run as a program it is one rank, training on LineEnv."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(world_size: int, *arguments: str, program: str = __file__) -> list[subprocess.Popen]:
    """Start `program` once a rank, on one thread each, meeting on a free port of this machine."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world_size)}
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, program, *arguments], env=os.environ | meeting | paths | {"RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(world_size)
    ]  # fmt: skip


def finish(ranks: list[subprocess.Popen], timeout_s: float = 60.0) -> list[tuple[int, str]]:
    """Wait for all; return (exit code, output) of each, in rank order."""
    try:
        return [(rank.wait(timeout_s), rank.stdout.read()) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.stdout.close()


def main(spec_json: str, folder: str, attempt: str, killed_at: str, victim: str) -> None:
    """Train LineEnv; rank `victim` kills itself with SIGKILL at the end of update `killed_at` (0: never)."""
    from headway.envs import registry
    from headway.run_context import RunContext
    from headway.train import train
    from headway_api.train_spec import TrainSpec
    from trainer_tests.line_env import LineEnv

    registry.make_vector_env = lambda spec, num_envs, offset, threads: LineEnv(num_envs, offset, spec.seed)
    logging.basicConfig(level=logging.INFO)
    rank, calls = int(os.environ["RANK"]), 0

    def die_or_go_on() -> bool:  # asked once an update, before the save
        nonlocal calls
        calls += 1
        if calls == int(killed_at) and rank == int(victim):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    run = RunContext(
        namespace="here", name="run", uid="u1", attempt=int(attempt), out=Path(folder),
        checkpoints=Path(folder) / "checkpoints", checkpoint_every_s=0.0, keep=2, rank=rank,
        world_size=int(os.environ["WORLD_SIZE"]), threads=1,
    )  # fmt: skip
    result = train(TrainSpec.model_validate(json.loads(spec_json)), run, die_or_go_on, lambda snapshot: None)
    print(result.outcome, result.step)


if __name__ == "__main__":
    main(*sys.argv[1:])
