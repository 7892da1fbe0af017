"""The evaluations of a run, numbered, from metrics.jsonl: the one record that survives restarts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headway_api.hpo_study import METRICS
from headway_api.progress import EvaluationPoint


def read_evaluations(path: Path) -> list[EvaluationPoint]:
    """Return the evaluations in a metrics.jsonl, in order; none without the file. A torn line counts for nothing."""
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
    return evaluation_points(rows)


def evaluation_points(rows: Iterable[dict[str, Any]]) -> list[EvaluationPoint]:
    """Return the evaluations in rows of metrics.jsonl, numbered from 1."""
    found: list[EvaluationPoint] = []
    for row in rows:
        if metrics := evaluation_metrics(row):
            found.append(EvaluationPoint(index=len(found) + 1, step=int(row["step"]), metrics=metrics))
    return found


def evaluation_metrics(row: dict[str, Any]) -> dict[str, float]:
    """Return what an evaluation found, of all that a row says; nothing where there was none."""
    return {name: float(row[name]) for name in METRICS.values() if isinstance(row.get(name), int | float)}
