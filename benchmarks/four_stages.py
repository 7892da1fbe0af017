"""From nothing to the last gate: trains a config with several seeds, scores each policy on every stage.

    python benchmarks/four_stages.py configs/default.yaml --seeds 0 1 2
    python benchmarks/four_stages.py configs/depot.yaml --map PATH/depot.yaml

It runs what a person runs (`headway run`, `headway eval` with its baselines), prints one JSON object a line, and with
--keep writes them to benchmarks/results/. A seed that has its line already for this revision is not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kept
import yaml

ROOT = Path(__file__).resolve().parents[1]


def headway(*arguments: str) -> str:
    """Run the command and return what it printed; its own messages pass through."""
    command = [sys.executable, "-m", "headway", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def stage_seconds(metrics: Path) -> dict[str, float]:
    """Return the seconds of collecting and learning spent in each stage, from metrics.jsonl."""
    spent: dict[str, float] = {}
    for line in metrics.read_text().splitlines():
        row = json.loads(line)
        stage = f"stage {row['curriculum/stage']:.0f}"
        spent[stage] = spent.get(stage, 0.0) + row["time/collect_s"] + row["time/update_s"]
    return {stage: round(seconds, 1) for stage, seconds in spent.items()}


def stages(spec: str) -> list[str]:
    """Return the names of the stages."""
    return [s["name"] for s in yaml.safe_load((ROOT / spec).read_text())["spec"]["train"]["curriculum"]["stages"]]


def on_map(spec: str, path: Path) -> list[str]:
    """Return the changes that put every stage on the map."""
    field = "train.curriculum.stages[{}].levels.world.map.yaml={}"
    return [field.format(number, path.resolve()) for number in range(len(stages(spec)))]


def measure(spec: str, seed: int, sets: list[str], levels: int, map_name: str) -> dict:
    """Train once and score; the time is that of the whole `headway run` process."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        changes = [f"train.seed={seed}", *sets]
        options = [part for change in changes for part in ("--set", change)]
        started = time.monotonic()
        print(headway("run", spec, "--out", str(out), "--plain", *options), file=sys.stderr)
        seconds = time.monotonic() - started
        status = yaml.safe_load((out / "trainingrun.yaml").read_text())["status"]
        answers = [
            json.loads(headway("eval", str(out), "--stage", stage, "--levels", str(levels), "--json"))
            for stage in stages(spec)
        ]
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        speed = statistics.median(row["time/steps_per_s"] for row in rows)
        return {
            "name": "train_to_last_gate",
            "value": round(seconds, 1),
            "unit": "s",
            "params": {
                "spec": spec,
                "seed": seed,
                "map": map_name,
                "device": "cpu",
                **kept.machine(),
            },
            "curriculum": status["progress"]["curriculum"],
            "steps": rows[-1]["step"],
            "median_steps_per_s": round(speed),
            "seconds_by_stage": stage_seconds(out / "metrics.jsonl"),
            "split": answers[0]["split"],
            "levels": levels,
            "scores": {answer["stage"]: answer["scores"] for answer in answers},
            "revision": kept.revision(),
        }


def main() -> None:
    """Measure each seed that has no line yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--map", type=Path, metavar="YAML", help="put every stage on this ROS map")
    parser.add_argument("--levels", type=int, default=1000)
    parser.add_argument("--keep", action="store_true", help="write the lines to benchmarks/results/")
    options = parser.parse_args()
    path = kept.RESULTS / f"four_stages-{Path(options.spec).stem}.jsonl"
    there = {line["params"]["seed"] for line in kept.read(path) if line["revision"] == kept.revision()}
    sets = on_map(options.spec, options.map) if options.map else []
    map_name = options.map.stem if options.map else ""
    for seed in options.seeds:
        if seed in there:
            continue
        line = measure(options.spec, seed, sets, options.levels, map_name)
        print(json.dumps(line), flush=True)
        if options.keep:
            kept.append(path, line)


if __name__ == "__main__":
    main()
