"""Training without learning: stages pass on schedule, saved state is one number. `fake_training.py worker|rank …`.

Everything around it is real: launcher, rank, reporter, trackers. FAKE_UPDATE_S slows it down; FAKE_FAIL_AT
names the update at which it raises.
"""

import json
import os
import sys
import time
from pathlib import Path

from headway.errors import UserError
from headway.rank import main
from headway.run_context import CheckpointRef, ProgressSnapshot, TrainResult
from headway.tracking import make_tracker
from headway.worker import work
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
    total = min(spec.total_steps // STEPS, len(names) * UPDATES_A_STAGE)
    if os.environ.get("FAKE_REFUSES"):
        raise UserError("train.env.nav.lidar.beams: 5: does not fit the checkpoint: give 36")
    while update < total:
        if str(update) == os.environ.get("FAKE_FAIL_AT"):
            raise RuntimeError("the loss is not finite")
        stage, share = divmod(update, UPDATES_A_STAGE)
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
        tracker.log(update * STEPS, metrics | {"time/steps_per_s": 500.0})
        leave = stop()
        if leave or update == total:
            saved.parent.mkdir(parents=True, exist_ok=True)
            saved.write_text(json.dumps({"update": update}))
            last = CheckpointRef(update * STEPS, saved, time.time())
        where = min(update // UPDATES_A_STAGE, len(names) - 1)
        progress = CurriculumProgress(
            stage=where + 1,
            stage_name=names[where],
            stages=len(names),
            success_rate=rate,
            episodes_in_stage=1000,
            passed=update == len(names) * UPDATES_A_STAGE,
        )
        report(ProgressSnapshot(update, update * STEPS, spec.total_steps, 500.0, metrics, progress, last))
        if leave:
            break
    tracker.close()
    return TrainResult("done" if update == total else "stopped", update * STEPS, saved, "")


if __name__ == "__main__":
    if sys.argv[1] == "rank":
        sys.exit(main(train, Path(sys.argv[2])))
    sys.exit(work(Path(sys.argv[3]), stop_at_eof=True, command=[sys.executable, __file__, "rank"]))
