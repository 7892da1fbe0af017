"""configs/cartpole.yaml as a person uses it: killed, gone on with, learned, scored beside chance."""

import json
import time
from pathlib import Path

import pytest
from headway.local.folder import Folder
from trainer_tests.local_tests.test_real_run import headway, run  # noqa: F401  (a fixture)
from trainer_tests.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CONFIG = str(Path(__file__).resolve().parents[3] / "configs" / "cartpole.yaml")
INEXACT = "resume is not exact: the environment cannot give its state: new episodes begin"


def test_cartpole_is_learned_over_a_kill(headway, tmp_path):  # noqa: F811
    folder, options = Folder(tmp_path / "poles"), ("--out", "poles", "--set", "checkpoint.everySeconds=1")
    first = headway("run", CONFIG, *options)
    checkpoints = folder.checkpoints / "default" / "cartpole"
    wait_for(lambda: len(list(checkpoints.glob("step-*/manifest.json"))) >= 2, timeout=200)
    first.kill()
    first.wait()

    code, out = run(headway, "run", CONFIG, *options)
    while code == 2 and "is training here" in out:  # what the dead one had started notices, saves and leaves
        time.sleep(0.5)
        code, out = run(headway, "run", CONFIG, *options)
    assert code == 0, out
    assert "balance passed: " in out  # of success and collisions nothing is known, and nothing is said
    assert "success" not in out.replace("   stage     success", "")
    assert "collisions" not in out
    assert folder.log(2).read_text().count(INEXACT) == 1
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps))
    assert rows[-1]["curriculum/gate_reward"] >= 475.0

    code, out = run(headway, "eval", "poles", "--levels", "20", "--json")
    assert code == 0, out
    scores = json.loads(out)["scores"]
    assert scores["policy"]["success"] is None
    assert scores["policy"]["reward"] > 400.0 > 100.0 > scores["random"]["reward"]
