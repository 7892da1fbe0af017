"""`headway study` as a process, over runs whose training is fake_training.py."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest
import yaml
from headway_api.load import load_run
from optuna.trial import TrialState
from specs import small_study
from trainer_tests.waiting import wait_for

pytestmark = pytest.mark.slow
FAKE = Path(__file__).parents[1] / "local_tests" / "fake_training.py"
PROGRAM = f"import sys; from headway.local import child; child.WORKER_COMMAND = (sys.executable, {str(FAKE)!r})\n\
from headway.cli import main; sys.exit(main())"
SPACE = [{"path": "train.algo.ppo.learningRate", "float": {"low": 1e-4, "high": 1e-2, "log": True}}]


def write(folder: Path, **spec: object) -> Path:
    """A study of runs of ten updates, evaluated five times."""
    document = small_study(parameters=SPACE, budget={"trials": 6, "parallel": 2}, **spec)
    document["spec"]["runTemplate"]["train"] |= {"totalSteps": 10_000, "evaluation": {"everySteps": 2000}}
    document["spec"]["runTemplate"]["failurePolicy"] = {"maxRestarts": 1}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def start(spec: Path, out: Path, *options: str, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "study", str(spec), "--out", str(out), *options]
    return subprocess.Popen(command, env=os.environ | env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=90)
    return process.returncode, " ".join(said.split())  # lines are wrapped


def states(out: Path) -> Counter[TrialState]:
    """States of the trials in the storage; each number is there once."""
    (name,) = optuna.get_all_study_names(url := f"sqlite:///{out / 'study.db'}")
    trials = optuna.load_study(study_name=name, storage=url).trials
    numbers = [trial.user_attrs["headway:number"] for trial in trials]
    assert sorted(numbers) == list(range(len(trials)))
    return Counter(trial.state for trial in trials)


def until_running(out: Path, trials: int) -> None:
    wait_for(lambda: len(list(out.glob("trials/*/metrics.jsonl"))) >= trials)


def until_free(out: Path) -> None:
    """Wait until no run holds its folder."""
    wait_for(lambda: all(is_free(path) for path in out.glob("trials/*/.lock")))


def is_free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_all_trials_are_run_and_the_best_is_a_run_that_headway_takes(tmp_path: Path) -> None:
    code, said = finish(start(write(tmp_path), tmp_path / "out"))
    assert code == 0, said
    found = states(tmp_path / "out")
    assert found[TrialState.COMPLETE] + found[TrialState.PRUNED] == 6
    best = load_run(tmp_path / "out" / "best.yaml")
    assert best.metadata.name == "search-tuned"
    rates = [load_run(path).spec.train.algo.ppo for path in (tmp_path / "out").glob("trials/*/trainingrun.yaml")]
    assert best.spec.train.algo.ppo.learning_rate in [ppo.learning_rate for ppo in rates if ppo is not None]
    assert "search is complete: " in said


def test_a_median_pruner_stops_the_worse_ones_which_save_and_leave(tmp_path: Path) -> None:
    engine = {"optuna": {"pruner": {"median": {"startupTrials": 2}}, "sampler": {"qmc": {}}}}
    code, said = finish(start(write(tmp_path, engine=engine), tmp_path / "out", "--trials", "8", FAKE_UPDATE_S="0.2"))
    assert code == 0, said
    found = states(tmp_path / "out")
    assert found[TrialState.PRUNED] >= 1
    assert sum(found.values()) == 8


def test_ctrl_c_saves_and_the_same_command_goes_on_to_exactly_n(tmp_path: Path) -> None:
    spec, out = write(tmp_path), tmp_path / "out"
    process = start(spec, out, FAKE_UPDATE_S="1.5")
    until_running(out, 2)
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 130, said
    assert "search is saved: " in said and "go on" in said
    assert states(out)[TrialState.RUNNING] == 2
    code, said = finish(start(spec, out))
    assert code == 0, said
    found = states(out)
    assert found[TrialState.RUNNING] == 0
    assert sum(found.values()) == 6


def test_a_killed_study_takes_its_runs_with_it_and_goes_on(tmp_path: Path) -> None:
    spec, out = write(tmp_path), tmp_path / "out"
    process = start(spec, out, FAKE_UPDATE_S="1.5")
    until_running(out, 2)
    process.kill()
    process.wait()
    until_free(out)  # the runs notice that it is gone, save and leave
    code, said = finish(start(spec, out))
    assert code == 0, said
    assert sum(states(out).values()) == 6
    assert states(out)[TrialState.RUNNING] == 0


def test_runs_that_always_die_are_failed_after_their_restarts(tmp_path: Path) -> None:
    code, said = finish(start(write(tmp_path), tmp_path / "out", "--trials", "2", FAKE_FAIL_AT="3"))
    assert code == 1, said
    assert states(tmp_path / "out") == {TrialState.FAIL: 2}
    assert "it goes on from its checkpoint" in said
    assert "the loss is not finite" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("--set", "budget.parallel=9"), "parallel must be at most trials"),
        (("--trials", "0"), "--trials: found 0"),
        (("--set", "parameters[0].path=train.algo.ppo.learningrate"), "is not a known field"),
        (("--set", "runTemplate.train.numEnvs=0"), "spec.runTemplate.train.numEnvs: found 0"),
    ],
)
def test_a_bad_study_is_one_message_and_exit_code_2(tmp_path: Path, change: tuple[str, ...], says: str) -> None:
    code, said = finish(start(write(tmp_path), tmp_path / "out", *change))
    assert (code, says in said, "Traceback" in said) == (2, True, False), said
    assert not (tmp_path / "out" / "study.db").exists()


def test_another_space_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    spec, out = write(tmp_path), tmp_path / "out"
    assert finish(start(spec, out, "--trials", "1", "--parallel", "1"))[0] == 0
    code, said = finish(start(spec, out, "--set", "parameters[0].float.high=0.02"))
    assert code == 2
    assert "holds this study with another spec.parameters" in said
