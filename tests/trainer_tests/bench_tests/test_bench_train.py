"""`headway bench train`: whole runs by number of ranks."""

import json

import pytest
from headway.bench import train as bench
from headway.bench.tasks import ALGOS, bench_spec, with_algo
from headway.cli import main
from headway.errors import UserError
from headway.parallel import check_divisible


def test_weak_scaling_gives_each_rank_what_one_alone_had():
    spec = bench.grown(bench_spec("default", 64), 3)
    assert (spec.num_envs, spec.algo.ppo.minibatch_size, spec.algo.ppo.rollout_steps) == (192, 3 * 64 * 32 // 8, 32)
    sac = bench.grown(with_algo(bench_spec("default", 64), "sac"), 2).algo.sac
    assert (sac.batch_size, sac.learning_starts, sac.update_steps) == (512, 2048, 2 * 64 * 32)
    assert sac.replay.capacity == 2 * 65536 and sac.train_every == 1


@pytest.mark.parametrize("algo", ALGOS)
def test_any_algorithm_learns_the_task_by_one_two_and_four_ranks(algo):
    spec = with_algo(bench_spec("default", 64), algo)
    assert spec.algo.chosen()[0] == algo
    for processes in (1, 2, 4):
        check_divisible(spec, processes)


def test_medians_are_of_the_turns_and_speed_ups_of_each_turns_ratio(monkeypatch):
    measured = iter([100.0, 150.0, 50.0, 95.0, 110.0, 187.0])  # 1.5, 1.9 and 1.7 times
    monkeypatch.setattr(bench, "_rate", lambda spec, processes, seconds: next(measured))
    spec = bench_spec("default", 64)
    one, two = bench.rates([(1, spec), (2, spec)], 1.0, 3)
    assert (one.steps_per_s, one.speedup) == (100.0, 1.0)
    assert (two.steps_per_s, two.speedup) == (150.0, 1.7)


def test_each_line_is_an_object_with_name_value_unit_and_params(monkeypatch, capfd):
    measured = iter([100.0, 150.0])
    monkeypatch.setattr(bench, "_rate", lambda spec, processes, seconds: next(measured))
    monkeypatch.setattr("os.environ", {})
    assert main(["bench", "train", "--envs", "64", "--repeats", "1", "--scaling", "weak"]) == 0
    _, line = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert (line["name"], line["value"], line["unit"]) == ("train_steps", 150, "steps/s")
    assert (line["speedup"], line["efficiency"]) == (1.5, 0.75)
    del line["params"]["cores"]
    assert line["params"] == {
        "algo": "ppo", "task": "default", "device": "cpu", "processes": 2, "threads": 1, "envs": 128, "scaling": "weak",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes", "0"], "--processes: found 0: give numbers from 1 to 64"),
        (["--envs", "64", "--processes", "3"], "train.numEnvs: 64: does not divide by 3 ranks"),
        (["--repeats", "0"], "--repeats: found 0: give a number from 1 to 100"),
        (["--task", "mars"], "--task: found 'mars': give one of default, jaxnav"),
    ],
)
def test_what_cannot_be_measured_is_named(capsys, arguments, message):
    assert main(["bench", "train", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_two_ranks_train_until_they_have_made_enough_updates():
    assert bench._rate(bench_spec("default", 16), 2, 0.1) > 0


@pytest.mark.slow
def test_a_training_that_fails_is_told_with_the_end_of_its_log():
    spec = bench_spec("default", 16).model_copy(update={"init_from": "/nowhere"})
    with pytest.raises(UserError, match=r"ended with exit code 2 before 2 updates:\n(.|\n)*/nowhere"):
        bench._rate(spec, 1, 0.1)
