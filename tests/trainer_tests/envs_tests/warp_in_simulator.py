"""Run by test_cuda in a process with NUMBA_ENABLE_CUDASIM=1: warps of the simulator against the CPU's loop."""

import numpy as np
import torch
from headway.envs.nav.cuda import launch
from headway.envs.nav.step import BEGIN, REBUILD, STEP
from headway.envs.nav.vector import NavVectorEnv
from trainer_tests.envs_tests.conftest import build_spec

ENVS, STEPS = 4, 23
LEVELS = {
    "world": {"clutter": {"sizeMeters": 6.0, "fill": 0.1, "walls": 1}},
    "people": 2,
    "minGoalMeters": 1.0,
}
SAME = ("robot", "count", "people", "observation", "reward", "outcome", "ended", "final_observation", "final_goal")


def main() -> None:
    spec = build_spec(LEVELS, lidar={"beams": 41}, scanStack=2, maxSteps=10)
    cpu, gpu = NavVectorEnv(spec, ENVS), NavVectorEnv(spec, ENVS)
    action = torch.rand((STEPS, ENVS, 2), generator=torch.Generator().manual_seed(0)) * 2 - 1
    cpu.reset()
    gpu.arrays.now[:] = cpu.arrays.now
    launch(BEGIN, gpu.params, gpu.arrays, action[0].numpy(), 0)
    ended = 0
    for k in range(STEPS):
        ended += len(cpu.step(action[k]).final_rows)
        gpu.arrays.now[:] = cpu.arrays.now
        launch(STEP, gpu.params, gpu.arrays, action[k].numpy(), 0)
        for name in SAME:
            mine, other = getattr(cpu.arrays, name), getattr(gpu.arrays, name)
            np.testing.assert_allclose(other, mine, rtol=0, atol=1e-5, err_msg=f"{name} after step {k}")
    assert ended >= 2 * ENVS
    grid = gpu.arrays.grid.copy()
    gpu.arrays.grid[:] = 7
    launch(REBUILD, gpu.params, gpu.arrays, action[0].numpy(), 0)
    np.testing.assert_array_equal(gpu.arrays.grid, grid)


if __name__ == "__main__":
    main()
