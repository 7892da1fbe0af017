"""How often to save, so that least time is lost to saving and to what a failure takes back.

J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974;
J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", FGCS 22(3), 2006.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from statistics import mean
from typing import Final, Literal

from headway.units import short_duration

log = logging.getLogger("headway")

LEAST_S: Final = 10.0
MOST_S: Final = 3600.0
FIRST_S: Final = 60.0  # until a save has been measured
PRIOR_S: Final = 24 * 3600.0  # between failures, as long as none has been seen
_COSTS: Final = 5  # the newest, of which the mean counts
_TOLD: Final = 0.2  # a change by more than this share is logged

Every = float | Literal["auto"]


def time_between_failures(failures: int, elapsed_s: float) -> float:
    """Mean time between failures, in seconds, of a run that began `elapsed_s` ago."""
    return elapsed_s / failures if failures else PRIOR_S


def best_interval(cost_s: float, between_failures_s: float) -> float:
    """Return the seconds to train between two saves.

    `cost_s`: by which one save delays training. Daly's form, which is Young's sqrt(2 C M) where C is much less than M;
    within LEAST_S and MOST_S.
    """
    found = between_failures_s
    if cost_s < 2 * between_failures_s:
        ratio = cost_s / (2 * between_failures_s)
        young = math.sqrt(2 * cost_s * between_failures_s)
        found = young * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost_s
    return min(max(found, LEAST_S), MOST_S)


class Interval:
    """Seconds between the beginnings of two saves: as they are given, or by the run's own history. Rank 0's counts."""

    def __init__(self, every: Every) -> None:
        self.is_auto = every == "auto"
        self.seconds = FIRST_S if every == "auto" else every
        self._told_s = self.seconds
        self._costs: deque[float] = deque(maxlen=_COSTS)

    def saved(self, cost_s: float, failures: int, elapsed_s: float) -> None:
        """A save has delayed training by `cost_s`; the run began `elapsed_s` ago and has failed so often."""
        if not self.is_auto:
            return
        self._costs.append(cost_s)
        cost_s, between_s = mean(self._costs), time_between_failures(failures, elapsed_s)
        self.seconds = best_interval(cost_s, between_s)
        if abs(self.seconds - self._told_s) > _TOLD * self._told_s:
            self._told_s = self.seconds
            log.info(
                "saving every %.0f s from now on: a save delays training by %.2f s, and a failure comes every %s (%s)",
                self.seconds, cost_s, short_duration(between_s), f"{failures} seen" if failures else "assumed",
            )  # fmt: skip
