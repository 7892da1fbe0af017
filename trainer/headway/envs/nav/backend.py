"""Where the kernel runs and its arrays live: on the CPU in threads, or on a GPU (`cuda.Warps`).

Both keep the arrays of an environment under the same names, as torch tensors that share the kernel's memory.
"""

from __future__ import annotations

import importlib.util
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
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
        self._pool = ThreadPoolExecutor(threads)

    def run(self, task: int, params: Params, arrays: Arrays, action: Tensor, stage: int) -> None:
        """Do a task, shared among the threads."""
        work = partial(run, task, params, arrays, action.numpy(), stage)
        num_envs = len(arrays.count)
        if self._threads == 1:
            work(0, num_envs)
        else:  # more pieces than threads, because environments that begin a level take longer
            bounds = np.linspace(0, num_envs, 1 + min(4 * self._threads, num_envs), dtype=np.int64).tolist()
            list(self._pool.map(work, bounds[:-1], bounds[1:]))

    def fetch(self) -> None:
        """Nothing to do: there is one memory."""

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def make_backend(arrays: Arrays, threads: int, device: str) -> Backend:
    """Return the backend of a torch device; the CPU's, with a warning, where the compiler for GPUs is not installed."""
    if device.startswith("cuda"):
        if importlib.util.find_spec("numba_cuda") is not None:
            from headway.envs.nav.cuda import Warps

            return Warps(arrays, torch.device(device))
        log.warning("the environment runs on the CPU: pip install 'headway[cuda]' to run it on the GPU")
    return Threads(arrays, threads)
