"""What a pool of past policies is worth: two robots on crossing ways, several seeds, scored beside the same partners.

    python benchmarks/selfplay.py --seeds 0 1 2 3 4     # train and score what has no line yet
    python benchmarks/selfplay.py --report              # tables of what has

Arms differ in who drives the other robot in training, and in nothing else: `pool`, configs/selfplay.yaml as it is;
`frozen` and `stubborn`, one policy that never changes; `self`, the present policy alone. The frozen partner learned by
the same run beside the rule that goes straight and turns aside (others: goStraight); the stubborn one is a clone
(algo.dagger) of the planner that turns to its goal and drives, and gives way to nobody. Both are for all seeds.

All play the same test levels, each once, with one other robot. Whom nobody has trained with drives it: the policies
of all arms of the next seed, and the rule; then both partners, and the policy itself. Then three others in a larger
room, all four by the same policy. Lines are found again by spec, seeds, steps and levels; a killed run goes on from its
checkpoint when the same command is given again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import kept
import yaml
from headway.evaluation import evaluate, trained
from headway.policy import Policy, load_policy
from headway_api.train_spec import TrainSpec
from selfplay_tables import ARMS, ITSELF, PARTNERS, RULE, report

Document = dict[str, Any]

SPEC = kept.ROOT / "configs" / "selfplay.yaml"
CLONE_STEPS = 200_000  # of imitation
LEVELS_SEED = 1000  # of the test levels, the same for everybody
FOUR = {"world": {"empty": {"sizeMeters": 6.0}}, "robots": 3}  # their room is larger: 9 m2 each, and not 8


def document(steps: int, seed: int) -> Document:
    """Return the shipped run, of so many steps, without what only looks on."""
    run: Document = yaml.safe_load(SPEC.read_text())
    run["spec"]["train"] |= {"totalSteps": steps, "seed": seed, "evaluation": {"everySteps": 0}, "trackers": {}}
    return run


def partner_document(name: str, steps: int) -> Document:
    """Return the run that a partner is the last policy of."""
    run = document(steps, 0)
    train = run["spec"]["train"]
    del train["selfPlay"]
    train["env"]["nav"]["others"] = "goStraight"
    if name == "stubborn":
        train |= {"algo": {"dagger": {"expert": "goStraight", "expertSteps": 10**12}}, "totalSteps": CLONE_STEPS}
        train["curriculum"]["stages"][0]["levels"]["robots"] = 0  # nobody is there to give way to
    return run


class Runs:
    """Trains each policy once, or goes on with it, or finds it done."""

    def __init__(self, work: Path, steps: int) -> None:
        self._work, self._steps = work, steps
        self._found: dict[str, Path] = {}

    def partner(self, name: str) -> Policy:
        """Return one of PARTNERS."""
        return load_policy(self._partner(name))

    def policy(self, arm: str, seed: int) -> Policy:
        """Return what a seed of an arm has learned."""
        run = document(self._steps, seed)
        if arm in PARTNERS:
            run["spec"]["train"]["selfPlay"] = {"frozen": {"policy": str(self._partner(arm).resolve())}}
        elif arm == "self":
            del run["spec"]["train"]["selfPlay"]
        return load_policy(self._checkpoint(f"{arm}-{self._steps}-{seed}", run))

    def _partner(self, name: str) -> Path:
        return self._checkpoint(f"partner-{name}-{self._steps}", partner_document(name, self._steps))

    def _checkpoint(self, name: str, run: Document) -> Path:
        """Return the last checkpoint of a run."""
        if name not in self._found:
            folder = self._work / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "run.yaml").write_text(yaml.safe_dump(run))
            arguments = [str(folder / "run.yaml"), "--out", str(folder / "out"), "--plain"]
            subprocess.run([sys.executable, "-m", "headway", "run", *arguments], check=True, stdout=sys.stderr)
            self._found[name] = max((folder / "out").glob("checkpoints/**/step-*"))
        return self._found[name]


def levels_spec(**levels: Any) -> TrainSpec:
    """Return the spec whose test levels are played."""
    train = document(1, LEVELS_SEED)["spec"]["train"]
    del train["selfPlay"]
    train["curriculum"]["stages"][0]["levels"] |= levels
    return TrainSpec.model_validate(train)


def played(policy: Policy, other: Policy | None, spec: TrainSpec, options: argparse.Namespace) -> Document:
    """Play the test levels with the others driven by `other`, or by the rule; count."""
    others = other.act if other else None
    scores = evaluate(trained(policy.act), spec, 0, "test", options.levels, threads=options.threads, others=others)
    return {"successes": scores.success.count, "collisions": scores.collision.count, "of": scores.levels}


def measure(arm: str, seed: int, runs: Runs, options: argparse.Namespace) -> Document:
    """Train what is not trained yet, and score one seed of an arm."""
    started = time.monotonic()
    mine, stranger = runs.policy(arm, seed), following(seed, options.seeds)
    others = {name: runs.policy(name, stranger) for name in ARMS} | {RULE: None}
    others |= {f"{name} partner": runs.partner(name) for name in PARTNERS} | {ITSELF: mine}
    trained_at = time.monotonic()
    return {
        "name": "selfplay",
        "params": parameters(arm, seed, options),
        "beside": {name: played(mine, other, levels_spec(), options) for name, other in others.items()},
        "four_robots": played(mine, mine, levels_spec(**FOUR), options),
        "steps": mine.step,
        "seconds_training": round(trained_at - started, 1),  # of all that were not trained before
        "seconds_scoring": round(time.monotonic() - trained_at, 1),
        **kept.machine(),
        "revision": kept.revision(),
    }


def following(seed: int, seeds: list[int]) -> int:
    """Return the seed after `seed`, in a circle."""
    return seeds[(seeds.index(seed) + 1) % len(seeds)]


def parameters(arm: str, seed: int, options: argparse.Namespace) -> Document:
    """What a line is found again by."""
    return {
        "arm": arm,
        "seed": seed,
        "stranger": following(seed, options.seeds),
        "spec": hashlib.sha256(SPEC.read_bytes()).hexdigest()[:8],
        "steps": options.steps,
        "levels": options.levels,
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="two or more")
    parser.add_argument("--steps", type=int, default=yaml.safe_load(SPEC.read_text())["spec"]["train"]["totalSteps"])
    parser.add_argument("--levels", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for scoring")
    parser.add_argument("--work", type=Path, default=kept.ROOT / "runs" / "selfplay", help="where runs are kept")
    parser.add_argument("--results", type=Path, default=kept.RESULTS / "selfplay.jsonl")
    parser.add_argument("--report", action="store_true", help="train nothing: only the tables of what is there")
    options = parser.parse_args()
    if len(set(options.seeds)) < max(2, len(options.seeds)):
        parser.error("--seeds: give two or more, each once: strangers are of another seed")
    return options


def main() -> None:
    """Measure what has no line yet, seed by seed so that all arms grow alike; then report."""
    options = parse()
    runs = Runs(options.work, options.steps)
    for seed in [] if options.report else options.seeds:
        for arm in ARMS:
            if any(line["params"] == parameters(arm, seed, options) for line in kept.read(options.results)):
                continue
            line = measure(arm, seed, runs, options)
            print(json.dumps(line), file=sys.stderr, flush=True)
            kept.append(options.results, line)
    wanted = {k: v for k, v in parameters("", options.seeds[0], options).items() if k in ("spec", "steps", "levels")}
    lines = [line for line in kept.read(options.results) if wanted.items() <= line["params"].items()]
    if not lines:
        sys.exit(f"{options.results}: no lines of {wanted}")
    report(lines)


if __name__ == "__main__":
    main()
