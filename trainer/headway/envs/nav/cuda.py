"""The kernel on a GPU: one warp an environment. Its first lane drives and builds levels, all of them cast the beams.

Only the entry is here; what happens is in `step.py`, compiled for the GPU from the same functions. A block is one warp,
so that `syncthreads` costs nothing and an environment whose episode ends holds up no other.

numba and torch both use the device's legacy default stream, so that each sees what the other has written before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import cuda
from numba.core import config
from numpy.typing import NDArray
from torch import Tensor

from headway.envs.nav.arrays import Arrays, Params
from headway.envs.nav.backend import SHARED
from headway.envs.nav.step import BEGIN, STEP, act, begin, end, has_ended, keep_last, observe, rebuild

LANES = 32  # of a warp
SIMULATED = bool(config.ENABLE_CUDASIM)  # numba's simulator of a GPU works in the host's memory
# What `Warps.fetch` copies: all that the kernel writes. From `scenes` on the arrays are tables.
WRITTEN = tuple(name for name in Arrays._fields[: Arrays._fields.index("scenes")] if name != "now")


@cuda.jit
def run_lane(task, params, arrays, inputs, stage_number):  # type: ignore[no-untyped-def]
    """What one lane does for one environment; `inputs` is (action,), float32 [N, 2]."""
    i = cuda.blockIdx.x
    lane = cuda.threadIdx.x
    if task == STEP:
        if lane == 0:
            act(params, arrays, i, inputs[0][i])
        cuda.syncthreads()
        observe(params, arrays, i, lane, LANES, None)
        cuda.syncthreads()
        if has_ended(arrays, i):
            keep_last(arrays, i, lane, LANES)
            cuda.syncthreads()
            if lane == 0:
                end(arrays, i)
                begin(params, arrays, i, stage_number)
            cuda.syncthreads()
            observe(params, arrays, i, lane, LANES, None)
    elif task == BEGIN:
        if lane == 0:
            begin(params, arrays, i, stage_number)
        cuda.syncthreads()
        observe(params, arrays, i, lane, LANES, None)
    elif lane == 0:
        rebuild(params, arrays, i)


def launch(task: int, params: Params, arrays: Arrays, action: NDArray[Any], stage_number: int) -> None:
    """Do a task for all environments of `arrays`, which are on the device, as `action` [N, 2] is."""
    run_lane[arrays.count.shape[0], LANES](task, params, arrays, (action,), stage_number)


class Warps:
    """The kernel on one GPU, which keeps arrays of its own; `backend.Backend`. Torch and numba share their memory."""

    def __init__(self, arrays: Arrays, device: torch.device) -> None:
        self.device = torch.device("cpu") if SIMULATED else device
        if not SIMULATED:
            cuda.select_device(device.index or 0)
        self._host = arrays
        self._remembered = arrays.remembered
        self._arrays = Arrays(*map(_upload, arrays))
        self.tensors: dict[str, Tensor] = {name: self._share(getattr(self._arrays, name)) for name in SHARED}

    def run(self, task: int, params: Params, arrays: Arrays, action: Tensor, stage: int) -> None:
        """Do a task; what follows on the device's default stream sees its results."""
        _copy(arrays.now, self._arrays.now)
        if arrays.remembered is not self._remembered:
            self._remembered = arrays.remembered
            self._arrays = self._arrays._replace(remembered=_upload(arrays.remembered))
        given = action.numpy() if SIMULATED else cuda.as_cuda_array(action)
        launch(task, params, self._arrays, given, stage)

    def fetch(self) -> None:
        """Copy what the kernel has written to the arrays on the host."""
        for name in WRITTEN:
            found = getattr(self._arrays, name)
            getattr(self._host, name)[...] = found if SIMULATED else found.copy_to_host()

    def close(self) -> None:
        """Nothing to end: memory goes with the arrays."""

    def _share(self, array: Any) -> Tensor:
        if SIMULATED:
            return torch.from_numpy(array)
        if array.size == 0:  # has no memory that a tensor could share
            kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
            return torch.empty(array.shape, dtype=kind, device=self.device)
        return torch.as_tensor(array, device=self.device)  # by __cuda_array_interface__: no copy


def _upload(array: NDArray[Any]) -> Any:
    return array.copy() if SIMULATED else cuda.to_device(array)


def _copy(array: NDArray[Any], to: Any) -> None:
    if SIMULATED:
        to[...] = array
    else:
        to.copy_to_device(array)
