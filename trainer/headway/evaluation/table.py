"""Scores side by side, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table

from headway.evaluation.evaluate import Rate, Scores


def score_table(scores: Mapping[str, Scores], title: str) -> Table:
    """One row a policy: rates with their 95 % intervals, mean time of successful episodes, SPL, mean reward."""
    style = {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0), "header_style": "dim"}
    table = Table(title=title, title_justify="left", title_style="bold", **style)
    table.add_column("policy")
    for column in ("success %", "collision %", "time-out %", "time s", "SPL", "reward"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, score in scores.items():
        rates = [_rate(rate) if score.judged else "–" for rate in (score.success, score.collision, score.timeout)]
        figures = (_number(score.mean_seconds, 1), _number(score.spl, 3), _number(score.reward, 2))
        table.add_row(name, *rates, *figures)
    return table


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    return f"{100 * rate.value:.1f} ({100 * low:.1f}–{100 * high:.1f})"
