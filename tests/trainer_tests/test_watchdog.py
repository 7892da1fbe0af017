import os
import subprocess
import sys
import time

from headway.watchdog import watchdog
from headway_api.names import EXIT_STALLED

HANGS = """
import time
from headway.watchdog import watchdog
def stuck_here():
    time.sleep(60)
with watchdog(0.3) as beat:
    beat()
    stuck_here()
"""


def test_a_process_without_progress_dumps_its_stacks_and_leaves_with_its_own_code():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, env=environment, timeout=30, check=False
    )
    assert result.returncode == EXIT_STALLED
    assert "no update within 0.3 s (stallSeconds)" in result.stderr
    assert "stuck_here" in result.stderr


def test_beats_keep_it_alive_and_the_end_ends_it():
    with watchdog(0.3) as beat:
        for _ in range(4):
            time.sleep(0.15)
            beat()
    time.sleep(0.4)  # were it still watching, this process would be gone


def test_zero_watches_nothing():
    with watchdog(0.0) as beat:
        beat()
