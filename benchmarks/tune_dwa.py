"""Tunes DWA on training levels of a config's last stage; what it finds is reported on validation levels.

    python benchmarks/tune_dwa.py configs/barn.yaml --levels 200 --rounds 2

Coordinate search: each field of `Tuning` in turn is multiplied by a few factors, the best success rate stays (ties:
the shorter time). The winner's values belong into `TUNED` in headway/envs/planners/dwa.py. BARN's worlds have no part
in it.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from headway.envs.planners.dwa import TUNED, Tuning
from headway.evaluation import Scores, evaluate
from headway.evaluation.baselines import Dwa
from headway.launch.threads import available_cores
from headway_api.load import load_run
from headway_api.train_spec import TrainSpec

FACTORS = (0.5, 2.0)
FIELDS = ("heading", "clearance", "speed", "horizon_seconds", "clear_meters", "margin_meters")


def scores(tuning: Tuning, spec: TrainSpec, split: str, levels: int) -> Scores:
    """How DWA does on so many levels of the last stage."""
    stage = len(spec.curriculum.stages) - 1
    return evaluate(Dwa(tuning), spec, stage, split, levels, num_envs=64, threads=available_cores())


def rank(found: Scores) -> tuple[float, float]:
    """More successes first, then less time."""
    return found.success.value, -math.inf if math.isnan(found.mean_seconds) else -found.mean_seconds


def main() -> None:
    """Print one JSON object for each tuning tried, then the winner on validation levels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--levels", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    spec = load_run(options.config).spec.train
    best, best_rank = TUNED, rank(scores(TUNED, spec, "train", options.levels))
    for _ in range(options.rounds):
        for field in FIELDS:
            for factor in FACTORS:
                tuning = best._replace(**{field: getattr(best, field) * factor})
                found = scores(tuning, spec, "train", options.levels)
                print(json.dumps({"tuning": tuning._asdict(), "train": found.to_wire()}), flush=True)
                if rank(found) > best_rank:
                    best, best_rank = tuning, rank(found)
    found = scores(best, spec, "validation", options.levels)
    print(json.dumps({"winner": best._asdict(), "validation": found.to_wire()}))


if __name__ == "__main__":
    main()
