"""Microseconds that a replay takes for one gradient step: a batch is drawn, and its priorities are set.

Everything that a gradient step needs is part of it: the draw, the gathering of observations, actions and returns, the
importance weights, and the new priorities. The network is not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from headway_api import replay_spec

from headway.envs.protocol import ActionSpace, EpisodeEnds, Step, Transition
from headway.replay import Replay, Source

ENVS = 64
BLOCK = 200  # samples between two looks at the total time


@dataclass(frozen=True)
class Task:
    """What is kept and drawn."""

    capacity: int = 1_000_000
    batch: int = 256
    features: int = 8
    actions: int = 2
    n_steps: int = 1
    prioritized: bool = True


def filled(task: Task, device: torch.device) -> Replay:
    """A full replay of random transitions, with random priorities."""
    given = {"capacity": task.capacity, "nSteps": task.n_steps} | ({"prioritized": {}} if task.prioritized else {})
    source = Source(task.features, task.features, 0, ActionSpace(task.actions), lambda rows: rows["observation"])
    index = torch.arange(ENVS, device=device)
    replay = Replay(replay_spec.Replay.model_validate(given), source, index, ENVS, task.batch, 0.99, seed=0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(replay.length):
        replay.add(_transition(task, generator))
    if replay.priorities is not None:
        slots = torch.arange(replay.size, device=device)
        replay.priorities.update(slots, torch.rand(replay.size, generator=generator).to(device))
    return replay


def sample_update(replay: Replay, task: Task) -> Callable[[int], None]:
    """One gradient step's worth, by its number."""
    errors = torch.rand(task.batch, device=replay.device)

    def once(step: int) -> None:
        (batch,) = replay.batches(step, 1, beta=0.4)
        replay.learned(batch, errors)

    return once


def microseconds(once: Callable[[int], None], seconds: float, device: torch.device) -> Iterator[float]:
    """Yield the median time of each block of calls, after one that warms up, for `seconds`."""
    synchronise = torch.cuda.synchronize if device.type == "cuda" else _nothing
    began, step, warm = time.perf_counter(), 0, False
    while not warm or time.perf_counter() - began < seconds:
        times = []
        for _ in range(BLOCK):
            synchronise()
            start = time.perf_counter()
            once(step)
            synchronise()
            times.append(time.perf_counter() - start)
            step += 1
        if warm:
            yield statistics.median(times) * 1e6
        warm = True


def _nothing() -> None:
    """The CPU has done what it was asked when the call returns."""


def _transition(task: Task, generator: torch.Generator) -> Transition:
    rows = torch.rand(2, ENVS, task.features, generator=generator)
    none = torch.zeros(ENVS, dtype=torch.bool)
    ended = torch.rand(ENVS, generator=generator) < 0.01
    ends = EpisodeEnds(ended, none, none, none, none, none, none, none)
    step = Step({"observation": rows[1]}, rows[0, :, 0], ended, none, torch.zeros(0, dtype=torch.int64), {}, ends)
    action = torch.rand(ENVS, task.actions, generator=generator)
    return Transition({"observation": rows[0]}, rows[0], action, step, rows[1], lambda given: given["observation"])
