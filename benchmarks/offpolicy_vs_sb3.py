"""Off-policy training steps a second, ours beside Stable-Baselines3's: same task, network, batch, updates a step.

    pip install -e '.[trainer,bench,gym]'
    python benchmarks/offpolicy_vs_sb3.py [--tasks sac dqn nav] [--repeats 5] [--seconds 20] [--keep]

Tasks: `sac` on Pendulum, one environment, a gradient step on 256 for each step; `dqn` on CartPole, plain Q-learning,
four gradient steps on 128 after each four steps; `nav`: DQN on headway/Nav-v0, people in clutter, 64 environments, a
gradient step on 128 for each vector step, SB3 over SubprocVecEnv as its users run it. All with layers of 256 and 256.

Contestants in processes of their own, one after the other, again and again; each counts steps in `--seconds` after
learning has begun. SB3 runs with two threads, and with one, which is often its better setting: both are printed. For
`sac` the floor of its 16 products of 256 x 256 x 256 is measured in between, on one thread. Prints one JSON object a
line: medians, then ratios of each repeat. With --keep it writes them to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import kept

NAME = "offpolicy_vs_sb3"
HIDDEN = [256, 256]
STARTS = 1000  # steps before learning begins
SUBPROCESSES = 8  # of SB3's SubprocVecEnv on navigation: more only wait for two cores
NAV_LEVELS = {
    "world": {"clutter": {"sizeMeters": 10.0, "fill": 0.12, "walls": 1}}, "minGoalMeters": 5.0,
    "people": 4, "peopleModel": "orca", "peopleSpeed": 0.6, "peopleYield": 1.0,
}  # fmt: skip
NAV = {"actions": {"discrete": {}}}
TASKS = ("sac", "dqn", "nav")
PRODUCTS = 16


def wire(task: str) -> dict[str, Any]:
    """Return the task as a TrainSpec."""
    common = {"learningStarts": STARTS, "updateSteps": 256}
    stage: dict[str, Any] = {"name": "all"}
    if task == "sac":
        env, envs = {"gym": {"id": "Pendulum-v1"}}, 1
        algo = {"sac": common | {"batchSize": 256, "replay": {"capacity": 1_000_000}}}
    elif task == "dqn":
        env, envs = {"gym": {"id": "CartPole-v1"}}, 1
        own = {"batchSize": 128, "trainEvery": 4, "gradientSteps": 4, "double": False}
        algo = {"dqn": common | own | {"replay": {"capacity": 100_000}}}
    else:
        env, envs, stage = {"nav": NAV}, 64, stage | {"levels": NAV_LEVELS}
        algo = {"dqn": common | {"batchSize": 128, "double": False, "updateSteps": 4096}}
    return {
        "totalSteps": 10**9, "numEnvs": envs, "env": env, "algo": algo,
        "network": {"mlp": {"hidden": HIDDEN}}, "curriculum": {"stages": [stage], "stopAfterLastGate": False},
    }  # fmt: skip


def headway(task: str, seconds: float) -> float:
    """Train; return steps a second between the first update that learned and the end."""
    from headway.launch.threads import rank_threads
    from headway.run_context import ProgressSnapshot, RunContext
    from headway.train import train
    from headway_api.train_spec import TrainSpec

    seen: list[tuple[float, int]] = []

    def report(snapshot: ProgressSnapshot) -> None:
        if snapshot.step >= STARTS + 512:
            seen.append((time.perf_counter(), snapshot.step))

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run = RunContext(
            "bench", task, "u", 1, out, out / "checkpoints", checkpoint_every_s=1e9, threads=rank_threads(os.environ)
        )
        train(TrainSpec.model_validate(wire(task)), run, lambda: bool(seen) and _over(seen, seconds), report)
    return _rate(seen)


def sb3(task: str, seconds: float, threads: int) -> float:
    """Train with Stable-Baselines3; return steps a second."""
    import torch
    from stable_baselines3 import DQN, SAC
    from stable_baselines3.common.callbacks import BaseCallback

    torch.set_num_threads(threads)
    seen: list[tuple[float, int]] = []

    class Clock(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps >= STARTS + 512:
                seen.append((time.perf_counter(), self.num_timesteps))
            return not seen or not _over(seen, seconds)

    policy = {"net_arch": HIDDEN}
    common: dict[str, Any] = {"learning_starts": STARTS, "device": "cpu", "seed": 0, "policy_kwargs": policy}
    if task == "sac":
        model: Any = SAC("MlpPolicy", "Pendulum-v1", batch_size=256, **common)
    elif task == "dqn":
        model = DQN(
            "MlpPolicy", "CartPole-v1", learning_rate=3e-4, batch_size=128, buffer_size=100_000, train_freq=4,
            gradient_steps=4, **common,
        )  # fmt: skip
    else:
        from sb3_faces import FeatureVecWrapper, single_face
        from stable_baselines3.common.vec_env import SubprocVecEnv

        singles = [single_face(NAV_LEVELS, NAV) for _ in range(SUBPROCESSES)]
        env = FeatureVecWrapper(SubprocVecEnv(singles, start_method="forkserver"))
        # As many gradient steps for each environment step as with 64 environments: one in 64.
        model = DQN(
            "MlpPolicy", env, learning_rate=3e-4, batch_size=128, train_freq=64 // SUBPROCESSES, gradient_steps=1,
            **common,
        )  # fmt: skip
    model.learn(10**9, callback=Clock())
    return _rate(seen)


def floor(seconds: float) -> float:
    """Return how often a second 16 products of 256 x 256 x 256 are made in one thread."""
    import torch

    torch.set_num_threads(1)
    left, right, out = (torch.rand(256, 256) for _ in range(3))
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < min(seconds, 3.0):
        start = time.perf_counter()
        for _ in range(PRODUCTS):
            torch.mm(left, right, out=out)
        times.append(time.perf_counter() - start)
    return 1.0 / statistics.median(times)


def _over(seen: list[tuple[float, int]], seconds: float) -> bool:
    return time.perf_counter() - seen[0][0] >= seconds


def _rate(seen: list[tuple[float, int]]) -> float:
    return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])


def run(task: str, name: str, seconds: float) -> float:
    """Measure a contestant in a process of its own. SB3's waiting threads sleep, as ours do: a present."""
    from headway.launch.threads import WAITING, available_cores, thread_environment

    ours = thread_environment(os.environ, 1, available_cores()) if name == "headway" else WAITING
    command = [sys.executable, __file__, "--contestant", task, name, "--seconds", str(seconds)]
    out = subprocess.run(command, env=os.environ | ours, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(out.split()[-1])


def contestant(task: str, name: str, seconds: float) -> float:
    """Return a contestant's rate, measured in this process."""
    if name == "headway":
        return headway(task, seconds)
    if name == "floor":
        return floor(seconds)
    return sb3(task, seconds, int(name.removeprefix("sb3_").removesuffix("_threads")))


def lines(task: str, rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """One line a contestant, and one a ratio: the median of the ratios of runs that followed one another."""
    params = {"task": task, "hidden": HIDDEN, "device": "cpu", "repeats": len(rates["headway"]), **kept.machine()}
    about = {"params": params, "revision": kept.revision()}
    out = [
        {"name": f"{task}_{name}", "value": round(statistics.median(values), 1), "unit": "steps/s", **about}
        for name, values in rates.items()
    ]
    return out + [
        kept.ratio_line(f"{task}_headway_over_{name}", rates["headway"], rates[name]) | about
        for name in list(rates)[1:]
    ]


def main() -> None:
    """Alternate the contestants, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="that are counted in each repeat")
    parser.add_argument("--keep", action="store_true", help=f"write the lines to benchmarks/results/{NAME}.jsonl")
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(contestant(*options.contestant, options.seconds))
        return
    found: list[dict[str, Any]] = []
    for task in options.tasks:
        names = ("headway", "sb3_2_threads", "sb3_1_threads") + (("floor",) if task == "sac" else ())
        rates: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(options.repeats):
            for name in names:
                rates[name].append(run(task, name, options.seconds))
        found += lines(task, rates)
    for line in found:
        print(json.dumps(line))
    if options.keep:
        kept.write(kept.RESULTS / f"{NAME}.jsonl", found)


if __name__ == "__main__":
    main()
