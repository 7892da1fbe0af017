"""Progress in a rank's log, for `kubectl logs` and OUT/logs: a line now and then, and one at each new stage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from headway_api.training_run import TrainingRun

from headway.reporter import to_progress
from headway.run_context import ProgressSnapshot, Report
from headway.view import View, plain_line

EVERY_S = 30.0

log = logging.getLogger("headway")


def logged(report: Report, run: TrainingRun, clock: Callable[[], float] = time.monotonic) -> Report:
    """Return `report`, with a line in the log every `EVERY_S` seconds and whenever the stage has changed."""
    began = clock()
    last: tuple[float, int] | None = None  # when, and in which stage

    def tell(snapshot: ProgressSnapshot) -> bool | None:
        nonlocal last
        is_told_to_end = report(snapshot)
        now, stage = clock(), snapshot.curriculum.stage
        if last is None or now - last[0] >= EVERY_S or stage != last[1]:
            last = now, stage
            ends_with_gates = run.spec.train.curriculum.stop_after_last_gate
            progress = to_progress(snapshot, attempt=1, number=max(1, snapshot.update), ends_with_gates=ends_with_gates)
            log.info("%s", plain_line(View(run, now - began, progress)).strip())
        return is_told_to_end

    return tell
