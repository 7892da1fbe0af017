"""`headway study` with Ray Tune as a process, over runs whose training is fake_training.py."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from headway_api.load import load_run
from optuna.trial import TrialState
from specs import small_study
from trainer_tests.hpo_tests.test_local_study import start, states, until_free, write
from trainer_tests.waiting import wait_for

pytest.importorskip("ray.tune")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
STARTING_S = 120.0  # Ray, and an actor for each trial, take seconds to start
ASHA = {"rayTune": {"scheduler": {"asha": {"reductionFactor": 2}}, "searcher": {"random": {}}}}


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=240)
    return process.returncode, " ".join(said.split())


def until_training(out: Path, trials: int) -> None:
    wait_for(lambda: len(list(out.glob("trials/*/metrics.jsonl"))) >= trials, timeout=STARTING_S)


def test_asha_stops_some_and_the_best_is_a_run_that_headway_takes(tmp_path: Path) -> None:
    code, said = finish(start(write(tmp_path, engine=ASHA), tmp_path / "out", "--trials", "4", FAKE_UPDATE_S="0.1"))
    assert code == 0, said
    found = states(tmp_path / "out")
    assert found[TrialState.PRUNED] >= 1
    assert found[TrialState.COMPLETE] + found[TrialState.PRUNED] == 4
    assert load_run(tmp_path / "out" / "best.yaml").metadata.name == "search-tuned"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_study_that_was_left_or_killed_goes_on_to_exactly_n(tmp_path: Path, sign: int) -> None:
    spec, out = write(tmp_path, engine=ASHA), tmp_path / "out"
    process = start(spec, out, "--trials", "3", FAKE_UPDATE_S="1.0")
    until_training(out, 2)
    process.send_signal(sign)
    process.wait(120)
    until_free(out)
    assert states(out)[TrialState.RUNNING] == 2
    code, said = finish(start(spec, out, "--trials", "3"))
    assert code == 0, said
    assert sum(states(out).values()) == 3
    assert states(out)[TrialState.RUNNING] == 0
    assert len(list(out.glob("trials/*/checkpoints/*"))) >= 2  # who was stopped has saved
    attempts = [load_run(path).status for path in out.glob("trials/*/trainingrun.yaml")]
    assert max(status.attempt for status in attempts if status is not None) >= 2


@pytest.fixture
def cluster() -> Iterator[str]:
    """A Ray cluster of one node; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--head", "--port", str(port), "--num-cpus", "2", "--include-dashboard", "false", "--block"]
    ray = str(Path(sys.executable).with_name("ray"))
    node = subprocess.Popen([ray, "start", *options], stdout=subprocess.DEVNULL, start_new_session=True)
    yield f"127.0.0.1:{port}"
    node.terminate()
    node.wait(60)


@pytest.mark.integration
def test_trials_run_on_a_ray_cluster_that_is_there_already(tmp_path: Path, cluster: str) -> None:
    engine = {"rayTune": {"searcher": {"random": {}}, "address": cluster}}
    host, port = cluster.split(":")
    wait_for(lambda: socket.socket().connect_ex((host, int(port))) == 0, timeout=STARTING_S)
    code, said = finish(start(write(tmp_path, engine=engine), tmp_path / "out", "--trials", "2"))
    assert code == 0, said
    assert sum(states(tmp_path / "out").values()) == 2


@pytest.mark.integration
def test_a_ray_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    engine = {"rayTune": {"searcher": {"random": {}}, "address": "127.0.0.1:9"}}
    code, said = finish(start(write(tmp_path, engine=engine), tmp_path / "out", "--trials", "2"))
    assert code == 2, said
    assert "spec.engine.rayTune.address: found '127.0.0.1:9'" in said


@pytest.mark.integration
def test_asha_over_real_runs_ends_with_a_best_that_was_trained(tmp_path: Path) -> None:
    spec = tmp_path / "study.yaml"
    spec.write_text(yaml.safe_dump(small_study(engine=ASHA, budget={"trials": 3, "parallel": 1})))
    command = [sys.executable, "-m", "headway", "study", str(spec), "--out", str(tmp_path / "out")]
    code, said = finish(subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    assert code == 0, said
    found = states(tmp_path / "out")
    assert found[TrialState.COMPLETE] >= 1
    assert found[TrialState.COMPLETE] + found[TrialState.PRUNED] == 3
    assert load_run(tmp_path / "out" / "best.yaml").spec.train.num_envs == 16
    assert list((tmp_path / "out").glob("trials/*/checkpoints/**/model.safetensors"))
