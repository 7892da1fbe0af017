"""Two pieces of work that share nothing, side by side: one thread each, and each its share of the CPU's threads.

Torch's own threads meet at the end of every operation, dozens of times in a gradient step; two lanes meet once. Results
do not depend on which lane is faster.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


class Lanes:
    """Runs functions in `2` lanes where there are two threads or more, else one after the other."""

    def __init__(self, threads: int) -> None:
        self._pool: ThreadPoolExecutor | None = None
        if threads >= 2:  # torch's number of threads is one of the calling thread
            self._pool = ThreadPoolExecutor(2, "lane", torch.set_num_threads, (threads // 2,))

    def run(self, *work: Callable[[], T]) -> list[T]:
        """Return what the functions return, in their order. Raises what the first of them raised."""
        if self._pool is None:
            return [function() for function in work]
        return [future.result() for future in [self._pool.submit(function) for function in work]]
