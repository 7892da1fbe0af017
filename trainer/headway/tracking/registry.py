"""Which trackers there are, and how a run's rank gets its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headway_api.train_spec import Trackers

from headway.tracking.jsonl import JsonLines
from headway.tracking.protocol import Tracker
from headway.tracking.tensorboard import TensorBoardTracker

# Field of spec.train.trackers -> what makes the tracker from its options and the run's output folder.
TRACKERS: dict[str, Callable[[Any, Path], Tracker]] = {
    "tensorboard": lambda options, out: TensorBoardTracker(out / "tensorboard"),
}


class NullTracker:
    """Takes everything and keeps nothing: the tracker of every rank but 0."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def resume(self, step: int, state: Mapping[str, Any]) -> None:
        """Do nothing."""

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def close(self) -> None:
        """Do nothing."""


class AllTrackers:
    """Several trackers as one; the state of each is kept under its name."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the row with each."""
        for tracker in self._trackers.values():
            tracker.log(step, values)

    def resume(self, step: int, state: Mapping[str, Any]) -> None:
        """Cut each back to `step`; one that the checkpoint did not know starts with an empty state."""
        for name, tracker in self._trackers.items():
            tracker.resume(step, state.get(name, {}))

    def state(self) -> dict[str, Any]:
        """Return the state of each, by name."""
        return {name: tracker.state() for name, tracker in self._trackers.items()}

    def close(self) -> None:
        """Close each."""
        for tracker in self._trackers.values():
            tracker.close()


def make_tracker(trackers: Trackers, out: Path, rank: int) -> Tracker:
    """Return the tracker of one rank: on rank 0 metrics.jsonl and what `trackers` names, elsewhere nothing.

    A run that goes on calls `resume` before its first `log`; one that does not begins its files anew.
    Raises UserError if a tracker's package is not installed.
    """
    if rank != 0:
        return NullTracker()
    chosen = {
        name: make(options, out) for name, make in TRACKERS.items() if (options := getattr(trackers, name)) is not None
    }
    return AllTrackers({"jsonl": JsonLines(out / "metrics.jsonl"), **chosen})
