"""A long history in pieces: immutable, hashed files that many checkpoints share, so that a save writes what is new.

A replay of gigabytes changes by a few megabytes between two saves. Each rank writes its rows of steps [first, last)
into files beside the checkpoints, `segments/`; a manifest names those that it needs. A whole segment is never written
again; the newest, shorter one is replaced by a longer one at the next save. What no manifest names is deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor

from headway.checkpoint.files import load_tensors, sync_directory, write_tensors_hashed
from headway.checkpoint.manifest import SEGMENT_NAME, SEGMENTS, Manifest, Segment

_PIECES: Final = 64  # whole segments of a full history, about
COPIED_AT_MOST: Final = 2**30  # bytes of rows that one save copies, so that training need not wait for them


class History(Protocol):
    """What is kept in segments: rows of N environments, one a step, of which the newest K are there."""

    length: int  # K
    steps: int  # ever added
    held: int  # that are there: the newest

    def rows(self, first: int, last: int) -> dict[str, Tensor]:
        """Copies of the rows of steps `first` to `last - 1`, [last - first, N, ...] each, on the CPU."""
        ...

    def put(self, first: int, rows: dict[str, Tensor]) -> None:
        """Take rows back. Raises ValueError where names, types or sizes differ."""
        ...


@dataclass(frozen=True)
class Piece:
    """Rows of steps `first` to `last - 1` that are to be written."""

    first: int
    last: int
    is_whole: bool  # never written again
    rows: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Backlog:
    """What no whole segment holds yet."""

    pieces: list[Piece]
    bytes: int
    is_live: bool  # the rows are read when they are written: until then training must wait


NOTHING: Final = Backlog([], 0, False)


class SegmentWriter:
    """Writes one rank's segments of one attempt, and remembers which are whole."""

    def __init__(self, root: Path, attempt: int, rank: int) -> None:
        self.folder, self.attempt, self.rank = root / SEGMENTS, attempt, rank
        self._whole: list[Segment] = []
        self._touched: list[str] = []  # by the save under way

    def accept(self, segments: Iterable[Segment], length: int) -> None:
        """Go on from a checkpoint under the same root: these need not be written again."""
        span = _span(length)
        self._whole = [s for s in segments if s.rank == self.rank and s.last % span == 0]

    def cut(self, history: History, training_waits: bool = False) -> Backlog:
        """Copy what is not in a whole segment yet, so that training may go on; where it waits, nothing is copied.

        Nor is more than COPIED_AT_MOST: after a resume by another number of ranks the whole replay is written anew,
        which may be larger than the memory.
        """
        self._touched = []
        oldest, span = history.steps - history.held, _span(history.length)
        self._whole = [segment for segment in self._whole if segment.last > oldest]
        first = self._whole[-1].last if self._whole else oldest
        if first >= history.steps:
            return NOTHING
        of_a_step = sum(rows.nbytes for rows in history.rows(history.steps - 1, history.steps).values())
        size = of_a_step * (history.steps - first)
        is_live = training_waits or size > COPIED_AT_MOST
        pieces = []
        while first < history.steps:
            last = min((first // span + 1) * span, history.steps)
            read = partial(history.rows, first, last)
            pieces.append(Piece(first, last, last % span == 0, read if is_live else _held(read())))
            first = last
        return Backlog(pieces, size, is_live)

    def write(self, backlog: Backlog) -> list[Segment]:
        """Write what was cut; return all segments that the history needed then, oldest first. Raises OSError."""
        found = list(self._whole)
        for piece in backlog.pieces:
            found.append(self._write(piece))
            if piece.is_whole:
                self._whole.append(found[-1])
        return found

    def undo(self) -> None:
        """Delete what was written since `cut`, whole or not: no checkpoint needs it, and it will be written again."""
        for name in self._touched:
            (self.folder / name).unlink(missing_ok=True)
        self._whole = [segment for segment in self._whole if segment.name not in self._touched]
        self._touched = []

    def _write(self, piece: Piece) -> Segment:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"steps-{piece.first}-{piece.last}.a{self.attempt}.rank-{self.rank}.safetensors"
        self._touched.append(name)
        record = write_tensors_hashed(self.folder / name, piece.rows())
        sync_directory(self.folder)
        return Segment(
            first=piece.first, last=piece.last, rank=self.rank, name=name, size=record.size, sha256=record.sha256
        )


def _held(rows: dict[str, Tensor]) -> Callable[[], dict[str, Tensor]]:
    return lambda: rows


def _span(length: int) -> int:
    """Steps of a whole segment."""
    return max(1, length // _PIECES)


def load_history(root: Path, manifest: Manifest, history: History, envs: slice) -> None:
    """Put the rows of environments `envs`, of all that the manifest's ranks had, into `history`.

    Whatever number of ranks wrote them. Raises ValueError for what does not fit.
    """
    expected = history.steps - history.held
    by_range: dict[tuple[int, int], list[Segment]] = {}
    for segment in manifest.segments:
        by_range.setdefault((segment.first, segment.last), []).append(segment)
    for (first, last), segments in sorted(by_range.items()):
        segments.sort(key=lambda segment: segment.rank)
        if first > expected or [s.rank for s in segments] != list(range(manifest.world_size)):
            raise ValueError(f"steps {expected} to {last} of the replay are not in its segments")
        pieces = [load_tensors(root / SEGMENTS / segment.name) for segment in segments]
        skip = max(0, history.steps - history.held - first)  # overwritten since
        rows = {name: torch.cat([piece[name] for piece in pieces], 1)[skip:, envs] for name in pieces[0]}
        if any(len(tensor) != last - first - skip for tensor in rows.values()):
            raise ValueError(f"the segment of steps {first} to {last} has another number of rows")
        history.put(first + skip, rows)
        expected = last
    if expected != history.steps:
        raise ValueError(f"steps {expected} to {history.steps} of the replay are not in its segments")


def delete_unnamed(root: Path, named: set[str], attempt: int) -> None:
    """Delete segments that no manifest names, of this attempt and older ones: a newer one looks after its own."""
    folder = root / SEGMENTS
    for path in folder.iterdir() if folder.is_dir() else ():
        match = re.fullmatch(SEGMENT_NAME, path.name)
        if match and int(match[1]) <= attempt and path.name not in named:
            path.unlink(missing_ok=True)
