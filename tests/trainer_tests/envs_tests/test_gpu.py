"""What only a GPU can show: `pytest -m gpu`. Skipped where there is none; the simulator's tests are in test_cuda."""

import pytest
import torch
from headway.envs.nav.vector import NavVectorEnv
from headway.run_context import RunContext
from headway.train import train
from headway_api.train_spec import TrainSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.timeout(600),  # compiles
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN ON A GPU: there is none here"),
]
LEVELS = {"world": {"clutter": {"sizeMeters": 6.0, "fill": 0.1, "walls": 1}}, "people": 2, "minGoalMeters": 1.0}
ENVS, STEPS = 64, 60


def close(gpu, cpu, name):
    torch.testing.assert_close(gpu.cpu().double(), cpu.double(), rtol=0, atol=1e-5, msg=lambda text: f"{name}: {text}")


def test_a_gpu_steps_as_the_cpu_does_from_the_same_state(make_spec):
    """A step at a time: rounding differs, and what follows a difference of the last bit may be another episode."""
    spec = make_spec(LEVELS, maxSteps=40)
    cpu, gpu = NavVectorEnv(spec, ENVS), NavVectorEnv(spec, ENVS, device="cuda")
    action = torch.rand((STEPS, ENVS, 2), generator=torch.Generator().manual_seed(0)) * 2 - 1
    cpu.reset()
    assert gpu.reset()["observation"].is_cuda
    ended = 0
    for k in range(STEPS):
        gpu.set_state(cpu.get_state())
        mine, theirs = cpu.step(action[k]), gpu.step(action[k].cuda())
        ended += len(mine.final_rows)
        close(theirs.reward, mine.reward, f"reward of step {k}")
        close(theirs.terminated, mine.terminated, f"terminated at step {k}")
        close(theirs.truncated, mine.truncated, f"truncated at step {k}")
        close(theirs.observation["observation"], mine.observation["observation"], f"observation {k}")
        close(theirs.final_observation["observation"], mine.final_observation["observation"], f"final observation {k}")
    assert ended >= ENVS


def test_torch_sees_the_kernels_own_memory(make_spec):
    env = NavVectorEnv(make_spec(LEVELS), 4, device="cuda")
    env.reset()
    assert env._tensors["robot"].data_ptr() == env._backend._arrays.robot.__cuda_array_interface__["data"][0]
    assert env.features(env.step(torch.zeros(4, 2, device="cuda")).observation).is_cuda


def test_a_run_learns_on_a_gpu_and_goes_on(tmp_path):
    spec = {
        "totalSteps": 6 * 64 * 16,
        "numEnvs": 64,
        "env": {"nav": {}},
        "algo": {"ppo": {"rolloutSteps": 16, "minibatchSize": 256}},
        "network": {"mlp": {}},
        "curriculum": {"stages": [{"name": "all", "levels": LEVELS}]},
    }
    run = RunContext("a", "a", "a", 1, tmp_path, tmp_path / "checkpoints", device="cuda")
    reports = []
    stopped = train(TrainSpec.model_validate(spec), run, lambda: len(reports) >= 3, reports.append)
    assert stopped.outcome == "stopped"
    done = train(TrainSpec.model_validate(spec), run, lambda: False, reports.append)
    assert done.outcome == "done"
    assert done.step == 6 * 64 * 16
    assert all(value == value for value in done.metrics.values())
