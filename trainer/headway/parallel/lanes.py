"""Two pieces of work that share nothing, side by side: one thread each, and each its share of the CPU's threads.

Torch's own threads meet at the end of every operation, dozens of times in a gradient step; two lanes meet once. Results
do not depend on which lane is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def subnormals_are_zero() -> Iterator[None]:
    """Have this thread, and those that it starts meanwhile, take numbers below 1.2e-38 for zero.

    What Adam remembers of a weight that learns nothing any more shrinks to such numbers and stays there, and processors
    are slow with them: with a third of the units idle, Adam took 2.6 times as long.
    """
    before = flushes_subnormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def flushes_subnormals() -> bool:
    """Say whether this thread takes numbers below 1.2e-38 for zero."""
    return float(torch.tensor(1e-40) * 1.0) == 0.0


class Lanes:
    """Runs functions in 2 lanes where there are two threads or more, else one after the other.

    With `joins` the calling thread is one of the lanes, which saves waking another; its own number of threads stays.
    """

    def __init__(self, threads: int, joins: bool = False) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._joins = joins
        if threads >= 2:  # torch's number of threads is one of the calling thread
            self._pool = ThreadPoolExecutor(2 - joins, "lane", _begin, (threads // 2, flushes_subnormals()))

    def run(self, *work: Callable[[], T]) -> list[T]:
        """Return what the functions return, in their order. Raises what the first of them raised, once all ended."""
        if self._pool is None:
            return [function() for function in work]
        own = work[:1] if self._joins else ()
        others = [self._pool.submit(function) for function in work[len(own) :]]
        try:
            return [*(function() for function in own), *(future.result() for future in others)]
        except BaseException:
            wait(others)
            raise


def _begin(threads: int, flushes: bool) -> None:
    """A lane's thread computes as the one that made it."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flushes)
