"""A trial's run on this machine: a local run like any other, followed by a thread."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from headway_api.progress import EvaluationPoint
from headway_api.training_run import TrainingRun

from headway.local.attempt import Attempt, Ended
from headway.local.folder import Folder
from headway.local.interrupts import Interrupts
from headway.tracking.evaluations import read_evaluations
from headway.view import View


class LocalTrial:
    """The run of one seed of a trial, in a folder of its own. Killed, it goes on from its newest checkpoint."""

    def __init__(self, number: int, seed_index: int, run: TrainingRun, path: Path, leave_at: int = 0) -> None:
        """Start it; after `leave_at` environment steps, if given, it saves and leaves.

        Raises UserError if the folder cannot be had.
        """
        self.number, self.seed_index = number, seed_index
        self.pruned = False  # it was stopped because the study said so
        self.restarts = 0
        self._given, self._folder, self._leave_at = run, Folder(path), leave_at
        self._begin()

    def _begin(self) -> None:
        self.ended: Ended | None = None
        self.view: View | None = None
        self._interrupts = Interrupts()
        self._folder.refuse_strangers(self._given.metadata.name)
        lock = self._folder.claim()
        attempt = Attempt(self._folder, self._folder.adopt(self._given), lock, self._leave_at)
        self._thread = threading.Thread(target=self._follow, args=(attempt, lock), daemon=True)
        self._thread.start()

    def begin_again(self) -> None:
        """Start it again after it has failed."""
        self.restarts += 1
        self._thread.join()
        self._begin()

    def save_and_leave(self) -> None:
        """Ask it to save and leave."""
        self._interrupts.terminated = True

    def abandon(self) -> None:
        """End it at once."""
        self._interrupts.ctrl_c = 2

    def evaluations(self) -> list[EvaluationPoint]:
        """Return all evaluations so far, in order."""
        return read_evaluations(self._folder.metrics)

    @property
    def step(self) -> int:
        """Environment steps so far, as last reported."""
        if self.ended is not None and self.ended.step is not None:
            return self.ended.step
        return self.view.progress.step if self.view is not None and self.view.progress is not None else 0

    def _follow(self, attempt: Attempt, lock: int) -> None:
        ended = attempt.follow(_Watcher(self), self._interrupts)
        os.close(lock)  # the folder is free for whoever goes on
        self.ended = ended


class _Watcher:
    """A screen that keeps the present moment instead of showing it."""

    def __init__(self, trial: LocalTrial) -> None:
        self._trial = trial

    def show(self, view: View) -> None:
        """Keep it."""
        self._trial.view = view

    def say(self, text: str, style: str = "") -> None:
        """Stages that are passed are the run's own business."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass
