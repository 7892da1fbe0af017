"""Where a run's numbers go: metrics.jsonl always, and the trackers that the spec names."""

from headway.tracking.protocol import Tracker, is_measured
from headway.tracking.registry import TRACKERS, make_tracker

__all__ = ["TRACKERS", "Tracker", "is_measured", "make_tracker"]
