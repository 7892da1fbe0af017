import os
import subprocess
import sys
import time

import pytest
from headway.watchdog import Heart, watchdog
from headway_api.names import EXIT_STALLED
from trainer_tests.parallel_tests import gang, hanging

HANGS = """
import time
from headway.watchdog import watchdog
def stuck_here():
    time.sleep(60)
with watchdog(0.3) as heart:
    heart.beat("collect", 12)
    stuck_here()
"""


def test_a_process_without_a_sign_of_life_dumps_its_stacks_and_leaves_with_its_own_code():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, env=environment, timeout=30, check=False
    )
    assert result.returncode == EXIT_STALLED
    assert "no sign of life for 0.3 s (stallSeconds), in collect, update 12, since " in result.stderr
    assert "stuck_here" in result.stderr


def test_beats_keep_it_alive_and_the_end_ends_it():
    with watchdog(0.3) as heart:
        for _ in range(4):
            time.sleep(0.15)
            heart.beat()
    time.sleep(0.4)  # were it still watching, this process would be gone


def test_zero_watches_nothing():
    with watchdog(0.0) as heart:
        heart.beat()


def test_a_beat_says_what_is_new_and_the_rest_stays():
    heart = Heart()
    assert heart.where() == "start"
    heart.beat("collect", 7)
    heart.beat()
    assert heart.where() == "collect, update 7"
    heart.beat("save")
    assert heart.where() == "save, update 7"


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["collect", "update", "evaluation", "save"])
def test_a_hang_is_found_and_named_in_every_phase(tmp_path, phase):
    ((code, output),) = gang.finish(gang.start(1, hanging.train_and_hang, phase, tmp_path))
    assert code == EXIT_STALLED
    assert f"no sign of life for 2 s (stallSeconds), in {phase}, update 2, since " in output
    assert "hang_for_ever" in output


@pytest.mark.slow
def test_an_update_that_takes_long_is_no_stall_as_long_as_it_makes_gradient_steps(tmp_path):
    ((code, output),) = gang.finish(gang.start(1, hanging.train_and_hang, "slow", tmp_path))
    assert code == 0, output


@pytest.mark.slow
def test_the_rank_that_holds_up_the_other_leaves_first(tmp_path):
    ranks = gang.start(2, hanging.train_and_hang, "one of two", tmp_path)
    assert ranks[1].wait(60) == EXIT_STALLED
    assert ranks[0].process.is_alive()  # for the launcher to end
    ranks[0].process.kill()
    assert "in collect, update 2" in gang.finish(ranks)[1][1]


@pytest.mark.slow
def test_a_foreign_environment_that_hangs_is_found_and_ends_with_its_rank(tmp_path):
    ((code, output),) = gang.finish(gang.start(1, hanging.train_on_a_toy, tmp_path))
    assert code == EXIT_STALLED
    assert "in collect, update 2, since " in output
    deadline = time.monotonic() + 20
    hung = int((tmp_path / "pid").read_text())
    while os.path.exists(f"/proc/{hung}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{hung}")
