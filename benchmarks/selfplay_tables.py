"""The tables of selfplay.py: interquartile means over seeds, with 95 % bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from headway.evaluation.intervals import wilson_interval
from headway.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    probability_of_improvement,
    with_interval,
)
from numpy.typing import NDArray

Line = dict[str, Any]
Floats = NDArray[np.float64]

ARMS: Final = ("pool", "frozen", "stubborn", "self")
PARTNERS: Final = ("frozen", "stubborn")  # arms with a partner that never changes
RULE, ITSELF = "rule", "itself"
STRANGERS: Final = (*ARMS, RULE)  # nobody has trained with them: the arms' are of another seed
COLUMNS: Final = (*STRANGERS, *(f"{name} partner" for name in PARTNERS), ITSELF)


def rates(lines: list[Line], arm: str, count: str, beside: tuple[str, ...]) -> Floats:
    """Return a rate of each seed of an arm, [R]: its mean over partners, beside each of whom it is the same run."""
    return np.array([np.mean([share(line["beside"][name], count) for name in beside]) for line in of(lines, arm)])


def share(counts: Line, count: str) -> float:
    """Return the share of the levels that are counted."""
    return float(counts[count] / counts["of"])


def of(lines: list[Line], arm: str) -> list[Line]:
    """Return the lines of an arm, in the order of their seeds."""
    return sorted((line for line in lines if line["params"]["arm"] == arm), key=lambda line: line["params"]["seed"])


def middle(values: Floats) -> str:
    """IQM of [R] in percent, with its interval."""
    return _cell(interquartile_mean, 1, 100 * values)


def ahead(ours: Floats, theirs: Floats) -> list[str]:
    """By how many percent the one's IQM lies above the other's, and the chance that a run of the one is better."""
    return [_cell(_difference, 1, 100 * ours, 100 * theirs), _cell(probability_of_improvement, 2, ours, theirs)]


def _cell(statistic: Callable[..., float], digits: int, *scores: Floats) -> str:
    return with_interval(statistic(*scores), bootstrap_interval(statistic, *scores), digits)


def _difference(ours: Floats, theirs: Floats) -> float:
    return interquartile_mean(ours) - interquartile_mean(theirs)


def report(lines: list[Line]) -> None:
    """Print all tables, as Markdown."""
    for table in (success, strangers, advantage, four_robots):
        print("\n".join(table(lines)) + "\n")
    params, revisions = lines[0]["params"], sorted({line["revision"] for line in lines})
    print(
        f"{len(of(lines, ARMS[0]))} seeds, {params['steps']:,} environment steps each, {params['levels']} test levels; "
        f"revision {', '.join(revisions)}"
    )


def success(lines: list[Line]) -> list[str]:
    """Success beside each partner: a row an arm."""
    rows = [[arm, *(middle(rates(lines, arm, "successes", (name,))) for name in COLUMNS)] for arm in ARMS]
    return table(["success %, trained beside", *COLUMNS], rows)


def strangers(lines: list[Line]) -> list[str]:
    """Success and collision beside all whom nobody has trained with."""
    rows = [
        [arm, *(middle(rates(lines, arm, count, STRANGERS)) for count in ("successes", "collisions"))] for arm in ARMS
    ]
    return table(["beside strangers", "success %", "collision %"], rows)


def advantage(lines: list[Line]) -> list[str]:
    """What the pool is ahead of each other arm by: beside strangers, and each beside the other's next seed."""
    rows = []
    for arm in ARMS[1:]:
        alike = [rates(lines, one, "successes", STRANGERS) for one in ("pool", arm)]
        rows.append([f"{arm}, beside strangers", *ahead(*alike)])
        met = rates(lines, "pool", "successes", (arm,)), rates(lines, arm, "successes", ("pool",))
        rows.append([f"{arm}, one beside the other", *ahead(*met)])
    return table(["the pool's success less that of", "points", "P(better)"], rows)


def four_robots(lines: list[Line]) -> list[str]:
    """Success and collision of four robots by one policy; the last column over all levels of all seeds."""
    rows = []
    for arm in ARMS:
        four = [line["four_robots"] for line in of(lines, arm)]
        hits, levels = sum(f["collisions"] for f in four), sum(f["of"] for f in four)
        each = [np.array([share(f, count) for f in four]) for count in ("successes", "collisions")]
        whole = with_interval(100 * hits / levels, [100 * end for end in wilson_interval(hits, levels)], 1)
        rows.append([arm, *map(middle, each), whole])
    return table(["four robots", "success %", "collision %", "collision %, all levels (Wilson)"], rows)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Markdown."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
