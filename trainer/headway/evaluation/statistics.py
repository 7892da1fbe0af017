"""What a handful of runs says about a method, with intervals: point estimates of few runs mislead.

After Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice" (arXiv 2108.13264).
Scores are float64 [R, T]: R independent runs (seeds) by T tasks. Larger is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Callable[..., float]


def interquartile_mean(scores: ArrayLike) -> float:
    """Mean of the middle half of all scores of all tasks: a quarter is cut off at either end, rounded down."""
    ordered = np.sort(_matrix(scores), axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> float:
    """By how much scores fall short of `target` on average; what lies above it makes up for nothing."""
    return float(target - np.minimum(_matrix(scores), target).mean())


def probability_of_improvement(scores: ArrayLike, baseline: ArrayLike) -> float:
    """Chance that a run of the one beats a run of the other on the same task, ties by half; mean over tasks.

    The Mann-Whitney statistic over the number of pairs. The two may have different numbers of runs.
    """
    ours, theirs = _matrix(scores), _matrix(baseline)
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(f"{ours.shape[1]} tasks cannot be compared with {theirs.shape[1]}")
    difference = ours[:, None, :] - theirs[None, :, :]  # [R, S, T]
    return float((np.sign(difference) / 2 + 0.5).mean())


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """Share of all scores above each threshold, [K]."""
    return (_matrix(scores).ravel()[:, None] > np.asarray(thresholds, np.float64)).mean(0)


def bootstrap_interval(
    statistic: Statistic, *scores: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of `statistic(*scores)` by the stratified bootstrap.

    Runs are drawn again with replacement within each task and each method apart. With fewer than ten runs such
    intervals are too narrow rather than too wide.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    matrices = [_matrix(each) for each in scores]
    drawn = [
        statistic(*(np.take_along_axis(m, generator.integers(0, len(m), m.shape), axis=0) for m in matrices))
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def worst_levels_mean(choosing: ArrayLike, scoring: ArrayLike, share: float = 0.1) -> float:
    """Mean of `scoring` over the `share` of levels with the lowest `choosing`; both float64 [L], one number a level.

    The conditional value at risk, as Rutherford et al. 2024 (arXiv 2408.15099) report it: the levels are chosen by one
    evaluation and scored by another of other random numbers, or the worst would look worse than they are by selection.
    Levels that tie at the edge count in proportion, so that their order means nothing.
    """
    chosen, scored = np.asarray(choosing, np.float64), np.asarray(scoring, np.float64)
    if chosen.shape != scored.shape or chosen.ndim != 1 or not len(chosen):
        raise ValueError(f"levels of shape {chosen.shape} cannot be scored by {scored.shape}: give one number a level")
    if not 0 < share <= 1:
        raise ValueError(f"share {share}: must lie above 0 and be at most 1")
    count = max(1, round(share * len(chosen)))
    edge = np.partition(chosen, count - 1)[count - 1]
    below, at_edge = scored[chosen < edge], scored[chosen == edge]
    return float((below.sum() + (count - len(below)) * at_edge.mean()) / count)


def _matrix(scores: ArrayLike) -> Floats:
    """Check and return [R, T]; one number a run is one task."""
    matrix = np.asarray(scores, np.float64)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or matrix.size == 0 or not np.isfinite(matrix).all():
        raise ValueError(f"scores of shape {matrix.shape}: give finite numbers, runs by tasks")
    return matrix


def with_interval(value: float, interval: Sequence[float], digits: int = 3) -> str:
    """For tables: `0.812 (0.790-0.834)`."""
    low, high = interval
    return f"{value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
