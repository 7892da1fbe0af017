"""Steps a second of other packages' environments: our worker processes beside Gymnasium's AsyncVectorEnv.

    python benchmarks/foreign_workers.py [--envs 32] [--repeats 7] [--keep]

Random actions, whole steps with resets in the same step, the same environments, one after the other in turns. Ours step
`envs` environments in as many processes as there are cores; Gymnasium's has a process for each environment. Ratios are
medians of the repeats': `value` of steps by the clock, `per_cpu_second` of steps by all processes' processor time.
On a machine with other work only the second means something: there, many processes get more of it than few.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import kept
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from headway.envs.foreign.packages import make
from headway.envs.foreign.vector import GymVectorEnv
from headway_api.train_spec import TrainSpec

IDS = ("CartPole-v1", "LunarLander-v3", "PointMaze_UMaze-v3", "MiniGrid-Dynamic-Obstacles-8x8-v0", "parking-v0")


def ours(name: str, envs: int) -> tuple[Callable[[], object], Callable[[], None]]:
    """Return what makes one step of all, and what ends them."""
    wire = {
        "totalSteps": 1, "numEnvs": envs, "env": {"gym": {"id": name}}, "algo": {"ppo": {"minibatchSize": 1}},
        "network": {"mlp": {}}, "curriculum": {"stages": [{"name": "all"}]},
    }  # fmt: skip
    env = GymVectorEnv(TrainSpec.model_validate(wire), envs, threads=os.cpu_count() or 1)
    env.reset()
    actions = env.actions
    draw = (lambda: torch.randint(actions.size, (envs,))) if actions.discrete else None
    return (lambda: env.step(draw() if draw else 2.0 * torch.rand(envs, actions.size) - 1.0)), env.close


def theirs(name: str, envs: int) -> tuple[Callable[[], object], Callable[[], None]]:
    """As `ours`."""
    env = AsyncVectorEnv([lambda: make(name, {}, 0)] * envs, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    env.action_space.seed(0)
    return (lambda: env.step(env.action_space.sample())), env.close


def cpu_seconds() -> float:
    """Processor time that this process and its children have used."""
    children = {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
    ticks = 0
    for pid in children:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def rate(step: Callable[[], object], envs: int, seconds: float) -> tuple[float, float]:
    """Step for at least so long; environment steps a second, and a second of processor time."""
    cpu, began, steps = cpu_seconds(), time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        step()
        steps += 1
    return steps * envs / spent, steps * envs / max(cpu_seconds() - cpu, 0.01)


def compare(name: str, envs: int, repeats: int, seconds: float) -> dict[str, object]:
    """Take turns; one line."""
    contestants = [side(name, envs) for side in (ours, theirs)]
    for step, _ in contestants:
        rate(step, envs, seconds)  # warm up
    rates = np.array([[rate(step, envs, seconds) for step, _ in contestants] for _ in range(repeats)])
    for _, close in contestants:
        close()
    by_clock, by_cpu = np.median(rates[:, 0] / rates[:, 1], axis=0)  # rates: [repeats, side, clock and processor]
    line = {"name": "foreign_workers", "value": round(by_clock, 2), "unit": "x", "per_cpu_second": round(by_cpu, 2)}
    mine, gymnasiums = np.median(rates, axis=0)
    line |= {"ours": mine.round().tolist(), "async_vector_env": gymnasiums.round().tolist()}
    line |= {"gymnasium": gymnasium.__version__}
    return line | {"params": {"id": name, "envs": envs, "repeats": repeats}}


def main() -> None:
    """Measure one environment after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", nargs="*", default=IDS)
    parser.add_argument("--envs", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn")
    parser.add_argument("--keep", action="store_true", help="write the lines to benchmarks/results/")
    options = parser.parse_args()
    about, lines = {"revision": kept.revision(), **kept.machine()}, []
    for name in options.ids:
        lines.append(compare(name, options.envs, options.repeats, options.seconds) | about)
        print(json.dumps(lines[-1]), flush=True)
    if options.keep:
        kept.write(kept.RESULTS / "foreign_workers.jsonl", lines)


if __name__ == "__main__":
    main()
