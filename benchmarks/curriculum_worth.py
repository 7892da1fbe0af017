"""What the curriculum is worth: equal environment steps, several seeds, every arm scored on the hardest stage.

    python benchmarks/curriculum_worth.py --seeds 0 1 2 3 4             # train and score what has no line yet
    python benchmarks/curriculum_worth.py --report --picture worth.png  # table and learning curves of what has

Arms differ in the curriculum alone: gates with replay; the same with levels remembered by learnability; the hardest
stage from the start, with and without learnability; and domain randomisation, the levels of all stages evenly. With
--sparse the reward says nothing of the way to the goal: a harder task, in lines of its own.

Each policy plays the hardest stage's test levels `--repeats` times with each of two evaluation seeds. Levels and policy
repeat themselves exactly, so noise is added to the actions: a level's success rate says how surely it is driven. The
worst tenth of the levels is chosen by one evaluation and scored by the other (arXiv 2408.15099).

A killed run goes on from its checkpoint when the same command is given again; a finished one is not trained again.
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

import kept
import numpy as np
import torch
import yaml
from headway.evaluation import trained
from headway.evaluation.evaluate import SUCCESS, play
from headway.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    with_interval,
    worst_levels_mean,
)
from headway.policy import load_policy

ROOT = Path(__file__).resolve().parents[1]
SPEC = Path(__file__).with_suffix(".yaml")
HARDEST = {"replay": 0.0, "schedule": {"manual": {"stage": "far"}}}
ARMS = {
    "curriculum": {},
    "curriculum, learnability": {"learnability": {}},
    "hardest only": HARDEST,
    "hardest only, learnability": HARDEST | {"learnability": {}},
    # Replays are drawn evenly from the three earlier stages, so each of the four has a quarter of the episodes.
    "domain randomisation": HARDEST | {"replay": 0.75},
}
NOISE = 0.2  # standard deviation of what is added to actions in [-1, 1]
CURVE_LEVELS, CURVE_POINTS = 200, 12


class Noisy:
    """An actor whose actions are a little off; the same every time for the same seed."""

    def __init__(self, actor, seed: int) -> None:
        self._actor = actor
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *given):
        """Actions float32 [N, A]."""
        action = self._actor(*given)
        return (action + NOISE * torch.randn(action.shape, generator=self._generator)).clamp(-1.0, 1.0)


def document(arm: str, seed: int, options: argparse.Namespace) -> dict:
    """Return the run of an arm: the benchmark's spec with the arm's curriculum."""
    run = yaml.safe_load(SPEC.read_text())
    train = run["spec"]["train"]
    train |= {"seed": seed, "totalSteps": options.steps}
    train["curriculum"] |= ARMS[arm]
    if options.sparse:
        train["env"]["nav"]["reward"] = {"progress": 0.0, "proximity": 0.0}
    run["spec"]["checkpoint"] = {"everySeconds": options.checkpoint_seconds, "keep": 100}
    return run


def train(arm: str, seed: int, options: argparse.Namespace) -> Path:
    """Train, or go on with it; return the output folder."""
    folder = options.work / f"{arm.replace(', ', '-').replace(' ', '-')}-{task(options)}-{options.steps}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(document(arm, seed, options)))
    command = [
        sys.executable,
        "-m",
        "headway",
        "run",
        str(folder / "run.yaml"),
        "--out",
        str(folder / "out"),
        "--plain",
    ]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return folder / "out"


def task(options: argparse.Namespace) -> str:
    """Name the task."""
    return "sparse" if options.sparse else "shaped"


def successes(policy, levels: int, seed: int, threads: int) -> np.ndarray:
    """Play the hardest stage's test levels once with noise of `seed`; 0 or 1 a level, [L]."""
    stage = len(policy.spec.curriculum.stages) - 1
    actor = Noisy(trained(policy.act), seed)
    return play(actor, policy.spec, stage, "test", levels, 256, 0, 1, threads)[:, SUCCESS].long().numpy()


def score(out: Path, options: argparse.Namespace) -> dict:
    """Score the last policy on every level, and a few earlier ones on some, for the learning curve."""
    checkpoints = sorted(out.glob("checkpoints/**/step-*"))
    last = load_policy(checkpoints[-1])
    tables = [
        sum(successes(last, options.levels, 1000 * (e + 1) + k, options.threads) for k in range(options.repeats))
        for e in range(2)
    ]
    chosen = {checkpoints[i] for i in np.linspace(0, len(checkpoints) - 1, CURVE_POINTS).astype(int)}
    policies = [load_policy(path) for path in sorted(chosen)]
    curve = [(p.step, float(successes(p, CURVE_LEVELS, 7, options.threads).mean())) for p in policies]
    first, second = (table / options.repeats for table in tables)
    return {
        "success": float((first + second).mean() / 2),
        "worst_10_percent": (worst_levels_mean(first, second) + worst_levels_mean(second, first)) / 2,
        "successes_by_level": ["".join(map(str, table)) for table in tables],  # a digit a level, of `repeats`
        "curve": curve,
    }


def measure(arm: str, seed: int, options: argparse.Namespace) -> dict:
    """Train and score one seed of an arm."""
    started = time.monotonic()
    out = train(arm, seed, options)
    seconds = time.monotonic() - started
    scores = score(out, options)
    status = yaml.safe_load((out / "trainingrun.yaml").read_text())["status"]["progress"]
    return {
        "name": "curriculum_worth",
        "value": scores.pop("success"),
        "unit": "share of the hardest stage's test levels",
        "params": parameters(arm, seed, options),
        **scores,
        "stage": status["curriculum"]["stageName"],
        "steps": status["step"],
        "seconds_of_the_last_attempt": round(seconds, 1),
        **kept.machine(),
        "revision": kept.revision(),
    }


def parameters(arm: str, seed: int, options: argparse.Namespace) -> dict:
    """What a line is found again by."""
    return {
        "arm": arm,
        "seed": seed,
        "task": task(options),
        "spec": hashlib.sha256(SPEC.read_bytes()).hexdigest()[:8],
        "steps": options.steps,
        "levels": options.levels,
        "repeats": options.repeats,
    }


def report(lines: list[dict]) -> None:
    """Print the table of one task: a row an arm, 95 % intervals in brackets."""
    runs = {arm: [line for line in lines if line["params"]["arm"] == arm] for arm in ARMS}
    runs = {arm: found for arm, found in runs.items() if found}
    scores = {arm: np.array([line["value"] for line in found]) for arm, found in runs.items()}
    worst = {arm: np.array([line["worst_10_percent"] for line in found]) for arm, found in runs.items()}

    def middle(values: np.ndarray) -> str:
        return with_interval(interquartile_mean(values), bootstrap_interval(interquartile_mean, values))

    def beats(arm: str, other: str) -> str:
        if arm == other or other not in scores:
            return "–"
        pair = scores[arm], scores[other]
        interval = bootstrap_interval(probability_of_improvement, *pair)
        return with_interval(probability_of_improvement(*pair), interval, 2)

    print("| arm | runs | success, IQM | worst 10 % of levels, IQM | above 0.5, 0.8 | P(better than hardest only) "
          "| P(better than domain randomisation) |\n| --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
    for arm in runs:
        above = ", ".join(f"{share:.1f}" for share in performance_profile(scores[arm], [0.5, 0.8]))
        cells = [arm, str(len(runs[arm])), middle(scores[arm]), middle(worst[arm]), above]
        print(
            "| "
            + " | ".join([*cells, *(beats(arm, other) for other in ("hardest only", "domain randomisation"))])
            + " |"
        )
    revisions = sorted({line["revision"] for line in lines})
    print(f"\n{task_words(lines)}; revision {', '.join(revisions)}")


def task_words(lines: list[dict]) -> str:
    """Say what the lines are of."""
    params = lines[0]["params"]
    return (
        f"{params['task']} reward, {params['steps']:,} environment steps each, {params['levels']} test levels of the "
        f"hardest stage, {2 * params['repeats']} times each"
    )


def draw(lines: list[dict], path: Path) -> None:
    """Draw the learning curves: the mean over seeds, and every seed faintly."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for number, arm in enumerate(ARMS):
        curves = [np.array(line["curve"]) for line in lines if line["params"]["arm"] == arm]
        if not curves:
            continue
        steps = np.linspace(0, max(curve[-1, 0] for curve in curves), 60)
        levelled = np.array([np.interp(steps, curve[:, 0], curve[:, 1]) for curve in curves])
        for curve in curves:
            axes.plot(curve[:, 0] / 1e6, curve[:, 1], color=f"C{number}", alpha=0.2, linewidth=0.8)
        axes.plot(steps / 1e6, levelled.mean(0), color=f"C{number}", label=f"{arm} ({len(curves)})", linewidth=2)
    axes.set(xlabel="million environment steps", ylabel="success on the hardest stage's test levels", ylim=(0, 1))
    axes.set_title(task_words(lines), fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=2_000_000)
    parser.add_argument("--levels", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 10))
    parser.add_argument("--sparse", action="store_true", help="no reward for progress: only goal, collision and time")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for scoring")
    parser.add_argument("--checkpoint-seconds", type=int, default=15)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "curriculum_worth", help="where runs are kept")
    parser.add_argument("--results", type=Path, default=kept.RESULTS / "curriculum_worth.jsonl")
    parser.add_argument("--report", action="store_true", help="train nothing: only the table of what is there")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the learning curves")
    return parser.parse_args()


def main() -> None:
    """Measure what has no line yet, seed by seed so that all arms grow alike; then report."""
    options = parse()
    for seed in [] if options.report else options.seeds:
        for arm in options.arms:
            if any(line["params"] == parameters(arm, seed, options) for line in kept.read(options.results)):
                continue
            line = measure(arm, seed, options)
            print(json.dumps({k: v for k, v in line.items() if k != "successes_by_level"}), file=sys.stderr, flush=True)
            kept.append(options.results, line)
    wanted = {k: v for k, v in parameters("", 0, options).items() if k not in ("arm", "seed")}
    lines = [line for line in kept.read(options.results) if wanted.items() <= line["params"].items()]
    if not lines:
        sys.exit(f"{options.results}: no lines of {wanted}")
    report(lines)
    if options.picture:
        draw(lines, options.picture)


if __name__ == "__main__":
    main()
