"""metrics.jsonl: one JSON object a row, cut back to the checkpoint when a run goes on, so that no row stands twice."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class JsonLines:
    """Appends rows to a file. Equal rows give equal bytes: keys are sorted, floats round-trip, NaN becomes null."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None  # opened at the first row or by `resume`

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row, in a single write: a killed process leaves at most one torn line, the last."""
        if self._file is None:
            self._open(keep_bytes=0)
        os.write(self._file, encode(step, values))

    def resume(self, step: int, state: Mapping[str, Any]) -> None:
        """Drop the rows after `step`, and a torn last line."""
        self.close()
        self._open(keep_bytes=bytes_up_to(self._path, step))

    def state(self) -> dict[str, Any]:
        """Return nothing: the rows themselves say where they stand."""
        return {}

    def close(self) -> None:
        """Close the file; rows are with the operating system already."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, keep_bytes: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._path.read_bytes()[:keep_bytes] if keep_bytes else b""
        draft = self._path.with_name(f".{self._path.name}.draft")
        draft.write_bytes(kept)
        # A new file in place of the old one: a leftover of an earlier attempt goes on writing to what nobody reads.
        os.replace(draft, self._path)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)


def encode(step: int, values: Mapping[str, float]) -> bytes:
    """Return the row's bytes, newline included. JSON knows no NaN and no infinity: they become null."""
    row = {key: value if math.isfinite(value) else None for key, value in values.items()}
    return (json.dumps({**row, "step": step}, sort_keys=True, allow_nan=False) + "\n").encode()


def bytes_up_to(path: Path, step: int) -> int:
    """Return how many bytes at the file's start are whole rows of at most `step`; 0 without a file."""
    if not path.exists():
        return 0
    kept = 0
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n") or not _is_row_up_to(line, step):
                break
            kept += len(line)
    return kept


def _is_row_up_to(line: bytes, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False
