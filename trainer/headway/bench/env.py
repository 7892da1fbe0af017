"""Steps a second of an environment: alone, with a policy that acts, and with one that learns (as Isaac Lab reports).

Episodes that end and levels that are built are part of every figure.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.envs import registry
from headway.envs.protocol import Observation, Step, VectorEnv
from headway.parallel import SILENCE_S, join
from headway.run_context import RunContext
from headway.session import Session
from headway.train import collect

REPEATS = 5
ACTIONS = 64  # vector steps of random actions that are drawn before the clock runs
LEAST_UPDATES = 3


@dataclass(frozen=True)
class Learning:
    """Medians over updates."""

    with_inference: float  # environment steps a second while a rollout is collected
    with_training: float  # the same with the updates
    env_share: float  # of the time of collecting and learning, what the environment and its features take


def env_only(spec: TrainSpec, threads: int, seconds: float, device: str = "cpu") -> float:
    """Return environment steps a second with random actions: the median of five stretches, `seconds` in all."""
    env = registry.make_vector_env(spec, spec.num_envs, threads=threads, device=device)
    env.set_stage(len(spec.curriculum.stages) - 1)
    actions = [action.to(device) for action in random_actions(env)]
    env.reset()
    for action in actions:  # compiles, fills caches, lets episodes drift apart
        env.step(action)
    return statistics.median(_rate(env, actions, seconds / REPEATS) for _ in range(REPEATS))


def learning(spec: TrainSpec, threads: int, seconds: float, device: str = "cpu") -> Learning:
    """Train for `seconds` after a first update, and at least for three updates."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder, join(0, 1, SILENCE_S) as group:
        out = Path(folder)
        run = RunContext("bench", "bench", "bench", 1, out, out / "checkpoints", threads=threads, device=device)
        session = Session(spec, run, group)
        session.env = clock = TimedEnv(session.env)  # type: ignore[assignment]
        session.begin()
        _update(session, clock)
        samples: list[tuple[float, float, float]] = []
        until = time.perf_counter() + seconds
        steps = session.step
        while len(samples) < LEAST_UPDATES or time.perf_counter() < until:
            samples.append(_update(session, clock))
        steps = (session.step - steps) // len(samples)
        session.close()
    collecting, updating, in_env = (statistics.median(column) for column in zip(*samples, strict=True))
    return Learning(steps / collecting, steps / (collecting + updating), in_env / (collecting + updating))


class TimedEnv:
    """An environment that counts the seconds spent in it."""

    def __init__(self, env: VectorEnv) -> None:
        self._env = env
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def step(self, action: Tensor) -> Step:
        """Step the environment on the clock."""
        began = time.perf_counter()
        step = self._env.step(action)
        self.seconds += time.perf_counter() - began
        return step

    def features(self, observation: Observation) -> Tensor:
        """Turn observations into the network's input on the clock."""
        began = time.perf_counter()
        features = self._env.features(observation)
        self.seconds += time.perf_counter() - began
        return features


def _update(session: Session, clock: TimedEnv) -> tuple[float, float, float]:
    """Collect and learn once; return the seconds of both, and those in the environment."""
    clock.seconds, began = 0.0, time.perf_counter()
    features = collect(session)
    collected = time.perf_counter()
    session.algorithm.update(features, 1.0)
    session.updates += 1
    return collected - began, time.perf_counter() - collected, clock.seconds


def random_actions(env: VectorEnv) -> list[Tensor]:
    """Uniform actions, float32 [N, A] in [-1, 1] or int64 [N], the same in every run."""
    generator = torch.Generator().manual_seed(0)
    if env.actions.discrete:
        choices = torch.randint(env.actions.size, (ACTIONS, env.num_envs), generator=generator)
        return list(choices)
    return list(torch.rand((ACTIONS, env.num_envs, env.actions.size), generator=generator) * 2 - 1)


def _rate(env: VectorEnv, actions: list[Tensor], seconds: float) -> float:
    steps, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds or steps == 0:
        env.step(actions[steps % ACTIONS])
        steps += 1
    return steps * env.num_envs / spent
