"""A policy trained in headway/Nav-v0, driven unchanged in ir-sim, on the same levels, beside go-straight in both.

    headway run configs/default.yaml --out runs/nav-ppo
    python benchmarks/irsim_transfer.py runs/nav-ppo [--levels 200] [--stages cluttered people polygons] [--keep]

ir-sim (2.12) is a second simulator that nobody here wrote: its kinematics (Euler's method, 0.05 s, velocities that ramp
up within a step), its lidar, its collisions. Levels are of the test split, of the policy's own stages and of polygons,
which it has not been trained among. Noise of scans and wheels is off in both. Prints one JSON object a line and, for
people, a table; with --keep it writes the lines to benchmarks/results/irsim_transfer.jsonl.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import headway.envs  # noqa: F401  (registers the environments)
import numpy as np
import torch
from headway.commands.eval import policy_path
from headway.envs.nav.features import Features
from headway.envs.planners.body import Body, body_of
from headway.envs.planners.shortest import head_for
from headway.evaluation.intervals import wilson_interval
from headway.policy import Policy, load_policy
from headway_api.nav_spec import Levels, NavEnv, Polygons, World
from kept import RESULTS, machine, revision, write

SIMULATORS = {"headway": "headway/Nav-v0", "ir-sim": "headway/IrSim-v0"}
OUTCOMES = ("success", "collision", "timeout")
POLYGONS = Levels(world=World(polygons=Polygons(size_meters=10.0, count=12)), min_goal_meters=5.0)
Driver = Callable[[dict[str, np.ndarray], bool], np.ndarray]  # observation, whether an episode begins -> action [2]


def as_policy(policy: Policy, nav: NavEnv) -> Driver:
    """Let the policy act, without exploring."""
    features = Features(nav)

    def act(observation: dict[str, np.ndarray], begins: bool) -> np.ndarray:
        rows = {name: torch.from_numpy(array)[None] for name, array in observation.items()}
        with torch.no_grad():
            return policy.act(features(rows), torch.tensor([begins]))[0].numpy()

    return act


def go_straight(body: Body) -> Driver:
    """Turn to the goal and drive: the baseline of `headway eval`, from the observation."""

    def act(observation: dict[str, np.ndarray], begins: bool) -> np.ndarray:
        x, y, cos, sin = observation["observation"][:4]
        action = np.zeros(2, np.float32)
        goal = observation["desired_goal"]
        head_for(body, np.array([x, y, np.arctan2(sin, cos)], np.float32), goal[0], goal[1], 1.0, action)
        return action

    return act


def play(env: gymnasium.Env, driver: Driver, level: int, seconds: float) -> tuple[int, float]:
    """Drive one level; return the index of its outcome and the simulated time."""
    observation, _ = env.reset(seed=level)
    begins, ended, steps = True, False, 0
    while not ended:
        observation, _, terminated, truncated, info = env.step(driver(observation, begins))
        begins, ended, steps = False, terminated or truncated, steps + 1
    return 0 if info["is_success"] else 1 if info["is_collision"] else 2, steps * seconds


def measure(stage: str, levels: Levels, nav: NavEnv, drivers: dict[str, Driver], count: int) -> list[dict[str, Any]]:
    """Play `count` levels with every driver in both simulators; a line for each pair."""
    lines: list[dict[str, Any]] = []
    found: dict[tuple[str, str], np.ndarray] = {}
    for simulator, name in SIMULATORS.items():
        env = gymnasium.make(name, nav=nav, levels=levels, split="test", disable_env_checker=True).unwrapped
        for driver_name, driver in drivers.items():
            began, results = time.process_time(), []
            for level in range(count):
                results.append(play(env, driver, level, nav.step_seconds))
                print(
                    f"\r{stage}, {driver_name} in {simulator}: {level + 1}/{count}", end="", file=sys.stderr, flush=True
                )
            outcomes, seconds = (np.array(column) for column in zip(*results, strict=True))
            found[driver_name, simulator] = outcomes
            line = {"name": "irsim_transfer", "value": float((outcomes == 0).mean()), "unit": "success rate"}
            line["params"] = {"stage": stage, "driver": driver_name, "simulator": simulator, "levels": count}
            for k, outcome in enumerate(OUTCOMES):
                hits = int((outcomes == k).sum())
                line[outcome] = {"rate": hits / count, "interval": wilson_interval(hits, count)}
            line["mean_seconds"] = float(seconds[outcomes == 0].mean()) if (outcomes == 0).any() else None
            line["same_outcome_as_in_headway"] = float((outcomes == found[driver_name, "headway"]).mean())
            line["cpu_seconds"] = round(time.process_time() - began, 1)
            lines.append(line)
        env.close()
    print("\r\033[K", end="", file=sys.stderr)
    return lines


def row(line: dict[str, Any]) -> str:
    """One row of the table, in Markdown."""
    params = line["params"]
    rates = []
    for outcome in OUTCOMES:
        low, high = line[outcome]["interval"]
        rates.append(f"{100 * line[outcome]['rate']:.1f} % ({100 * low:.1f}–{100 * high:.1f})")
    same = f"{100 * line['same_outcome_as_in_headway']:.0f} %"
    return "| " + " | ".join([params["stage"], params["driver"], params["simulator"], *rates, same]) + " |"


def main() -> None:
    """Measure stage after stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", type=Path, help="an output folder, a step-* folder or a best.safetensors")
    parser.add_argument("--levels", type=int, default=200)
    parser.add_argument("--stages", nargs="*", help="names of its stages, and polygons; all of them if not given")
    parser.add_argument("--keep", action="store_true", help="write the lines to benchmarks/results/")
    options = parser.parse_args()
    policy = load_policy(policy_path(options.policy))
    if policy.spec.env.nav is None:
        parser.error(f"{options.policy}: its environment is not headway/Nav-v0")
    exact = policy.spec.env.nav.randomization.model_copy(
        update=dict.fromkeys(("scan_noise_meters", "scan_dropout", "latency_steps", "slip", "dynamics"), 0)
    )
    nav = policy.spec.env.nav.model_copy(update={"randomization": exact})
    stages = {stage.name: stage.levels for stage in policy.spec.curriculum.stages} | {"polygons": POLYGONS}
    if unknown := set(options.stages or ()) - set(stages):
        parser.error(f"--stages {' '.join(sorted(unknown))}: choose from {', '.join(stages)}")
    drivers = {"policy": as_policy(policy, nav), "go-straight": go_straight(body_of(nav))}
    lines, about = [], {"revision": revision(), **machine()}
    for stage in options.stages or stages:
        with contextlib.redirect_stdout(sys.stderr):  # ir-sim says which backends of matplotlib it has tried
            lines += [line | about for line in measure(stage, stages[stage], nav, drivers, options.levels)]
    print("\n".join(json.dumps(line) for line in lines))
    print("\n".join(row(line) for line in lines), file=sys.stderr)
    if options.keep:
        write(RESULTS / "irsim_transfer.jsonl", lines)


if __name__ == "__main__":
    main()
