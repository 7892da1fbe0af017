"""Ends a process that shows no sign of life: a hang in a library or a peer must not hold machines for ever."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from headway_api.names import EXIT_STALLED


class Heart:
    """What is being done, and since when: told by whoever does it, read by the watchdog's thread."""

    def __init__(self) -> None:
        self.phase, self.update, self.at = "start", 0, time.monotonic()

    def beat(self, phase: str = "", update: int = 0) -> None:
        """Show a sign of life, in `phase` of update number `update`; left out, they are what they were."""
        self.phase, self.update, self.at = phase or self.phase, update or self.update, time.monotonic()

    def where(self) -> str:
        """Say in words what was being done at the last beat."""
        return self.phase + (f", update {self.update}" if self.update else "")


@contextmanager
def watchdog(stall_s: float) -> Iterator[Heart]:
    """Yield a heart: unless it beats every `stall_s` seconds, all stacks are dumped and the process leaves at once.

    It leaves with EXIT_STALLED and without clean-up, since a hang is in somebody's way. 0 watches nothing. Who
    waits for another rank is to beat while it does.
    """
    heart, over = Heart(), threading.Event()
    if stall_s <= 0:
        yield heart
        return

    def watch() -> None:
        left = stall_s
        while not over.wait(left):
            silent = time.monotonic() - heart.at
            left = stall_s - silent
            if left <= 0:
                _leave(heart, stall_s, silent)

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield heart
    finally:
        over.set()
        thread.join()


def _leave(heart: Heart, stall_s: float, silent: float) -> None:
    since = time.strftime("%H:%M:%S", time.localtime(time.time() - silent))
    print(
        f"no sign of life for {stall_s:g} s (stallSeconds), in {heart.where()}, since {since}: leaving",
        file=sys.stderr,
        flush=True,
    )
    faulthandler.dump_traceback(all_threads=True)
    os._exit(EXIT_STALLED)
