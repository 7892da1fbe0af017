"""The BARN Challenge's static worlds in our simulator: every baseline, and a policy if given, by BARN's own metric.

    python benchmarks/barn.py PATH/worlds.jsonl --policy runs/nav-barn --keep

Protocol: Jackal (0.508 x 0.430 m, at most 2 m/s), start (-2.25, 3.0) facing +y, goal (-2.25, 13.0) reached within 1 m
as in the challenge's own script, 100 s; 10 runs a world, each with another start and sensor noise. No training may read
these worlds: `configs/barn.yaml`, which also gives the robot and its lidar, trains on levels of our own.

A line of worlds.jsonl has `id`, `cylinders` [[x, y, radius]] in metres, and `path`, the reference path in cells of
0.15 m. Its frame was found by moving it over the cylinders' own lattice: with cell (column, row) at
(-4.425 + 0.15 column, 5.175 + 0.15 row) every path keeps 0.375 m from every cylinder, half a cell aside at most 0.31.
(The challenge's script puts it a cell aside, which changes the mean length by 0.1 %.) The reference path begins at the
start and ends at the goal.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from headway.evaluation import BASELINES, Actor, trained, wilson_interval
from headway.evaluation.barn import barn_metric, bootstrap_interval, optimal_seconds
from headway.evaluation.evaluate import COLLISION, SECONDS, SUCCESS, play
from headway.launch.threads import available_cores
from headway.policy import load_policy
from headway_api.load import load_run
from headway_api.train_spec import TrainSpec

ROOT = Path(__file__).resolve().parents[1]
START, GOAL = (-2.25, 3.0), (-2.25, 13.0)
LIMIT_SECONDS = 100.0
PATH_CELL, PATH_ORIGIN = 0.15, (-4.425, 5.175)
FENCE = (-8.5, -1.0, 4.0, 16.0)  # our simulator wants bounded worlds: a fence far around, which no path comes near
NOISE = {"scanNoiseMeters": 0.02, "startMeters": 0.05, "startDegrees": 5.0}
# Gazebo's physics and other sensors: beside ours, never as the same measurement. Sources in the README.
PUBLISHED = "published, in Gazebo: move_base's DWA success 0.88, collision 0.048, time-out 0.072, metric 0.169"


def reference_meters(path: list[list[int]]) -> float:
    """Length of the reference path, from the start over its cells to the goal."""
    cells = np.asarray(path, float) * PATH_CELL + PATH_ORIGIN
    points = np.vstack([START, cells, GOAL])
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def box(name: str, low_x: float, low_y: float, high_x: float, high_y: float) -> str:
    """A static model with one box."""
    x, y, length, width = (low_x + high_x) / 2, (low_y + high_y) / 2, high_x - low_x, high_y - low_y
    return (
        f'<model name="{name}"><static>1</static><link name="l"><pose>{x} {y} 0.5 0 0 0</pose><collision name="c">'
        f"<geometry><box><size>{length} {width} 1</size></box></geometry></collision></link></model>"
    )


def gazebo_world(cylinders: list[list[float]]) -> str:
    """The world as an SDF document; every cylinder exactly where and as large as it is."""
    models = [
        f'<model name="cylinder_{k}"><static>1</static><link name="l"><pose>{x} {y} 0.5 0 0 0</pose>'
        f'<collision name="c"><geometry><cylinder><radius>{radius}</radius><length>1</length></cylinder></geometry>'
        "</collision></link></model>"
        for k, (x, y, radius) in enumerate(cylinders)
    ]
    left, low, right, top = FENCE
    models += [box("west", left - 0.2, low, left, top), box("east", right, low, right + 0.2, top)]
    models += [box("south", left, low - 0.2, right, low), box("north", left, top, right, top + 0.2)]
    return '<?xml version="1.0"?><sdf version="1.6"><world name="barn">' + "".join(models) + "</world></sdf>"


def on_world(spec: TrainSpec, world: Path) -> TrainSpec:
    """The robot of `spec` in one world: its route, the time limit and the noise of the protocol."""
    wire = spec.to_wire()
    nav = wire["env"]["nav"]
    nav["maxSteps"] = round(LIMIT_SECONDS / spec.env.nav.step_seconds)
    nav["goalRadiusMeters"] = 1.0
    nav["randomization"] = NOISE
    route = {"startX": START[0], "startY": START[1], "startHeadingDegrees": 90.0, "goalX": GOAL[0], "goalY": GOAL[1]}
    levels = {"world": {"gazebo": {"world": str(world)}}, "route": route}
    wire["curriculum"] = {"stages": [{"name": "barn", "levels": levels}], "replay": 0.0}
    return TrainSpec.model_validate(wire)


def drive(actor: Actor, spec: TrainSpec, worlds: list[dict], folder: Path, runs: int) -> torch.Tensor:
    """All runs of one actor, float64 [W, R, columns of `play`]."""
    tables = []
    for number, world in enumerate(worlds):
        path = folder / f"{world['id']}.world"
        path.write_text(gazebo_world(world["cylinders"]))
        tables.append(play(actor, on_world(spec, path), 0, "test", runs, runs, 0, 1, available_cores()))
        print(f"\r{number + 1}/{len(worlds)} worlds", end="", file=sys.stderr)
    print("\r\033[K", end="", file=sys.stderr)
    return torch.stack(tables)


def summary(name: str, table: np.ndarray, lengths: np.ndarray) -> dict:
    """One JSON line: rates with Wilson intervals over runs, the metric with a bootstrap interval over worlds."""
    success, collision, seconds = table[..., SUCCESS], table[..., COLLISION], table[..., SECONDS]
    metric = barn_metric(success, seconds, optimal_seconds(lengths)[:, None])  # [W, R]
    runs = success.size
    counts = {"success": success.sum(), "collision": collision.sum()}
    counts["timeout"] = runs - counts["success"] - counts["collision"]
    return {
        "name": "barn",
        "value": round(float(metric.mean()), 4),
        "unit": "metric",
        "interval": [round(x, 4) for x in bootstrap_interval(metric.mean(axis=1))],
        "params": {"policy": name, "worlds": len(table), "runs": table.shape[1]},
        **{k: {"rate": v / runs, "interval": wilson_interval(int(v), runs)} for k, v in counts.items()},
        "meanSeconds": round(float(seconds[success > 0].mean()), 2) if success.any() else None,
    }


def row(line: dict) -> str:
    """One line of the table for people."""
    cells = [f"{line['params']['policy']:<16}"]
    for name in ("success", "collision", "timeout"):
        low, high = line[name]["interval"]
        cells.append(f"{100 * line[name]['rate']:5.1f} ({100 * low:4.1f}-{100 * high:5.1f})")
    low, high = line["interval"]
    seconds = line["meanSeconds"] if line["meanSeconds"] is not None else math.nan
    return "  ".join([*cells, f"{seconds:6.1f}", f"{line['value']:.4f} ({low:.4f}-{high:.4f})"])


def main() -> None:
    """Print a table, then one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", type=Path, help="worlds.jsonl")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/barn.yaml", help="gives the baselines' robot")
    parser.add_argument("--policy", type=Path, help="a step-* folder or a best.safetensors")
    parser.add_argument("--baselines", default=",".join(BASELINES))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--first", type=int, help="only so many worlds")
    parser.add_argument("--keep", action="store_true", help="write the lines to benchmarks/results/barn.jsonl")
    options = parser.parse_args()
    worlds = [json.loads(line) for line in options.worlds.read_text().splitlines()][: options.first]
    lengths = np.array([reference_meters(world["path"]) for world in worlds])
    spec = load_run(options.config).spec.train
    actors = {name: (BASELINES[name](), spec) for name in options.baselines.split(",") if name}
    if options.policy:
        policy = load_policy(options.policy)
        actors["policy"] = (trained(policy.act), policy.spec)
    print(f"{'':<16}  {'success %':<18}  {'collision %':<18}  {'time-out %':<18}  {'time s':>6}  metric", flush=True)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (actor, its_spec) in actors.items():
            table = drive(actor, its_spec, worlds, Path(folder), options.runs).numpy()
            lines.append(summary(name, table, lengths))
            print(row(lines[-1]), flush=True)
    print(PUBLISHED)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    print(text, end="")
    if options.keep:
        with (ROOT / "benchmarks/results/barn.jsonl").open("a") as file:
            file.write(text)


if __name__ == "__main__":
    main()
