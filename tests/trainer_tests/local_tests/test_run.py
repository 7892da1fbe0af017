"""`headway run` as a process, over a worker whose training is fake_training.py."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from headway.local.folder import Folder
from trainer_tests.local_tests.test_view import RUN
from trainer_tests.waiting import wait_for

pytestmark = pytest.mark.slow
FAKE = Path(__file__).with_name("fake_training.py")
PROGRAM = f"import sys; from headway.local import child; child.WORKER_COMMAND = (sys.executable, {str(FAKE)!r})\n\
from headway.cli import main; sys.exit(main())"


class Headway:
    """`headway run` in `folder`, writing to a terminal if asked to."""

    def __init__(self, folder, *arguments, terminal=False, **env):
        (folder / "run.yaml").write_text(yaml.safe_dump(RUN.to_wire()))
        self.folder = Folder(folder / "out")
        self.output = folder / "output"
        self.terminal, out = pty.openpty() if terminal else (None, self.output.open("wb"))
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "run", "run.yaml", "--out", "out", *arguments],
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", **env},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if terminal:
            os.close(out)

    def steps(self):
        report = self.folder.read_progress(self.folder.read().status.attempt) if self.folder.document.exists() else None
        return report.progress.step if report else 0

    def wait(self):
        code = self.process.wait(60)
        return code, self.output.read_text()

    def status(self):
        return self.folder.read().status


@pytest.fixture
def headway(tmp_path):
    started = []

    def start(*arguments, **options):
        started.append(Headway(tmp_path, *arguments, **options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_a_run_goes_through_its_stages_and_says_what_comes_next(headway):
    run = headway()
    code, said = run.wait()
    assert code == 0
    assert "stage 1/2 empty passed with 95 % success: 10,000 steps, 20s" in said
    assert "nav is complete: 2 of 2 stages passed in 20,000 steps" in said
    assert "headway eval out" in said
    assert run.status().is_true("Succeeded")
    assert run.status().progress.step == 20000


def test_a_run_that_is_led_back_says_so_and_says_again_what_it_passes(headway):
    code, said = headway(FAKE_DEMOTES="1", FAKE_UPDATE_S="0.1").wait()
    assert code == 0
    assert said.count("✓ stage 1/2 empty passed with 95 % success") == 2
    assert said.count("↓ back to stage 1/2 empty: the success rate fell too low") == 1
    assert "2 of 2 stages passed in 40,000 steps" in said


def test_a_run_that_begins_anew_announces_its_stages_again(headway):
    headway().wait()
    code, said = headway("--resume", "never").wait()
    assert code == 0
    assert "stage 1/2 empty passed" in said


def test_a_complete_run_ends_at_once_and_says_so(headway):
    headway().wait()
    code, said = headway().wait()
    assert code == 0
    assert "nav was complete already: 2 of 2 stages passed in 20,000 steps" in said


def test_ctrl_c_saves_says_how_to_go_on_and_the_same_command_does(headway, tmp_path):
    run = headway("--set", "train.seed=3", FAKE_UPDATE_S="0.1")
    wait_for(lambda: run.steps() >= 2000)
    run.process.send_signal(signal.SIGINT)
    code, said = run.wait()
    assert code == 130
    assert "nav is saved at step" in said
    assert "headway run run.yaml --set train.seed=3 --out out" in said
    assert run.status().phase == "Suspended"
    again = headway("--set", "train.seed=3")
    assert again.wait()[0] == 0
    assert again.status().attempt == 2
    steps = [json.loads(line)["step"] for line in again.folder.metrics.read_text().splitlines()]
    assert steps == list(range(1000, 21000, 1000))


def test_ctrl_c_before_the_trainer_can_listen_is_no_failure(headway):
    run = headway()
    wait_for(run.folder.document.exists)  # it is written just before the trainer is started
    run.process.send_signal(signal.SIGINT)
    code, said = run.wait()
    assert code == 130
    assert "nav was stopped before it trained" in said or "nav is saved at step" in said
    assert run.status().phase == "Suspended"


def test_a_second_ctrl_c_leaves_at_once(headway):
    run = headway(FAKE_UPDATE_S="5")
    wait_for(lambda: (run.folder.path / "trainingrun.yaml").exists())
    time.sleep(1.5)  # it is in its update
    begun = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    run.process.send_signal(signal.SIGINT)
    code, said = run.wait()
    assert code == 130
    assert "left without saving" in said
    assert time.monotonic() - begun < 3
    wait_for(lambda: _unlocked(run.folder))


def test_sigterm_and_the_end_of_the_budget_leave_with_75(headway):
    run = headway(FAKE_UPDATE_S="0.1")
    wait_for(lambda: run.steps())
    run.process.terminate()
    assert run.wait()[0] == 75
    limited = headway("--budget", "3s", FAKE_UPDATE_S="0.5")
    assert limited.wait()[0] == 75
    assert limited.status().phase == "Suspended"


def test_a_failure_shows_the_error_and_the_end_of_the_log(headway):
    run = headway(FAKE_FAIL_AT="3")
    code, said = run.wait()
    assert code == 1
    assert "nav failed: rank 0: RuntimeError: the loss is not finite" in said
    assert "out/logs/attempt-1.log" in said
    assert 'raise RuntimeError("the loss is not finite")' in said
    assert run.status().condition("Failed").message == "rank 0: RuntimeError: the loss is not finite"


def test_what_the_trainer_refuses_is_one_message_and_code_2(headway):
    code, said = headway(FAKE_REFUSES="1").wait()
    assert code == 2
    assert said.splitlines()[-1] == "error: train.env.nav.lidar.beams: 5: does not fit the checkpoint: give 36"
    assert "Traceback" not in said


def test_the_trainer_saves_and_leaves_when_headway_run_is_killed(headway):
    run = headway(FAKE_UPDATE_S="0.1")
    wait_for(lambda: run.steps())
    run.process.kill()
    wait_for(lambda: _unlocked(run.folder))
    assert run.folder.read_outcome(1)["outcome"] == "stopped"


def test_several_ranks_train_on_one_machine(headway):
    run = headway("--nodes", "2", "--processes", "2")
    code, said = run.wait()
    assert code == 0
    assert "4 ranks" in said
    assert run.folder.read().spec.world_size == 4


def test_on_a_terminal_the_lines_stay_in_place(headway):
    run = headway(terminal=True, FAKE_UPDATE_S="0.05")
    seen = b""
    with contextlib.suppress(OSError):  # EIO: the other end was closed
        while chunk := os.read(run.terminal, 65536):
            seen += chunk
    assert b"\x1b[1A" in seen  # the cursor goes up to draw over what was drawn
    assert "◐".encode() in seen
    assert b"nav is complete" in seen


def _unlocked(folder):
    try:
        os.close(folder.claim())
    except Exception:
        return False
    return True
