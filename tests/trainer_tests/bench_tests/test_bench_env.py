"""`headway bench env` on an environment that costs nothing."""

import json
import time
from pathlib import Path

import pytest
from headway.bench.env import TimedEnv, env_only, learning
from headway.bench.tasks import bench_spec
from headway.cli import main
from headway.envs import registry
from headway.errors import UserError
from trainer_tests.line_env import LineEnv

DEFAULT = str(Path(__file__).parents[3] / "configs" / "default.yaml")


@pytest.fixture(autouse=True)
def line_env(monkeypatch):
    made = []

    def make(spec, num_envs, offset=0, threads=1, device="cpu"):
        made.append(LineEnv(num_envs, offset, spec.seed))
        return made[-1]

    monkeypatch.setattr(registry, "make_vector_env", make)
    return made


@pytest.fixture
def slow(monkeypatch):
    """Let every step of the environment take 5 ms."""
    step = LineEnv.step
    monkeypatch.setattr(LineEnv, "step", lambda self, action: (time.sleep(0.005), step(self, action))[1])


def test_the_rate_is_environments_times_steps_a_second(slow):
    assert 0.1 * 16 / 0.005 < env_only(bench_spec("default", 16), 1, 0.2) < 16 / 0.005


def test_training_is_slower_than_inference_and_the_environments_share_is_of_both(slow):
    found = learning(bench_spec("default", 16), 1, 0.1)
    assert 0 < found.with_training < found.with_inference < 16 / 0.005
    assert found.with_training * 0.005 / 16 <= found.env_share < 1


def test_a_preset_makes_eight_minibatches_of_any_number_of_environments():
    for envs in (1, 7, 1024):
        spec = bench_spec("jaxnav", envs)
        assert spec.num_envs * spec.algo.ppo.rollout_steps == 8 * spec.algo.ppo.minibatch_size


def test_the_clock_runs_in_the_environment_only(slow):
    env = TimedEnv(LineEnv(2, 0, 0))
    observation = env.reset()
    assert env.seconds == 0
    env.features(observation)
    assert 0 < env.seconds < 0.005


def test_each_line_is_an_object_with_name_value_unit_and_params(capfd):
    assert main(["bench", "env", "--task", "default", "--envs", "4", "8", "--seconds", "0.1", "--threads", "1"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == 2 * ["env_steps", "env_inference_steps", "train_steps"]
    assert {line["unit"] for line in lines} == {"steps/s"} and all(line["value"] > 0 for line in lines)
    assert lines[3]["params"] == {"task": "default", "beams": 0, "envs": 8, "device": "cpu", "threads": 1}
    assert lines[5]["params"]["algo"] == "ppo" and 0 < lines[5]["env_share"] < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "mars"], "--task: found 'mars': give one of default, jaxnav"),
        (["--envs", "0"], "--envs: found 0: give numbers from 1 to 65536"),
        (["--seconds", "0"], "--seconds: found 0: give a time from 0.1 to 3600"),
        (["--threads", "0"], "--threads: found 0: give a number from 1 to 1024"),
    ],
)
def test_what_cannot_be_measured_is_named(capsys, arguments, message):
    assert main(["bench", "env", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_named(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["bench", "env", "--device", "cuda"]) == 2
    assert "--device cuda: torch finds no GPU here" in capsys.readouterr().err


def test_a_number_of_environments_that_the_file_cannot_have_is_named():
    with pytest.raises(UserError, match=r"--envs: found 3: .*minibatchSize must divide"):
        bench_spec(DEFAULT, 3)


def test_a_file_is_taken_in_its_last_stage_with_its_own_number_of_environments_and_no_tracker():
    spec = bench_spec(DEFAULT, 0)
    assert spec.curriculum.schedule.manual.stage == "people"
    assert spec.num_envs == 512
    assert spec.trackers.tensorboard is None
