"""Between Ray Tune and the record of a study: which trial comes next, what was reported, how each ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headway_api.hpo_study import METRICS, HPOStudy
from headway_api.progress import EvaluationPoint
from headway_api.trials import UnknownPathError, run_document, run_name
from pydantic import ValidationError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from headway.hpo.core import StudyCore
from headway.hpo.local.engine import steps_in
from headway.local import child

ENDED = ("complete", "pruned")


class Book:
    """Called by Ray's loop in its thread; `open` and `said` are read by the thread that shows them."""

    def __init__(self, study: HPOStudy, core: StudyCore, out: Path) -> None:
        self._study, self._core, self._out = study, core, out
        self._spec = study.spec
        self._handed_out: set[int] = set()
        self._known = {row.number: core.reported(row.number) for row in core.snapshot().running}
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self.said: list[str] = []
        self.leave = threading.Event()  # set: all trials save and end

    def __getstate__(self) -> dict[str, Any]:
        """Nothing goes into Ray's own files: nobody reads them again."""
        return {}

    @property
    def open(self) -> list[int]:
        """Numbers of the trials that Ray has and that have not ended."""
        with self._lock:
            return sorted(self._open)

    def curves(self) -> dict[int, dict[int, float]]:
        """Values by evaluation of each trial that is complete or pruned."""
        finished = self._core.snapshot().finished
        return {n: curve for n, curve in self._core.curves().items() if finished.get(str(n)) in ENDED}

    def rounds(self) -> Iterator[int]:
        """Yield for how many trials Ray's loop is to run, each time: here once, for all that have not ended."""
        counts = self._core.snapshot().trials
        yield max(0, counts.total - counts.finished)

    def next(self) -> dict[str, Any] | None:
        """Return what the next trial's actor is told; None once there is none. Those that were begun come first."""
        seen = self._core.snapshot()
        begun = [row.number for row in seen.running]
        fresh = [n for n in range(self._spec.budget.trials) if n not in begun and str(n) not in seen.finished]
        for number in [*begun, *fresh]:
            if number not in self._handed_out:
                self._handed_out.add(number)
                if config := self._begin(number):
                    return config
        return None

    def _begin(self, number: int) -> dict[str, Any] | None:
        """Ask for a point; one that makes no run has failed at once."""
        try:
            document = self.document(number)
        except (ValidationError, UnknownPathError) as error:
            self._tell(number, "failed", 0, str(error).replace("\n", " ")[:500])
            return None
        with self._lock:
            self._open.add(number)
        return {
            "number": number,
            "document": document,
            "folder": str(self.folder(number).resolve()),
            "metric": METRICS[self._spec.objectives[0].metric],
            "restarts": self._spec.run_template.failure_policy.max_restarts,
            "worker": list(child.WORKER_COMMAND),
            **self.told(number),
        }

    def document(self, number: int) -> dict[str, Any]:
        """Return a trial's run as on the wire. Raises ValidationError, UnknownPathError."""
        return run_document(self._spec, self.folder(number).name, self._core.ask(number), number, 0)

    def told(self, number: int) -> dict[str, Any]:
        """Return at which environment step its run is to leave, 0 for none, and how many evaluations were before it."""
        return {"leave_at": 0, "offset": 0}

    def folder(self, number: int) -> Path:
        """Where a trial's run is."""
        return self._out / "trials" / run_name(self._study.metadata.name, number, 0, 1)

    def note(self, number: int, result: dict[str, Any], decision: str) -> str:
        """Write a report down, with the decision on it; return what holds. What was noted before is decided: go on."""
        if result["evaluation"] <= self._known.get(number, 0):
            return TrialScheduler.CONTINUE
        self._core.report(number, 0, [EvaluationPoint.model_validate_json(result["point"])])
        self._known[number] = result["evaluation"]
        if decision == TrialScheduler.STOP:
            self._tell(number, "pruned", int(result["step"]))
        return decision

    def end(self, number: int, result: dict[str, Any]) -> None:
        """Take in an actor's last word. One that was asked to leave is gone on with by the next command."""
        if result["ended"] == "complete":
            self._core.report(number, 0, [], ended=True)
            self._tell(number, "complete", int(result["step"]))
        elif result["ended"] == "saved":
            with self._lock:
                self._open.discard(number)
        elif not self.leave.is_set():
            self.fail(number, result["error"])

    def fail(self, number: int, reason: str) -> None:
        """Write down that a trial has failed."""
        self._tell(number, "failed", steps_in(self.folder(number)), reason)

    def prune_rest(self, reason: str) -> None:
        """End all that is open: the study's budget is used up."""
        for row in self._core.snapshot().running:
            folder = self.folder(row.number)
            self._tell(row.number, "pruned", steps_in(folder) if folder.exists() else 0, reason)

    def _tell(self, number: int, outcome: str, steps: int, reason: str = "") -> None:
        self._core.tell(number, outcome, steps, reason)  # type: ignore[arg-type]
        with self._lock:
            self._open.discard(number)
        values = ", ".join(f"{value:.4g}" for value in self._core.values_of(number))
        words = " ".join(filter(None, [f"trial {number} {outcome}", values]))
        self.said.append(words + (f": {reason}" if reason else ""))


class BookSearcher(Searcher):
    """Gives Ray the study's trials, in order."""

    def __init__(self, book: Book) -> None:
        super().__init__(metric="value", mode="max")
        self._book = book

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config."""
        config = None if self._book.leave.is_set() else self._book.next()
        return Searcher.FINISHED if config is None else config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has noted it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is the storage's."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the record is the storage's."""
