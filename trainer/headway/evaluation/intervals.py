"""Confidence intervals of rates."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided Wilson score interval of a binomial rate; (0, 1) when there were no trials.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", eq. 4. It stays inside [0, 1]
    and holds its confidence near 0 and 1, where the normal approximation does not.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes {successes} of {trials} trials: must lie between 0 and the trials")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # The bounds are 0 and 1 exactly at the ends; rounding must not leave a hair.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == trials else centre + half)
