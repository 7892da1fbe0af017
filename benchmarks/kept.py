"""What the benchmarks keep: JSON lines under results/, with the revision that they were measured on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"


def revision() -> str:
    """Return the commit, marked where the tree differs from it; results that have been kept are no difference."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", ".", f":!{RESULTS.relative_to(ROOT)}")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def machine() -> dict[str, Any]:
    """Return what a figure depends on beside the code."""
    return {"cores": os.cpu_count(), "machine": platform.machine()}


def ratio_line(name: str, over: list[float], under: list[float]) -> dict[str, Any]:
    """Return one line: the median of the ratios of runs that followed one another, and all of them."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    all_of_them = [round(ratio, 2) for ratio in ratios]
    return {"name": name, "value": round(statistics.median(ratios), 2), "unit": "x", "all": all_of_them}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, line: dict[str, Any]) -> None:
    """Add a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Put these lines in the place of all that were there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
