"""The ways in which a person or a scheduler asks a local run to end."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from headway.errors import UserError

_BUDGET = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNITS = (86400, 3600, 60, 1)

# The share of a budget, and at most so many seconds of it, that is left for saving; slow updates take what they need.
RESERVE = 0.1
MOST_RESERVE_S = 60.0


class Interrupts:
    """Counts Ctrl-C and notes SIGTERM, SIGHUP and the end of the budget, between `with` and its end."""

    def __init__(self, budget_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.ctrl_c = 0
        self.terminated = False
        self._clock = clock
        self.update_s = 0.0  # what the slowest update has taken; the trainer leaves at the end of one
        self._budget_s = budget_s
        self._began = clock()
        self._before: dict[int, Any] = {}

    @property
    def out_of_time(self) -> bool:
        """Say whether the budget is used up but for what the last update and saving take."""
        if self._budget_s is None:
            return False
        reserve = max(min(RESERVE * self._budget_s, MOST_RESERVE_S), 2 * self.update_s)
        return self._clock() - self._began >= self._budget_s - reserve

    @property
    def asked_to_leave(self) -> bool:
        """Say whether the run is to save and leave, for whatever reason."""
        return self.ctrl_c > 0 or self.terminated or self.out_of_time

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self.ctrl_c += 1
        else:
            self.terminated = True


def parse_budget(text: str) -> float:
    """`11h30m` -> seconds. Raises UserError."""
    match = _BUDGET.fullmatch(text.strip())
    seconds = sum(int(part) * unit for part, unit in zip(match.groups("0"), _UNITS, strict=True)) if match else 0
    if seconds == 0:
        raise UserError(f"--budget {text}: is not a duration: write days, hours, minutes, seconds, e.g. 11h30m or 90s")
    return float(seconds)
