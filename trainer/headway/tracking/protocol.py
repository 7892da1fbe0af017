"""The seam between the training loop and where its numbers go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

MEASURED = ("time/", "gpu/")


def is_measured(column: str) -> bool:
    """Say whether a column is read from clocks or instruments, and so differs between runs that are equal otherwise."""
    return column.startswith(MEASURED)


class Tracker(Protocol):
    """Takes one row of metrics an update, on rank 0 only. Columns that `is_measured` names are never compared."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the row of environment step `step`; it reaches the operating system before this returns."""
        ...

    def resume(self, step: int, state: Mapping[str, Any]) -> None:
        """Forget what was logged after `step`, the step of the checkpoint that `state` comes from."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs, as JSON: run ids and the like. Kept in the checkpoint's manifest."""
        ...

    def close(self) -> None:
        """Flush and let go."""
        ...
