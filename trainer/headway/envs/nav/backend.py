"""Where the kernel runs and its arrays live: on the CPU in threads, or on a GPU (`cuda.Warps`).

Both keep the arrays of an environment under the same names, as torch tensors that share the kernel's memory.
"""

from __future__ import annotations

import importlib.util
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from headway.envs.nav.arrays import Arrays, Params
from headway.envs.nav.share import GROUP
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
        self._taken = np.zeros(1, np.int64)
        # No more threads than there are groups; the thread that asks is one of them.
        self._helping = min(threads, -(-len(arrays.count) // GROUP)) - 1
        self._helpers = ThreadPoolExecutor(max(1, self._helping))

    def run(self, task: int, params: Params, arrays: Arrays, action: Tensor, stage: int) -> None:
        """Do a task, shared among the threads."""
        self._taken[0] = 0
        given = (task, params, arrays, action.numpy(), stage, self._taken)
        helpers = [self._helpers.submit(run, *given) for _ in range(self._helping)]
        run(*given)
        for helper in helpers:
            helper.result()

    def fetch(self) -> None:
        """Nothing to do: there is one memory."""

    def close(self) -> None:
        """End the threads."""
        self._helpers.shutdown()


def make_backend(arrays: Arrays, threads: int, device: str) -> Backend:
    """Return the backend of a torch device; the CPU's, with a warning, where the compiler for GPUs is not installed."""
    if device.startswith("cuda"):
        if importlib.util.find_spec("numba_cuda") is not None:
            from headway.envs.nav.cuda import Warps

            return Warps(arrays, torch.device(device))
        log.warning("the environment runs on the CPU: pip install 'headway[cuda]' to run it on the GPU")
    return Threads(arrays, threads)
