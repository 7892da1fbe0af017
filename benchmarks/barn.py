"""The BARN Challenge's static worlds in our simulator: every baseline, and a policy if given, by BARN's own metric.

    python benchmarks/barn.py PATH/worlds.jsonl                              # the baselines
    python benchmarks/barn.py PATH/worlds.jsonl --policy runs/nav-barn       # the same, and a policy below them

Each world that has been played is a line of `--into` (benchmarks/results/barn.jsonl) at once, and is not played again:
killed, it goes on where it was. The table is made of all lines that are there; a policy's have a digest of its file.

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
import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kept
import numpy as np
from headway.checkpoint import MODEL
from headway.evaluation import BASELINES, Actor, trained, wilson_interval
from headway.evaluation.barn import barn_metric, bootstrap_interval, optimal_seconds
from headway.evaluation.evaluate import COLLISION, SECONDS, SUCCESS, play
from headway.policy import Policy, load_policy
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


def drive(actor: Actor, spec: TrainSpec, world: dict[str, Any], folder: Path, runs: int) -> dict[str, list[float]]:
    """All runs of one actor in one world: success and collision, 0 or 1, and seconds, each [R]."""
    path = folder / f"{world['id']}.world"
    path.write_text(gazebo_world(world["cylinders"]))
    table = play(actor, on_world(spec, path), 0, "test", runs, runs, 0, 1, 1)
    columns = {"success": SUCCESS, "collision": COLLISION, "seconds": SECONDS}
    return {name: table[:, column].round(decimals=3).tolist() for name, column in columns.items()}


def digest(policy: Policy) -> str:
    """What tells one policy's lines from another's."""
    file = policy.source if policy.source.is_file() else policy.source / MODEL
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def lines_of(into: Path, worlds: list[dict[str, Any]], runs: int) -> list[dict[str, Any]]:
    """The lines of these worlds with so many runs."""
    ids = {world["id"] for world in worlds}
    return [line for line in kept.read(into) if line["world"] in ids and len(line["success"]) == runs]


def play_missing(
    name: str, of: str, actor: Actor, spec: TrainSpec, worlds: list[dict[str, Any]], runs: int, into: Path
) -> None:
    """Play the worlds that `into` has no line of; add each line at once."""
    there = {line["world"] for line in lines_of(into, worlds, runs) if (line["policy"], line["of"]) == (name, of)}
    revision = kept.revision()
    with tempfile.TemporaryDirectory() as folder:
        for world in worlds:
            if world["id"] in there:
                continue
            found = drive(actor, spec, world, Path(folder), runs)
            line = {"name": "barn_world", "policy": name, "of": of, "world": world["id"], **found}
            kept.append(into, line | {"revision": revision})
            print(f"\r{name}: world {world['id']}", end="", file=sys.stderr)
    print("\r\033[K", end="", file=sys.stderr)


def by_policy(lines: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group the lines by who drove, in the order in which they came."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault(line["policy"] + (f" {line['of']}" if line["of"] else ""), []).append(line)
    return groups


def summary(name: str, lines: list[dict[str, Any]], lengths: dict[int, float]) -> dict[str, Any]:
    """Rates with Wilson intervals over runs, the metric with a bootstrap interval over worlds."""
    success, collision, seconds = (
        np.array([line[key] for line in lines]) for key in ("success", "collision", "seconds")
    )  # [W, R] each
    best = optimal_seconds([lengths[line["world"]] for line in lines])[:, None]
    metric = barn_metric(success, seconds, best)  # [W, R]
    counts = {"success": success.sum(), "collision": collision.sum()}
    counts["timeout"] = success.size - counts["success"] - counts["collision"]
    return {
        "name": "barn",
        "value": round(float(metric.mean()), 4),
        "unit": "metric",
        "interval": [round(x, 4) for x in bootstrap_interval(metric.mean(axis=1))],
        "params": {"policy": name, "worlds": len(lines), "runs": success.shape[1]},
        **{k: {"rate": v / success.size, "interval": wilson_interval(int(v), success.size)} for k, v in counts.items()},
        "meanSeconds": round(float(seconds[success > 0].mean()), 2) if success.any() else None,
        "revision": sorted({line["revision"] for line in lines}),
    }


def row(line: dict[str, Any]) -> str:
    """One line of the table for people."""
    cells = [f"{line['params']['policy']:<20} {line['params']['worlds']:>6}"]
    for name in ("success", "collision", "timeout"):
        low, high = line[name]["interval"]
        cells.append(f"{100 * line[name]['rate']:5.1f} ({100 * low:4.1f}-{100 * high:5.1f})")
    low, high = line["interval"]
    seconds = line["meanSeconds"] if line["meanSeconds"] is not None else math.nan
    return "  ".join([*cells, f"{seconds:6.1f}", f"{line['value']:.4f} ({low:.4f}-{high:.4f})"])


def main() -> None:
    """Play what is missing, then print a table and one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", type=Path, help="worlds.jsonl")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/barn.yaml", help="gives the baselines' robot")
    parser.add_argument("--policy", type=Path, help="an output folder, a step-* folder or a best.safetensors")
    parser.add_argument("--baselines", default=",".join(BASELINES))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--first", type=int, help="only so many worlds")
    parser.add_argument("--into", type=Path, default=kept.RESULTS / "barn.jsonl", help="lines of worlds played")
    options = parser.parse_args()
    worlds = [json.loads(line) for line in options.worlds.read_text().splitlines()][: options.first]
    lengths = {world["id"]: reference_meters(world["path"]) for world in worlds}
    spec = load_run(options.config).spec.train
    for name in filter(None, options.baselines.split(",")):
        play_missing(name, "", BASELINES[name](), spec, worlds, options.runs, options.into)
    if options.policy:
        policy = load_policy(options.policy)
        actor = trained(policy.act)
        play_missing("policy", digest(policy), actor, policy.spec, worlds, options.runs, options.into)
    lines = [
        summary(name, group, lengths) for name, group in by_policy(lines_of(options.into, worlds, options.runs)).items()
    ]
    print(f"{'':<20} worlds  {'success %':<18}  {'collision %':<18}  {'time-out %':<18}  {'time s':>6}  metric")
    print("\n".join(row(line) for line in lines))
    print(PUBLISHED)
    print("\n".join(json.dumps(line) for line in lines))


if __name__ == "__main__":
    main()
