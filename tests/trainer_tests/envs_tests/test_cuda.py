"""The kernel on a GPU. Without one: the simulator's warps do what the CPU does, and the compiler accepts every line."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from headway.envs.nav.vector import NavVectorEnv

TESTS = Path(__file__).parents[2]
LEVELS = {"world": {"clutter": {"sizeMeters": 6.0, "fill": 0.1, "walls": 1}}, "people": 2, "minGoalMeters": 1.0}


@pytest.mark.slow
@pytest.mark.timeout(600)  # compiles, where nothing did before
def test_warps_of_the_simulator_do_what_the_cpu_does():
    paths = os.pathsep.join([str(TESTS), *(path for path in sys.path if path)])
    env = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-m", "trainer_tests.envs_tests.warp_in_simulator"]
    done = subprocess.run(command, env=env, cwd=TESTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_kernel_compiles_for_a_gpu_without_a_driver(make_spec, monkeypatch):
    capability = (9, 0)
    from headway.envs.nav.cuda import run_lane
    from numba import cuda
    from numba.cuda import dispatcher
    from numba.cuda.typing.typeof import typeof

    monkeypatch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=capability))
    env = NavVectorEnv(make_spec(LEVELS), 1)
    action = (np.zeros((1, 2), np.float32),)
    given = (numba.int64, typeof(env.params), typeof(env.arrays), typeof(action), numba.int64)
    ptx, _ = cuda.compile_ptx(run_lane.py_func, numba.void(*given), cc=capability)
    assert ".target sm_90" in ptx
    assert ".visible .entry" in ptx
