"""The `headway` command as a person uses it, with nothing faked: trains, is interrupted, goes on, is scored."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
import yaml
from headway.local.folder import Folder
from headway.tracking import is_measured
from headway_api.training_run import TrainingRun
from trainer_tests.local_tests.test_document import MINIMAL
from trainer_tests.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TRAIN = MINIMAL["spec"]["train"] | {
    "totalSteps": 4096,
    "numEnvs": 8,
    "algo": {"ppo": {"rolloutSteps": 32, "minibatchSize": 128, "epochs": 1}},
    "network": {"mlp": {"hidden": [16]}},
    "env": {"nav": {"lidar": {"beams": 8}, "maxSteps": 100}},
}


@pytest.fixture
def headway(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(MINIMAL | {"spec": {"train": TRAIN}}))
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "headway", *arguments],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def run(headway, *arguments):
    process = headway(*arguments)
    out, _ = process.communicate(timeout=250)
    return process.returncode, out


def test_a_run_that_was_interrupted_goes_on_to_the_same_metrics_and_is_scored(headway, tmp_path):
    code, out = run(headway, "run", "tiny.yaml", "--out", "whole")
    assert code == 0, out
    assert "nav is complete" in out

    first = headway("run", "tiny.yaml", "--out", "parts")
    folder = Folder(tmp_path / "parts")
    wait_for(lambda: folder.metrics.exists() and folder.metrics.read_bytes().count(b"\n") >= 3, timeout=200)
    with contextlib.suppress(ProcessLookupError):
        os.kill(first.pid, signal.SIGINT)
    out, _ = first.communicate(timeout=100)
    assert first.returncode == 130, out
    assert "headway run tiny.yaml --out parts" in out
    assert folder.read().status.phase == "Suspended"

    code, out = run(headway, "run", "tiny.yaml", "--out", "parts")
    assert code == 0, out
    assert without_times(folder) == without_times(Folder(tmp_path / "whole"))
    status = folder.read().status
    assert (status.attempt, status.phase, status.progress.step) == (2, "Succeeded", 4096)
    goodput = status.progress.goodput
    assert goodput.start_up_seconds > 1.0  # two launches: imports alone take longer
    assert goodput.recompute_seconds == 0.0 and goodput.checkpointing_seconds > 0.0
    assert f"goodput    {100 * goodput.fraction:.0f} % of " in out

    code, out = run(headway, "eval", "parts", "--levels", "16", "--json")
    assert code == 0, out
    scores = json.loads(out)["scores"]
    assert set(scores) == {"policy", "go-straight", "astar"}
    assert scores["astar"]["success"]["rate"] == 1.0


def test_two_ranks_on_one_machine_and_a_changed_spec_is_refused(headway, tmp_path):
    short = ("--processes", "2", "--set", "train.totalSteps=512")
    code, out = run(headway, "run", "tiny.yaml", "--out", "two", *short)
    assert code == 0, out
    assert TrainingRun.model_validate(Folder(tmp_path / "two").read()).spec.world_size == 2

    code, out = run(headway, "run", "tiny.yaml", "--out", "two", *short, "--set", "train.seed=1")
    assert code == 2, out
    assert "train.seed: 0 -> 1" in out
    assert "Traceback" not in out


def without_times(folder):
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    return [{key: value for key, value in row.items() if not is_measured(key)} for row in rows]
