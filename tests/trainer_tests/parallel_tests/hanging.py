"""Ranks that hang in one phase of their second update; programs for `gang.start`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from headway.algos import ppo
from headway.checkpoint import store
from headway.envs import registry
from headway.run_context import RunContext
from headway.train import train
from headway_api.train_spec import TrainSpec
from trainer_tests.conftest import line_spec
from trainer_tests.line_env import LineEnv
from trainer_tests.toy_gym import ID

UPDATE = 12 * 8
STALL_S = 2.0


def hang_for_ever() -> None:
    while True:
        time.sleep(1)


class Line(LineEnv):
    """It hangs at its step number `hangs_at`, if given."""

    hangs_at = 0

    def step(self, action: Any) -> Any:
        self.hangs_at -= 1
        if self.hangs_at == 0:
            hang_for_ever()
        return super().step(action)

    def shortest_path_meters(self, begins: Any) -> Any:
        return begins.double()


def train_and_hang(phase: str, folder: Path) -> None:
    """Train with a watchdog of two seconds and hang in `phase` of update 2; "slow": only take long."""
    warm_up()
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

    def make(spec: TrainSpec, num_envs: int, offset: int, *_: Any, level_stride: int = 0, **options: Any) -> LineEnv:
        env = Line(num_envs, offset, spec.seed)
        here = phase == "evaluation" if level_stride else phase == "collect" or (phase == "one of two" and rank == 1)
        env.hangs_at = (1 if level_stride else 12) if here else 0
        return env

    registry.make_vector_env = make
    average, calls = ppo.Gradient.average, [0]

    def slow(self: Any, statistics: Any) -> None:
        calls[0] += 1
        if phase == "update" and calls[0] == 6:  # four steps an update
            hang_for_ever()
        if phase == "slow":
            time.sleep(0.8)
        average(self, statistics)

    ppo.Gradient.average = slow  # type: ignore[method-assign]
    if phase == "save":
        store.CheckpointStore.write = lambda *given: hang_for_ever()  # type: ignore[assignment]
    wire = line_spec(totalSteps=UPDATE * 2).to_wire() | {"evaluation": {"everySteps": UPDATE * 2, "levels": 4}}
    _train(TrainSpec.model_validate(wire), folder, rank, world_size)


def train_on_a_toy(folder: Path) -> None:
    """Train two environments of another package, of which one hangs in its process."""
    warm_up()
    toy = {"length": 3, "fault": "hang", "pid": str(folder / "pid")}
    gym = {"gym": {"id": ID, "kwargs": toy}}
    ppo = {"rolloutSteps": 8, "minibatchSize": 8, "epochs": 1}
    stages = [{"name": "one", "gate": {"successRate": 0.0, "reward": 99.0}}]
    wire = line_spec().to_wire() | {"numEnvs": 2, "env": gym, "algo": {"ppo": ppo}, "curriculum": {"stages": stages}}
    _train(TrainSpec.model_validate(wire), folder, 0, 1)


def warm_up() -> None:
    """Let torch load what it loads when it first learns: on a busy machine that takes longer than a watchdog waits."""
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.sum().backward()
    torch.optim.Adam([weight], fused=True).step()


def _train(spec: TrainSpec, folder: Path, rank: int, world_size: int) -> None:
    run = RunContext(
        namespace="here", name="run", uid="u1", attempt=1, out=folder, checkpoints=folder / "checkpoints",
        checkpoint_every_s=1e9, rank=rank, world_size=world_size, threads=2, stall_s=STALL_S,
    )  # fmt: skip
    train(spec, run, lambda: False, lambda snapshot: None)
