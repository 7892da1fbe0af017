"""`headway study` with Ray Tune as a process, over runs whose training is fake_training.py."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from headway_api.load import load_run
from optuna.trial import TrialState
from trainer_tests.hpo_tests.test_local_study import finish, start, states, until_free, until_running, write

pytest.importorskip("ray.tune")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ASHA = {"rayTune": {"scheduler": {"asha": {"reductionFactor": 2}}, "searcher": {"random": {}}}}


def test_asha_stops_some_and_the_best_is_a_run_that_headway_takes(tmp_path: Path) -> None:
    code, said = finish(start(write(tmp_path, engine=ASHA), tmp_path / "out", "--trials", "8", FAKE_UPDATE_S="0.1"))
    assert code == 0, said
    found = states(tmp_path / "out")
    assert found[TrialState.PRUNED] >= 1
    assert found[TrialState.COMPLETE] + found[TrialState.PRUNED] == 8
    assert load_run(tmp_path / "out" / "best.yaml").metadata.name == "search-best"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_study_that_was_left_or_killed_goes_on_to_exactly_n(tmp_path: Path, sign: int) -> None:
    spec, out = write(tmp_path, engine=ASHA), tmp_path / "out"
    process = start(spec, out, FAKE_UPDATE_S="0.5")
    until_running(out, 2)
    process.send_signal(sign)
    process.wait(60)
    until_free(out)
    assert states(out)[TrialState.RUNNING] == 2
    code, said = finish(start(spec, out))
    assert code == 0, said
    assert sum(states(out).values()) == 6
    assert states(out)[TrialState.RUNNING] == 0
    attempts = [load_run(path).status for path in out.glob("trials/*/trainingrun.yaml")]
    assert max(status.attempt for status in attempts if status is not None) >= 2
