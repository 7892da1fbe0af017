"""A deduplicating, rate-limited work queue, as controller-runtime's: kopf neither coalesces nor retries events.

A key that is added while it waits is there once; one that is added while it is worked on is worked on once more
afterwards, and never by two workers at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from headway_operator.shell import metrics

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 300.0


class WorkQueue(Generic[K]):
    """Keys that are due, and keys that will be."""

    def __init__(self) -> None:
        self._due: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: dict[K, float] = {}  # due and not taken, with the time since when
        self._taken: set[K] = set()
        self._again: set[K] = set()  # added while taken
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Make the key due now."""
        self._cancel_timer(key)
        if key in self._taken:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().time()
            self._due.put_nowait(key)
            metrics.QUEUE_DEPTH.set(len(self._waiting))

    def add_after(self, key: K, seconds: float) -> None:
        """Make the key due later, unless it is due sooner already."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def retry(self, key: K) -> float:
        """Make the key due after its backoff, which doubles with every failure in a row; return the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures, 16))
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """The key has succeeded: its next failure is a first one."""
        self._failures.pop(key, None)

    async def take(self) -> K:
        """Wait for a key that is due; `release` it afterwards."""
        key = await self._due.get()
        since = self._waiting.pop(key)
        metrics.QUEUE_SECONDS.observe(asyncio.get_running_loop().time() - since)
        metrics.QUEUE_DEPTH.set(len(self._waiting))
        self._taken.add(key)
        return key

    def release(self, key: K) -> None:
        """The key is worked on no longer."""
        self._taken.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _cancel_timer(self, key: K) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()


async def work(queue: WorkQueue[K], act: Callable[[K], Awaitable[float | None]]) -> None:
    """Take keys for ever. `act` returns the seconds until the key is due again, or None. No key can stop the worker."""
    while True:
        key = await queue.take()
        try:
            with metrics.RECONCILE_SECONDS.time():
                seconds = await act(key)
        except Exception:
            metrics.RECONCILES.labels("error").inc()
            wait = queue.retry(key)
            log.exception("%s: failed; trying again in %.1f s", key, wait)
        else:
            metrics.RECONCILES.labels("ok").inc()
            queue.forget(key)
            if seconds is not None:
                queue.add_after(key, seconds)
        finally:
            queue.release(key)
