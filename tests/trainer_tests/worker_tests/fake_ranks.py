"""What a rank of these tests does instead of training: `python fake_ranks.py BEHAVIOUR NOTES`."""

import os
import signal
import sys
import time
from pathlib import Path

from headway.errors import UserError
from headway.rank import main
from headway.run_context import TrainResult

FOLDER = Path(os.environ["FAKE_FOLDER"])


def result(outcome):
    return TrainResult(outcome=outcome, step=42, checkpoint=FOLDER / "step-42", message="")


def done(spec, run, stop, report):
    return result("done")


def until_stopped(spec, run, stop, report):
    (FOLDER / f"pid-{run.rank}").write_text(str(os.getpid()))
    while not stop():
        time.sleep(0.02)
    (FOLDER / "saved").touch()
    return result("stopped")


def rank_1_raises(spec, run, stop, report):
    if run.rank == 1:
        raise RuntimeError("the loss is not finite")
    return until_stopped(spec, run, stop, report)


def both_raise(spec, run, stop, report):
    if run.rank == 0:  # as a rank does whose peer is gone
        while not (FOLDER / "failed").exists():
            time.sleep(0.02)
        time.sleep(0.3)
        raise RuntimeError("Connection closed by peer")
    (FOLDER / "failed").touch()
    raise RuntimeError("the loss is not finite")


def bad_checkpoint(spec, run, stop, report):
    raise UserError("checkpoint.resume: ./nowhere: does not exist: give a step-* folder")


def rank_1_is_killed(spec, run, stop, report):
    if run.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return until_stopped(spec, run, stop, report)


def leaves_75(spec, run, stop, report):
    os._exit(75)


def stalls(spec, run, stop, report):
    os._exit(74)


def long_error(spec, run, stop, report):
    raise RuntimeError('"\n\x00é' * 5000)


def half_done(spec, run, stop, report):
    return result("done" if run.rank == 0 else "stopped")


def says_threads(spec, run, stop, report):
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    (FOLDER / "threads").write_text(" ".join([str(run.threads), *(os.environ[name] for name in names)]))
    return result("done")


def says_when_it_was_launched(spec, run, stop, report):
    (FOLDER / "launched").write_text(repr(run.launched_at))
    return result("done")


def ignores_sigint(spec, run, stop, report):
    os.kill(os.getpid(), signal.SIGINT)
    return result("done")


def meets_the_others(spec, run, stop, report):
    from headway.parallel import join

    with join(run.rank, run.world_size) as group:
        (FOLDER / f"votes-{run.rank}").write_text(str(group.any(run.rank == 1)))
        while not any(group.any(stop())):
            time.sleep(0.02)
    return result("stopped")


def votes(spec, run, stop, report):
    """Ranks vote, and note how often; at its third vote FAKE_VICTIM sends itself the signal FAKE_SIGNAL."""
    from headway.parallel import join
    from headway.watchdog import Heart

    heart = Heart()
    with join(run.rank, run.world_size, silence_s=60.0, life_s=3.0, heart=heart) as group:
        for number in range(1, 1000):
            heart.beat("votes", number)
            if number == 3 and str(run.rank) == os.environ.get("FAKE_VICTIM"):
                os.kill(os.getpid(), signal.Signals[os.environ["FAKE_SIGNAL"]])
            group.any(False)
            (FOLDER / f"votes-{run.rank}").write_text(str(number))
            time.sleep(0.05)
    return result("done")


if __name__ == "__main__":
    sys.exit(main(globals()[sys.argv[1]], Path(sys.argv[2])))
