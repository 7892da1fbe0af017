"""The metric of the BARN Challenge (Xiao et al. 2022, "Autonomous ground navigation in highly constrained spaces").

A run scores success * T_opt / clip(T, 2 T_opt, 8 T_opt): at most 0.5, for twice the time of the reference path driven
at 2 m/s, at least 0.125 for a success that takes eight times as long; nothing for a failure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

REFERENCE_SPEED = 2.0  # m/s
FASTEST, SLOWEST = 2.0, 8.0  # multiples of T_opt between which time counts


def optimal_seconds(path_meters: ArrayLike) -> NDArray[np.float64]:
    """T_opt of reference paths of these lengths in metres."""
    return np.asarray(path_meters, np.float64) / REFERENCE_SPEED


def barn_metric(success: ArrayLike, seconds: ArrayLike, best_seconds: ArrayLike) -> NDArray[np.float64]:
    """The metric of each run, in [0, 0.5]: all arguments broadcast. Raises ValueError unless T_opt is positive."""
    best = np.asarray(best_seconds, np.float64)
    if not (best > 0).all():
        raise ValueError("the optimal time must be positive")
    taken = np.clip(np.asarray(seconds, np.float64), FASTEST * best, SLOWEST * best)
    return np.asarray(success, np.float64) * best / taken


def bootstrap_interval(
    by_world: NDArray[np.float64], resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap of the mean over worlds: worlds are drawn with replacement, their runs stay together.

    `by_world` [W] holds each world's mean. Runs in one world are no independent samples of worlds to come.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(by_world), size=(resamples, len(by_world)))
    tails = [(1.0 - confidence) / 2, (1.0 + confidence) / 2]
    low, high = np.quantile(by_world[drawn].mean(axis=1), tails)
    return float(low), float(high)
