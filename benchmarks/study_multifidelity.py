"""Environment steps until a study is as good as a whole random search: successive halving and Hyperband on a toy.

    python benchmarks/study_multifidelity.py [--seeds 20] [--keep]

A run of the toy is 27 evaluations of 10,000 environment steps. Its success rate rises towards a ceiling that its
three parameters set, some slowly and to a higher one, with noise of 0.02 that belongs to point and evaluation.
Eight trials are under way at a time, one evaluation each in turns. Every arm is the StudyCore of `headway study`
with the same random points in the same order, so that only the pruner differs; a last arm has TPE beside Hyperband.
Counted are the steps of all trials, pruned ones too, until one is complete with at least the best final value of
the 64 random trials, over the steps of these 64. An arm that has not reached it by then goes on with further
points, to at most as many steps.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import statistics
import warnings
from collections import deque
from typing import Any

import kept
import optuna
from headway.hpo.core import StudyCore
from headway_api.hpo_study import METRICS, HPOStudySpec
from headway_api.load import validate_study
from headway_api.progress import EvaluationPoint

EVALUATIONS, STEPS, TRIALS, WORKERS = 27, 10_000, 64, 8
PPO = "train.algo.ppo"
RESULTS = kept.RESULTS / "study_multifidelity.jsonl"
ARMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "random": ({"random": {}}, {"none": {}}),
    "random, successive halving": ({"random": {}}, {"successiveHalving": {"reductionFactor": 3}}),
    "random, Hyperband": ({"random": {}}, {"hyperband": {"reductionFactor": 3}}),
    "TPE, Hyperband": ({"tpe": {}}, {"hyperband": {"reductionFactor": 3}}),
}


def make_spec(arm: str, seed: int) -> HPOStudySpec:
    """Return the arm's study."""
    sampler, pruner = ARMS[arm]
    log = {"low": 1e-5, "high": 1e-2, "log": True}
    train = {
        "totalSteps": EVALUATIONS * STEPS, "numEnvs": 8, "env": {"nav": {}}, "network": {"mlp": {}},
        "algo": {"ppo": {"minibatchSize": 8}}, "evaluation": {"everySteps": STEPS, "levels": 8},
        "curriculum": {"stages": [{"name": "all", "levels": {"world": {"empty": {}}}}]},
    }  # fmt: skip
    spec = {
        "parameters": [
            {"path": f"{PPO}.learningRate", "float": log},
            {"path": f"{PPO}.gamma", "float": {"low": 0.9, "high": 0.999}},
            {"path": f"{PPO}.epochs", "int": {"low": 1, "high": 16}},
        ],
        "objectives": [{"metric": "successRate", "direction": "maximize"}],
        "budget": {"trials": 10_000, "parallel": WORKERS},
        "seed": seed,
        "engine": {"optuna": {"sampler": sampler, "pruner": pruner}},
        "runTemplate": {"image": "toy:1", "train": train},
    }
    document = {"apiVersion": "headway.dev/v1alpha1", "kind": "HPOStudy", "metadata": {"name": "toy"}, "spec": spec}
    return validate_study(document).spec


def success(values: dict[str, Any], evaluation: int) -> float:
    """The toy: a ceiling, how fast it is reached, and noise that is the same whenever it is asked."""
    rate, gamma, epochs = (values[f"{PPO}.{name}"] for name in ("learningRate", "gamma", "epochs"))
    distance = ((math.log10(rate) + 3.3) / 1.5) ** 2 + ((gamma - 0.98) / 0.05) ** 2 + ((epochs - 6) / 10) ** 2
    ceiling = 0.95 * math.exp(-distance)
    slowness = 2.0 + 4.0 * abs(math.sin(7.0 * gamma * epochs))  # evaluations to 63 % of the ceiling
    digest = hashlib.sha256(f"{rate}/{gamma}/{epochs}/{evaluation}".encode()).digest()
    noise = 0.02 * (int.from_bytes(digest[:4], "big") / 2**31 - 1.0)
    return max(0.0, ceiling * (1.0 - math.exp(-evaluation / slowness)) + noise)


def search(arm: str, seed: int, goal: float, most_steps: int) -> tuple[int, float, int]:
    """Search until `goal` is reached or the steps are used up. Returns steps, best final value, trials begun."""
    core = StudyCore(optuna.storages.InMemoryStorage(), f"toy/{arm}/{seed}", make_spec(arm, seed))
    steps = begun = 0
    best = -math.inf
    running: deque[tuple[int, dict[str, Any], int]] = deque()
    while steps < most_steps and best < goal:
        while len(running) < WORKERS:
            running.append((begun, core.ask(begun), 0))
            begun += 1
        number, values, done = running.popleft()
        value = success(values, done + 1)
        steps += STEPS
        point = EvaluationPoint(index=done + 1, step=(done + 1) * STEPS, metrics={METRICS["successRate"]: value})
        stop = core.report(number, 0, [point], ended=done + 1 == EVALUATIONS)
        if done + 1 == EVALUATIONS:
            core.tell(number, "complete", EVALUATIONS * STEPS)
            best = max(best, value)
        elif stop:
            core.tell(number, "pruned", (done + 1) * STEPS)
        else:
            running.append((number, values, done + 1))
    return steps, best, begun


def random_search(seed: int) -> tuple[int, float]:
    """All 64 trials whole: their steps and their best final value."""
    core = StudyCore(optuna.storages.InMemoryStorage(), f"toy/random/{seed}", make_spec("random", seed))
    best = max(success(core.ask(number), EVALUATIONS) for number in range(TRIALS))
    return TRIALS * EVALUATIONS * STEPS, best


def main() -> None:
    """Measure and print; `--keep` writes the lines to results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = []
    for arm in list(ARMS)[1:]:
        ratios, trials = [], []
        for seed in range(options.seeds):
            whole, goal = random_search(seed)
            steps, best, begun = search(arm, seed, goal, whole)
            ratios.append(steps / whole if best >= goal else math.inf)
            trials.append(begun)
        params = {"arm": arm, "trials_of_random": TRIALS, "evaluations": EVALUATIONS, "seeds": options.seeds}
        lines.append(
            {
                "name": "study_steps_to_the_best_of_random", "value": round(statistics.median(ratios), 3),
                "unit": "of random search's environment steps", "params": params,
                "reached": sum(ratio <= 1.0 for ratio in ratios), "within_a_third": sum(r <= 1 / 3 for r in ratios),
                "trials_begun": statistics.median(trials), "revision": kept.revision(),
            }
        )  # fmt: skip
        print(lines[-1], flush=True)
    if options.keep:
        kept.write(RESULTS, lines)


if __name__ == "__main__":
    main()
