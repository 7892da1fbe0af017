"""Run by test_cuda in a process with NUMBA_ENABLE_CUDASIM=1: warps of the simulator against the CPU's threads."""

import numpy as np
import torch
from headway.envs.nav.backend import STATE, Threads
from headway.envs.nav.cuda import Warps
from headway.envs.nav.vector import NavVectorEnv
from trainer_tests.envs_tests.conftest import build_spec

ENVS, STEPS = 4, 23
LEVELS = {
    "world": {"clutter": {"sizeMeters": 6.0, "fill": 0.1, "walls": 1}},
    "people": 2,
    "minGoalMeters": 1.0,
}
TABLE = torch.tensor([[0, 0], [3, 2]]), torch.tensor([1, 2])


def same(gpu: torch.Tensor, cpu: torch.Tensor, name: str) -> None:
    np.testing.assert_allclose(gpu.numpy(), cpu.numpy(), rtol=0, atol=1e-5, err_msg=name)


def main() -> None:
    spec = build_spec(LEVELS, lidar={"beams": 41}, scanStack=2, maxSteps=10)
    cpu, gpu = NavVectorEnv(spec, ENVS), NavVectorEnv(spec, ENVS, device="cuda")
    assert isinstance(cpu._backend, Threads)
    assert isinstance(gpu._backend, Warps)
    assert not np.shares_memory(gpu._tensors["robot"].numpy(), gpu.arrays.robot)
    action = torch.rand((STEPS, ENVS, 2), generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(cpu.reset()["desired_goal"], gpu.reset()["desired_goal"])
    ended = remembered = 0
    for k in range(STEPS):
        if k == 5:
            cpu.remember_levels(*TABLE, 1.0)
            gpu.remember_levels(*TABLE, 1.0)
        mine, theirs = cpu.step(action[k]), gpu.step(action[k])
        ended += len(mine.final_rows)
        remembered += int((mine.episodes.slot[mine.episodes.ended] >= 0).sum())
        for name in (*STATE, "observation"):
            same(gpu.get_state()[name], cpu.get_state()[name], f"{name} after step {k}")
        for field in ("reward", "terminated", "truncated", "final_rows"):
            same(getattr(theirs, field), getattr(mine, field), f"{field} of step {k}")
        for name in ("observation", "desired_goal"):
            same(theirs.final_observation[name], mine.final_observation[name], f"final {name} of step {k}")
        for field in ("length", "level", "slot", "total_reward", "success"):
            same(getattr(theirs.episodes, field), getattr(mine.episodes, field), f"{field} of step {k}")
    assert ended >= 2 * ENVS
    assert remembered >= 1
    everybody = torch.ones(ENVS, dtype=torch.bool)
    same(gpu.shortest_path_meters(everybody), cpu.shortest_path_meters(everybody), "paths")
    # What a CPU has saved goes on on a GPU, whose grids are made again from the levels' keys.
    grid = gpu._backend._arrays.grid
    before = grid.copy()
    grid[:] = 7
    gpu.set_state(cpu.get_state())
    np.testing.assert_array_equal(grid, before)
    same(gpu.step(action[0]).observation["observation"], cpu.step(action[0]).observation["observation"], "resumed")


if __name__ == "__main__":
    main()
