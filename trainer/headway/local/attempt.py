"""One attempt of a local run, as its parent process follows it: the child, its reports, the status that is written."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from enum import Enum

from headway_api import names
from headway_api.training_run import TrainingRun, TrainingRunStatus

from headway.local import status
from headway.local.child import Child
from headway.local.folder import Folder
from headway.local.history import StagePassed, read_rows, stage_line, stages_passed
from headway.local.interrupts import Interrupts
from headway.local.screens import Screen
from headway.units import rfc3339
from headway.view import View

TICK_S = 0.1
WRITE_EVERY_S = 1.0  # how often at most the status is written while only figures change


class End(Enum):
    """How an attempt ended, for the person who started it."""

    DONE = "done"
    PRUNED = "pruned"  # by its study
    SAVED = "saved"
    ABANDONED = "abandoned"  # by a second Ctrl-C
    FAILED = "failed"


@dataclass(frozen=True)
class Ended:
    """The end of an attempt: what the summary needs to know."""

    end: End
    exit_code: int
    step: int | None
    checkpoint: str | None
    error: str
    trained: bool  # whether this attempt made any update


class Attempt:
    """Starts the child and follows it to its end."""

    def __init__(self, folder: Folder, run: TrainingRun, lock: int, leave_at: int = 0) -> None:
        """Start it. After `leave_at` environment steps, if there are to be any, it saves and leaves by itself."""
        self.run = run.model_copy(update={"status": status.starting(run.status, _now())})
        self.number = self._status.attempt
        self._folder = folder
        self._began = time.monotonic()
        self._written = 0.0
        self._report = 0  # number of the newest report that was taken in
        self._reported = 0.0  # when that was
        self._slowest = 0.0  # seconds from one update to the next, at most
        anew = run.spec.checkpoint.resume == "never"  # the rows that are still there are of another life
        self._passed = 0 if anew else self._last_passed(all_passed=False)  # number of the stage announced last
        self._demotions: int | None = None  # announced, or before this attempt
        self._saving = False
        self._write()
        self._child = Child(folder, self.run, self.number, lock, leave_at)

    def follow(self, screen: Screen, interrupts: Interrupts) -> Ended:
        """Show and record how it goes, until it has ended."""
        while (code := self._child.exit_code()) is None:
            if interrupts.asked_to_leave and not self._saving:
                self._saving = True
                self._child.save_and_leave()
            if interrupts.ctrl_c > 1:
                self._child.kill()
                return self._end(End.ABANDONED, names.EXIT_ERROR)
            self._take_in()
            interrupts.update_s = self._slowest
            self._announce(screen)
            screen.show(self.view())
            time.sleep(TICK_S)
        self._take_in()
        self._announce(screen)
        if self._saving and code == 128 + signal.SIGTERM:  # it was asked before it could listen: nothing had begun
            code = names.EXIT_SAVED_AND_LEFT
        ends = {names.EXIT_OK: End.DONE, names.EXIT_SAVED_AND_LEFT: End.SAVED}
        return self._end(ends.get(code, End.FAILED), code)

    def view(self) -> View:
        """Return the present moment."""
        progress = self._status.progress if self._report else None
        return View(self.run, time.monotonic() - self._began, progress, self._saving)

    @property
    def _status(self) -> TrainingRunStatus:
        assert self.run.status is not None  # set when the attempt began
        return self.run.status

    def _take_in(self) -> None:
        """Put the newest report into the status."""
        report = self._folder.read_progress(self.number)
        if report is None or report.number == self._report:
            return
        first, now = self._report == 0, time.monotonic()
        if not first:
            self._slowest = max(self._slowest, (now - self._reported) / max(1, report.number - self._report))
        self._report, self._reported = report.number, now
        self._become(status.reported(self._status, report, _now()))
        if first or now - self._written > WRITE_EVERY_S:
            self._write()

    def _announce(self, screen: Screen) -> None:
        """Say which stages have been passed or lost since the last look."""
        view = self.view()
        if view.progress is None:
            return
        if self._demotions is not None and view.demotions > self._demotions:
            where = f"stage {view.stage}/{len(view.stages)} {view.stage_name}"
            screen.say(f" ↓ back to {where}: the success rate fell too low", "yellow")
            self._passed = min(self._passed, view.behind)
        self._demotions = view.demotions
        if view.behind <= self._passed:
            return
        for stage in self._stages_passed(view.passed):
            if stage.number > self._passed:
                screen.say(f" ✓ {stage_line(stage, self.run.spec.train.curriculum)}", "green")
                self._passed = stage.number

    def _last_passed(self, all_passed: bool) -> int:
        return max((stage.number for stage in self._stages_passed(all_passed)), default=0)

    def _stages_passed(self, all_passed: bool) -> list[StagePassed]:
        stages = [stage.name for stage in self.run.spec.train.curriculum.stages]
        return stages_passed(read_rows(self._folder.metrics), stages, all_passed)

    def _end(self, end: End, exit_code: int) -> Ended:
        said = self._folder.read_outcome(self.number)
        error = said.get("error") or f"the trainer ended with exit code {exit_code}"
        if end is End.DONE and said.get("outcome") == names.OUTCOME_PRUNED:
            end = End.PRUNED
        now = _now()
        last = {
            End.DONE: lambda: status.succeeded(self._status, now),
            End.PRUNED: lambda: status.pruned(self._status, now),
            End.SAVED: lambda: status.stopped(self._status, "saved and left; run the same command to go on", now),
            End.ABANDONED: lambda: status.stopped(
                self._status, "left without saving; run the same command to go on", now
            ),
            End.FAILED: lambda: status.failed(self._status, error, now),
        }
        self._become(last[end]())
        self._write()
        return Ended(end, exit_code, said.get("step"), said.get("checkpoint"), error, trained=self._report > 0)

    def _become(self, new: TrainingRunStatus) -> None:
        self.run = self.run.model_copy(update={"status": new})

    def _write(self) -> None:
        self._folder.write(self.run)
        self._written = time.monotonic()


def _now() -> str:
    return rfc3339(time.time())
