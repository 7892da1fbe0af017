"""The note that each rank leaves for its launcher: how it ended. JSON in a folder that only the two of them know."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """How one rank ended. A rank that was killed leaves none."""

    rank: int
    outcome: str  # names.OUTCOME_*
    exit_code: int
    time: float  # seconds since the epoch
    step: int | None = None
    checkpoint: str | None = None
    error: str = ""
    lost: list[int] | None = None  # where this rank has only given up waiting: for whom, as far as that is known
    hung: bool = False  # those may still be there


class Notes:
    """The folder between a launcher and its ranks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stop = folder / "stop"

    def ask_to_stop(self) -> None:
        """Tell the ranks to save and leave. A file and not a signal: one that starts late must see it too."""
        self._stop.touch()

    def asked_to_stop(self) -> bool:
        """Say whether `ask_to_stop` was called."""
        return self._stop.exists()

    def begin(self, rank: int) -> None:
        """Note that a rank has started, as this process."""
        draft = self.folder / f"rank-{rank}.pid"
        draft.write_text(str(os.getpid()), encoding="utf-8")
        os.replace(draft, self.folder / f"rank-{rank}.started")

    def any_begun(self) -> bool:
        """Say whether any rank of this node has started."""
        return next(self.folder.glob("rank-*.started"), None) is not None

    def pid(self, rank: int) -> int | None:
        """Return the process of a rank that has started on this node."""
        started = self.folder / f"rank-{rank}.started"
        return int(started.read_text(encoding="utf-8")) if started.exists() else None

    def leave(self, record: Record) -> None:
        """Note how a rank ended, whole or not at all."""
        draft = self.folder / f"rank-{record.rank}.draft"
        draft.write_text(json.dumps(asdict(record)), encoding="utf-8")
        os.replace(draft, self.folder / f"rank-{record.rank}.json")

    def records(self) -> list[Record]:
        """Return what the ranks of this node have left so far, by rank."""
        found = [Record(**json.loads(path.read_text(encoding="utf-8"))) for path in self.folder.glob("rank-*.json")]
        return sorted(found, key=lambda record: record.rank)
