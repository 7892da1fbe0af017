"""A `headway worker` of one rank that trains without learning: stages pass on schedule, saved state is one number.

The reporter and the trackers are real; launcher and rank are not here (worker_tests has them), since they would load
torch each time. FAKE_UPDATE_S slows it down, FAKE_FAIL_AT names the update at which it raises, FAKE_DEMOTES leads it
back to the first stage once. Evaluations find more success the nearer the learning rate is to 1e-3.
"""

import json
import math
import os
import signal
import sys
import threading
import time
import traceback
from itertools import pairwise
from pathlib import Path

from headway.errors import UserError
from headway.launch.outcome import of_failed_ranks, of_finished_ranks
from headway.launch.record import Record
from headway.launch.settings import from_environment
from headway.rank import run_context
from headway.reporter import make_reporter
from headway.run_context import CheckpointRef, ProgressSnapshot, TrainResult
from headway.tracking import make_tracker
from headway_api import load
from headway_api.progress import CurriculumProgress

STEPS = 1000  # an update
UPDATES_A_STAGE = 10


def train(spec, run, stop, report):
    saved = run.checkpoints / "step.json"
    update = 0
    tracker = make_tracker(spec.trackers, run.out, run.rank)
    if saved.exists() and run.resume == "auto":
        update = json.loads(saved.read_text())["update"]
        tracker.resume(update * STEPS, {})
    names, last = [stage.name for stage in spec.curriculum.stages], CheckpointRef(0, saved, time.time())
    course = [0, 1, 0, 1] if os.environ.get("FAKE_DEMOTES") else list(range(len(names)))  # stages, one after another
    total = min(spec.total_steps // STEPS, len(course) * UPDATES_A_STAGE)
    if os.environ.get("FAKE_REFUSES"):
        raise UserError("train.env.nav.lidar.beams: 5: does not fit the checkpoint: give 36")
    while update < total:
        if str(update) == os.environ.get("FAKE_FAIL_AT"):
            raise RuntimeError("the loss is not finite")
        stage, share = course[update // UPDATES_A_STAGE], update % UPDATES_A_STAGE
        time.sleep(float(os.environ.get("FAKE_UPDATE_S", "0.01")))
        update += 1
        rate = 0.5 + 0.05 * share
        metrics = {
            "curriculum/stage": float(stage + 1),
            "curriculum/gate_success_rate": rate,
            "curriculum/gate_lower_bound": rate - 0.03,
            "curriculum/gate_episodes": min(1000.0, 200.0 * (share + 1)),
            "episodes/reward": 10 * rate - 5,
            "episodes/collision_rate": 1 - rate,
        }
        every = spec.evaluation.every_steps
        if every and update * STEPS % every == 0:  # the best learning rate is 1e-3
            score = max(0.0, 1.0 - abs(math.log10(spec.algo.ppo.learning_rate) + 3.0)) * update / total
            metrics["evaluation/success_rate"] = score
        tracker.log(update * STEPS, metrics | {"time/steps_per_s": 500.0})
        leave = stop()
        if leave or update == total:
            saved.parent.mkdir(parents=True, exist_ok=True)
            saved.write_text(json.dumps({"update": update}))
            last = CheckpointRef(update * STEPS, saved, time.time())
        at = min(update // UPDATES_A_STAGE, len(course) - 1)
        where = course[at]
        progress = CurriculumProgress(
            stage=where + 1,
            stage_name=names[where],
            stages=len(names),
            success_rate=rate,
            episodes_in_stage=1000,
            demotions=sum(later < earlier for earlier, later in pairwise(course[: at + 1])),
            passed=update == len(course) * UPDATES_A_STAGE,
        )
        report(ProgressSnapshot(update, update * STEPS, spec.total_steps, 500.0, metrics, progress, last))
        if leave:
            break
    tracker.close()
    return TrainResult("done" if update == total else "stopped", update * STEPS, saved, "")


def rank_0():
    settings = from_environment(os.environ)
    run = load.load_run(settings.spec)
    context = run_context(run, settings, 0, 1)
    with make_reporter(settings, ends_with_gates=True) as report:
        result = train(run.spec.train, context, stop_asked.is_set, report)
    return Record(0, result.outcome, 0, time.time(), result.step, str(result.checkpoint))


def main(termination_log):
    signal.signal(signal.SIGTERM, lambda *_: stop_asked.set())
    threading.Thread(target=lambda: (sys.stdin.read(), stop_asked.set()), daemon=True).start()
    try:
        outcome = of_finished_ranks([rank_0()], [0])
    except UserError as error:
        outcome = of_failed_ranks([Record(0, "failed", 2, time.time(), error=str(error))], {0: 2}, time.time())
    except RuntimeError as error:
        traceback.print_exc()
        told = f"RuntimeError: {error}"
        outcome = of_failed_ranks([Record(0, "failed", 1, time.time(), error=told)], {0: 1}, time.time())
    termination_log.write_text(outcome.message())
    sys.stderr.flush()
    os._exit(outcome.exit_code)  # the thread that reads standard input cannot be ended


stop_asked = threading.Event()
if __name__ == "__main__":
    main(Path(sys.argv[2]))
