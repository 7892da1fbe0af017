"""Ends a process that makes no progress: a hang in a library or a peer must not hold machines for ever."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headway_api.names import EXIT_STALLED


@contextmanager
def watchdog(stall_s: float) -> Iterator[Callable[[], None]]:
    """Yield `beat`: unless it is called every `stall_s` seconds, all stacks are dumped and the process leaves at once.

    It leaves with EXIT_STALLED and without clean-up, since a hang is in somebody's way. 0 watches nothing.
    """
    if stall_s <= 0:
        yield lambda: None
        return
    alive, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            if not alive.wait(stall_s) and not over.is_set():
                print(f"no update within {stall_s:g} s (stallSeconds): leaving", file=sys.stderr, flush=True)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(EXIT_STALLED)
            alive.clear()

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield alive.set
    finally:
        over.set()
        alive.set()
        thread.join()
