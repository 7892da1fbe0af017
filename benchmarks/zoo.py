"""What is learned, ours beside Stable-Baselines3's with rl-zoo's settings, and beside the zoo's published rows.

    pip install -e '.[trainer,bench,gym]'
    python benchmarks/zoo.py [--rows NAME ...] [--who headway sb3] [--seeds 0 1 2 3 4] [--jobs 2]
    python benchmarks/zoo.py --table

Each run trains in a process of its own with one thread, then plays 100 episodes without exploring, the same seeds for
both. A run that has ended is a line of benchmarks/results/zoo.jsonl at once and is not run again. The table: the
interquartile mean of the runs' mean returns with its 95 % bootstrap interval, and the chance that one of ours beats one
of theirs. The published rows are single runs on older versions of the environments.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kept
import numpy as np
from zoo_rows import ROWS, Row

RESULTS = kept.RESULTS / "zoo.jsonl"
EPISODES, FIRST_SEED = 100, 10_000
Act = Callable[[Any], Any]  # an observation to an action


def headway(row: Row, seed: int) -> Act:
    """Train ours; return the last policy."""
    import torch
    from headway.envs.foreign.spaces import Codec
    from headway.policy import load_policy
    from headway.run_context import RunContext
    from headway.train import train
    from headway_api.train_spec import TrainSpec

    spec = TrainSpec.model_validate(
        {
            "seed": seed, "totalSteps": row.steps, "numEnvs": row.envs,
            "env": {"gym": {"id": row.env, "kwargs": row.kwargs}}, "algo": row.algo,
            "network": {"mlp": {"hidden": list(row.hidden)}},
            "curriculum": {"stages": [{"name": "all", "gate": {"successRate": 0}}], "stopAfterLastGate": False},
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        train(
            spec, RunContext("zoo", "zoo", "u", 1, out, out / "checkpoints", checkpoint_every_s=1e9, threads=1),
            lambda: False, lambda snapshot: None,
        )  # fmt: skip
        policy = load_policy(out / "checkpoints").act
    codec = Codec(_make(row), row.env)

    def act(observation: Any) -> Any:
        features = torch.from_numpy(np.concatenate(codec.rows(observation)))[None]
        return codec.action(policy(features, torch.ones(1, dtype=torch.bool)).numpy().reshape(-1))

    return act


def sb3(row: Row, seed: int) -> Act:
    """Train Stable-Baselines3's; return the last policy."""
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    assert row.sb3 is not None
    name, arguments = row.sb3
    env = make_vec_env(row.env, n_envs=row.sb3_envs, seed=seed, env_kwargs=row.kwargs)
    model = getattr(stable_baselines3, name)("MlpPolicy", env, seed=seed, device="cpu", **arguments)
    model.learn(row.steps)
    return lambda observation: model.predict(observation, deterministic=True)[0]


def play(row: Row, act: Act) -> tuple[float, float | None]:
    """Mean return, and share of successes where the environment tells, of the same episodes for all."""
    env = _make(row)
    totals, successes = [], []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=FIRST_SEED + episode)
        total, over, info = 0.0, False, {}
        while not over:
            observation, reward, terminated, truncated, info = env.step(act(observation))
            total, over = total + float(reward), terminated or truncated
        totals.append(total)
        successes += [bool(info[key]) for key in ("is_success", "success") if key in info][:1]
    return float(np.mean(totals)), float(np.mean(successes)) if successes else None


def _make(row: Row) -> Any:
    """The environment of both, as its package registers it."""
    from headway.envs.foreign.packages import make

    return make(row.env, row.kwargs, 0)


def one(name: str, who: str, seed: int) -> dict[str, Any]:
    """Train and play in this process; return the line that is kept."""
    row = ROWS[name]
    began = time.perf_counter()
    act = headway(row, seed) if who == "headway" else sb3(row, seed)
    trained = time.perf_counter()
    mean, success = play(row, act)
    line = {"row": name, "who": who, "seed": seed, "steps": row.steps, "return": round(mean, 2)}
    line |= {} if success is None else {"success": round(success, 3)}
    return line | {"seconds": round(trained - began), "revision": kept.revision(), **kept.machine()}


def main() -> None:
    """Run what is not there yet, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--who", nargs="+", choices=("headway", "sb3"), default=("headway", "sb3"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, a thread each")
    parser.add_argument("--table", action="store_true", help="print what is there, as Markdown")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table:
        print("\n".join(table(kept.read(RESULTS))))
    elif options.one:
        print(json.dumps(one(options.one[0], options.one[1], int(options.one[2]))))
    else:
        there = {(line["row"], line["who"], line["seed"]) for line in kept.read(RESULTS)}
        wanted = [(name, who, seed) for name in options.rows for seed in options.seeds for who in options.who]
        missing = [run for run in wanted if run not in there and (run[1] == "headway" or ROWS[run[0]].sb3)]
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(run_one, missing))


def run_one(run: tuple[str, str, int]) -> None:
    """Run one in a process of its own, and keep its line."""
    from headway.launch.threads import thread_environment

    variables = os.environ | thread_environment(os.environ, 1, 1) | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--one", run[0], run[1], str(run[2])]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode:
        print(f"{run}: failed:\n{done.stderr[-2000:]}", file=sys.stderr, flush=True)
        return
    line = json.loads(done.stdout.splitlines()[-1])
    kept.append(RESULTS, line)
    print(json.dumps(line), flush=True)


def table(lines: list[dict[str, Any]]) -> list[str]:
    """Markdown: a row a task."""
    from headway.evaluation.statistics import (
        bootstrap_interval,
        interquartile_mean,
        probability_of_improvement,
        with_interval,
    )

    out = [
        "| row | steps | ours | SB3 here | ours beats SB3 | published | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in ROWS.items():
        scores = {
            who: [line["return"] for line in lines if (line["row"], line["who"]) == (name, who)]
            for who in ("headway", "sb3")
        }
        cells = [
            f"{with_interval(interquartile_mean(s), bootstrap_interval(interquartile_mean, s), 1)}, {len(s)} runs"
            if s
            else ""
            for s in scores.values()
        ]
        both = scores["headway"] and scores["sb3"]
        chance = f"{probability_of_improvement(scores['headway'], scores['sb3']):.2f}" if both else ""
        published = "" if np.isnan(row.published) else f"{row.published:g}"
        out.append(f"| {name} | {row.steps:,} | {' | '.join(cells)} | {chance} | {published} | {row.note} |")
    return out


if __name__ == "__main__":
    main()
