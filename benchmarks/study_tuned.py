"""What a study is worth: its best run beside the defaults, trained again from seeds that the study has not seen.

    headway study configs/study.yaml --out runs/nav-study
    python benchmarks/study_tuned.py --study runs/nav-study [--seeds 100 101 102 103 104] [--keep]

Both arms are the study's own runTemplate, for the same environment steps: once as it is, its hyperparameters our
defaults, once with the parameters of the best trial. The study has looked at validation levels; scored are 1,000 test
levels with `headway eval`. Interquartile means over seeds with 95 % intervals of the bootstrap (Agarwal et al. 2021).
A killed run goes on when the same command is given again; a finished one is not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kept
import numpy as np
import yaml
from headway.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    probability_of_improvement,
    with_interval,
)

RESULTS = kept.RESULTS / "study_tuned.jsonl"
ARMS = ("defaults", "tuned")


def document(arm: str, seed: int, study: Path) -> dict[str, Any]:
    """Return the run of an arm: the template of the study, or its best run, with another seed."""
    if arm == "tuned":
        run = yaml.safe_load((study / "best.yaml").read_text())
    else:
        template = yaml.safe_load((study / "study.yaml").read_text())["spec"]["runTemplate"]
        run = {"apiVersion": "headway.dev/v1alpha1", "kind": "TrainingRun", "metadata": {}, "spec": template}
    run["metadata"]["name"] = f"{arm}-{seed}"
    run["spec"]["train"]["seed"] = seed
    run["spec"]["train"]["evaluation"] = {}  # looks at nothing on the way, and so keeps the last policy
    return run


def headway(*arguments: str) -> str:
    """Run our command; its errors are shown."""
    command = [sys.executable, "-m", "headway", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(arm: str, seed: int, study: Path, levels: int) -> dict[str, Any]:
    """Train and score one seed of an arm."""
    folder = study / "tuned" / f"{arm}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    run = document(arm, seed, study)
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    headway("run", str(folder / "run.yaml"), "--out", str(folder / "out"), "--plain")
    answer = headway("eval", str(folder / "out"), "--levels", str(levels), "--baselines", "none", "--json")
    scores = json.loads(answer)["scores"]["policy"]
    train = run["spec"]["train"]
    return {
        "name": "study_tuned", "value": scores["success"]["rate"], "unit": "share of test levels",
        "params": {"arm": arm, "seed": seed, "levels": levels, "steps": train["totalSteps"]},
        "collisions": scores["collision"]["rate"], "algo": train["algo"], "network": train["network"],
        **kept.machine(), "revision": kept.revision(),
    }  # fmt: skip


def report(lines: list[dict[str, Any]]) -> None:
    """Print the table."""
    scores = {arm: np.array([line["value"] for line in lines if line["params"]["arm"] == arm]) for arm in ARMS}
    print("| arm | success of each seed | IQM |\n| --- | --- | --- |")
    for arm, values in scores.items():
        middle = with_interval(interquartile_mean(values), bootstrap_interval(interquartile_mean, values))
        print(f"| {arm} | {', '.join(f'{value:.3f}' for value in values)} | {middle} |")
    pair = scores["tuned"], scores["defaults"]
    better = with_interval(
        probability_of_improvement(*pair), bootstrap_interval(probability_of_improvement, *pair), 2
    )  # fmt: skip
    print(f"\nP(tuned better than defaults) {better}")


def main() -> None:
    """Measure and print; `--keep` writes the lines to results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="output folder of the finished study")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103, 104])
    parser.add_argument("--levels", type=int, default=1000)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    lines = []
    for seed in options.seeds:
        for arm in ARMS:
            lines.append(measure(arm, seed, options.study, options.levels))
            print(json.dumps(lines[-1]), flush=True)
    report(lines)
    if options.keep:
        kept.write(RESULTS, lines)


if __name__ == "__main__":
    main()
