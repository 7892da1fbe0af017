"""Where the kernel runs and its arrays live: on the CPU in threads, or on a GPU (`cuda.Warps`).

Both keep the arrays of an environment under the same names, as torch tensors that share the kernel's memory.
"""

from __future__ import annotations

import importlib.util
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from headway.envs.nav.arrays import Arrays, Params
from headway.envs.nav.step import run

log = logging.getLogger("headway")
# What the future depends on. Grids are not in it: they are functions of the level's key and are made again.
STATE = (
    "robot",
    "count",
    "people",
    "legs",
    "last_action",
    "pending",
    "others",
    "trips",
    "other_observation",
)  # and this step's observations
OUTPUTS = ("observation", "reward", "outcome", "final_observation", "final_goal", "ended", "final_reward", "failed")
LEAST = 128  # environments of a piece
SHARED = (*STATE, *OUTPUTS, "other_action")  # with torch


class Backend(Protocol):
    """One way to run the kernel on one environment's arrays."""

    device: torch.device
    tensors: dict[str, Tensor]  # the arrays of SHARED, in the kernel's own memory

    def run(self, task: int, params: Params, arrays: Arrays, action: Tensor, stage: int) -> None:
        """Do a task for all environments; `action` float32 [N, 2] on `device`.

        Of `arrays`, those on the host, only `now` and `remembered` are looked at: what the shell itself may change.
        """
        ...

    def fetch(self) -> None:
        """Make the arrays on the host say what is so now, for what reads them there: planners, pictures."""
        ...

    def close(self) -> None:
        """End threads, where there are some."""
        ...


class Threads:
    """The kernel on the CPU, environments shared among threads; the arrays are those on the host."""

    device = torch.device("cpu")

    def __init__(self, arrays: Arrays, threads: int) -> None:
        self.tensors = {name: torch.from_numpy(getattr(arrays, name)) for name in SHARED}
        self._threads = threads
        num_envs = len(arrays.count)
        # More pieces than threads, because environments that begin a level take longer; but a call costs 20 us.
        pieces = min(max(num_envs // LEAST, threads), 4 * threads, num_envs)
        self._pieces = list(pairwise(num_envs * k // pieces for k in range(pieces + 1)))
        self._helpers = ThreadPoolExecutor(max(1, threads - 1))  # beside the thread that asks

    def run(self, task: int, params: Params, arrays: Arrays, action: Tensor, stage: int) -> None:
        """Do a task, shared among the threads."""
        work = partial(run, task, params, arrays, action.numpy(), stage)
        left = deque(self._pieces)
        others = [self._helpers.submit(_work_off, left, work) for _ in range(self._threads - 1)]
        _work_off(left, work)
        for other in others:
            other.result()

    def fetch(self) -> None:
        """Nothing to do: there is one memory."""

    def close(self) -> None:
        """End the threads."""
        self._helpers.shutdown()


def _work_off(left: deque[tuple[int, int]], work: Callable[[int, int], None]) -> None:
    """Take pieces as long as there are some."""
    while True:
        try:
            first, last = left.popleft()
        except IndexError:
            return
        work(first, last)


def make_backend(arrays: Arrays, threads: int, device: str) -> Backend:
    """Return the backend of a torch device; the CPU's, with a warning, where the compiler for GPUs is not installed."""
    if device.startswith("cuda"):
        if importlib.util.find_spec("numba_cuda") is not None:
            from headway.envs.nav.cuda import Warps

            return Warps(arrays, torch.device(device))
        log.warning("the environment runs on the CPU: pip install 'headway[cuda]' to run it on the GPU")
    return Threads(arrays, threads)
