"""Scores side by side, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table

from headway.evaluation.evaluate import Rate, Scores


def score_table(scores: Mapping[str, Scores], title: str) -> Table:
    """One row a policy: rates with their 95 % intervals, mean time of successful episodes, SPL."""
    style = {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0), "header_style": "dim"}
    table = Table(title=title, title_justify="left", title_style="bold", **style)
    table.add_column("policy")
    for column in ("success %", "collision %", "time-out %", "time s", "SPL"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, score in scores.items():
        seconds = "–" if math.isnan(score.mean_seconds) else f"{score.mean_seconds:.1f}"
        rates = (_rate(score.success), _rate(score.collision), _rate(score.timeout))
        table.add_row(name, *rates, seconds, f"{score.spl:.3f}")
    return table


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    return f"{100 * rate.value:.1f} ({100 * low:.1f}–{100 * high:.1f})"
