"""The kernel on a GPU: one warp an environment. Its first lane drives and builds levels, all of them cast the beams.

Only the entry is here; what happens is in `step.py`, compiled for the GPU from the same functions. A block is one warp,
so that `syncthreads` costs nothing and an environment whose episode ends holds up no other.
"""

from __future__ import annotations

from typing import Any

from numba import cuda
from numpy.typing import NDArray

from headway.envs.nav.arrays import Arrays, Params
from headway.envs.nav.step import BEGIN, STEP, act, begin, end, has_ended, keep_last, observe, rebuild

LANES = 32  # of a warp


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
