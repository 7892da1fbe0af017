"""Prioritised replay, ours beside cpprb's C++ tree: a batch drawn, and its priorities set, in one thread.

    pip install -e '.[trainer,bench]'
    python benchmarks/per_vs_cpprb.py [--capacity 1000000] [--batch 256] [--repeats 7] [--device cpu] [--keep]

One process: both are filled with the same numbers of the same fields (observation and next observation of 8 numbers, 2
of an action, reward, end) and with random priorities, then asked in turns, a block of 200 samples each. With --device
cuda TorchRL's prioritised sampler joins them (pip install torchrl). Prints one JSON object a line: medians, then the
ratio of each repeat. With --keep it writes them to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import kept
import numpy as np
import torch
from headway.bench.replay import BLOCK, Task, filled, sample_update

NAME = "per_vs_cpprb"


def cpprb(task: Task) -> Callable[[int], None]:
    """Its sample with weights, and its update of priorities."""
    from cpprb import PrioritizedReplayBuffer

    wide = {"shape": task.features}
    fields = {"obs": wide, "act": {"shape": task.actions}, "rew": {}, "next_obs": wide, "done": {}}
    buffer = PrioritizedReplayBuffer(task.capacity, fields, alpha=0.6)
    generator, rows = np.random.default_rng(0), 10_000
    for _ in range(task.capacity // rows):
        buffer.add(
            obs=generator.random((rows, task.features)), act=generator.random((rows, task.actions)),
            rew=generator.random(rows), next_obs=generator.random((rows, task.features)), done=np.zeros(rows),
            priorities=generator.random(rows),
        )  # fmt: skip
    errors = generator.random(task.batch)

    def once(step: int) -> None:
        sample = buffer.sample(task.batch, beta=0.4)
        buffer.update_priorities(sample["indexes"], errors)

    return once


def torchrl(task: Task, device: torch.device) -> Callable[[int], None]:
    """Its replay on the same device."""
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer

    buffer = TensorDictPrioritizedReplayBuffer(
        alpha=0.6, beta=0.4, storage=LazyTensorStorage(task.capacity, device=device), batch_size=task.batch
    )
    for _ in range(task.capacity // 10_000):
        rows = {
            "obs": torch.rand(10_000, task.features), "act": torch.rand(10_000, task.actions),
            "rew": torch.rand(10_000), "next_obs": torch.rand(10_000, task.features),
            "done": torch.zeros(10_000, dtype=torch.bool), "td_error": torch.rand(10_000),
        }  # fmt: skip
        buffer.extend(TensorDict(rows, batch_size=[10_000]).to(device))
    errors = torch.rand(task.batch, device=device)

    def once(step: int) -> None:
        sample = buffer.sample()
        sample["td_error"] = errors
        buffer.update_tensordict_priority(sample)

    return once


def block(once: Callable[[int], None], first: int, synchronise: Callable[[], None]) -> float:
    """Return the median of a block of samples, in microseconds."""
    times = []
    for step in range(first, first + BLOCK):
        synchronise()
        start = time.perf_counter()
        once(step)
        synchronise()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def main() -> None:
    """Ask in turns, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--keep", action="store_true", help=f"write the lines to benchmarks/results/{NAME}.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    task, device = Task(options.capacity, options.batch), torch.device(options.device)
    contestants = {"headway": sample_update(filled(task, device), task), "cpprb": cpprb(task)}
    if options.device == "cuda":
        contestants["torchrl"] = torchrl(task, device)
    synchronise = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(options.repeats + 1):  # the first one warms up
        for name, once in contestants.items():
            value = block(once, repeat * BLOCK, synchronise)
            if repeat:
                found[name].append(value)
    lines = _lines(found, task, options.device)
    for line in lines:
        print(json.dumps(line))
    if options.keep:
        kept.write(kept.RESULTS / f"{NAME}.jsonl", lines)


def _lines(found: dict[str, list[float]], task: Task, device: str) -> list[dict[str, Any]]:
    params = {"capacity": task.capacity, "batch": task.batch, "prioritized": True, "device": device, "threads": 1}
    about = {"params": params | kept.machine(), "revision": kept.revision()}
    lines: list[dict[str, Any]] = [
        {"name": f"replay_sample_update_{name}", "value": round(statistics.median(times), 1), "unit": "us", **about}
        for name, times in found.items()
    ]
    return lines + [
        kept.ratio_line(f"replay_{peer}_over_headway", found[peer], found["headway"]) | about
        for peer in list(found)[1:]
    ]


if __name__ == "__main__":
    main()
