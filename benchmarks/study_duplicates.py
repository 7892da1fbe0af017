"""How many different points are tried: a space of 64, 64 trials, 8 workers at once; ours beside Optuna's own loop.

    python benchmarks/study_duplicates.py [--seeds 5] [--keep]

The space is 8 x 8 choices. Eight workers ask at the same time, all trials of a round are told at its end: no worker
knows what the others have found, as in a study whose runs take long. Ours is StudyCore, as the service calls it.
Optuna's is Study.ask and Study.tell with the sampler's defaults, which for TPE are those of its version 5.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kept
import optuna
from headway.hpo.bench.callers import make_spec
from headway.hpo.core import StudyCore
from headway_api.hpo_study import METRICS, HPOStudySpec
from headway_api.progress import EvaluationPoint

SIDE, WORKERS = 8, 8
TRIALS = SIDE * SIDE
PATHS = ("train.algo.ppo.epochs", "train.numEnvs")
RESULTS = kept.RESULTS / "study_duplicates.jsonl"
SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
}


def success(values: dict[str, Any]) -> float:
    """A hill in the middle: a sampler that learns has reason to come back to the same place."""
    return 1.0 - sum((values[path] - 4.5) ** 2 for path in PATHS) / 32


def make(sampler: str, seed: int) -> HPOStudySpec:
    """Return the study of ours."""
    document = make_spec(TRIALS).to_wire()
    document["parameters"] = [{"path": path, "int": {"low": 1, "high": SIDE}} for path in PATHS]
    document["engine"] = {"optuna": {"sampler": {sampler: {}}, "pruner": {"none": {}}}}
    return HPOStudySpec.model_validate({**document, "seed": seed}, by_alias=True, by_name=False)


def ours(sampler: str, seed: int) -> int:
    """Return the number of different points."""
    core = StudyCore(optuna.storages.InMemoryStorage(), f"duplicates/{sampler}/{seed}", make(sampler, seed))
    points = set()
    with ThreadPoolExecutor(WORKERS) as pool:
        for first in range(0, TRIALS, WORKERS):
            numbers = range(first, first + WORKERS)
            for number, values in zip(numbers, pool.map(core.ask, numbers), strict=True):
                points.add(tuple(values[path] for path in PATHS))
                found = EvaluationPoint(index=1, step=1000, metrics={METRICS["successRate"]: success(values)})
                core.report(number, 0, [found], ended=True)
                core.tell(number, "complete", 1000)
    return len(points)


def optunas(sampler: str, seed: int) -> int:
    """Return the number of different points."""
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[sampler](seed))
    space: dict[str, Any] = {path: optuna.distributions.IntDistribution(1, SIDE) for path in PATHS}
    points = set()
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in range(0, TRIALS, WORKERS):
            for trial in list(pool.map(lambda _: study.ask(space), range(WORKERS))):
                points.add(tuple(trial.params[path] for path in PATHS))
                study.tell(trial, success(trial.params))
    return len(points)


def main() -> None:
    """Count and print; `--keep` writes the lines to results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = []
    for whose, count in (("headway", ours), ("optuna", optunas)):
        for sampler in SAMPLERS:
            found = [count(sampler, seed) for seed in range(options.seeds)]
            params = {"whose": whose, "sampler": sampler, "points": TRIALS, "trials": TRIALS, "workers": WORKERS}
            lines.append(
                {
                    "name": "study_distinct_points", "value": statistics.median(found), "unit": "points",
                    "params": params | {"seeds": options.seeds}, "least": min(found), "most": max(found),
                    "revision": kept.revision(),
                }
            )  # fmt: skip
            print(lines[-1], flush=True)
    if options.keep:
        kept.write(RESULTS, lines)


if __name__ == "__main__":
    main()
