"""A batch in pieces: how many rows go through the networks at a time, where memory does not take all of them.

Gradients of the pieces add up to that of the whole: each piece's mean loss counts by its share of the rows. So the
batch, the optimiser's steps and, up to rounding, what is learned stay what they are. B rows of a batch, b of a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from headway.replay import Batch

# Adds a piece's gradient, times its share of the whole, and returns statistics [k] of the piece.
LearnPiece = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class Piece:
    """Rows of a batch, and of the noise that goes with them."""

    batch: Batch
    noise: tuple[Tensor, ...]
    total: int  # B, of the whole batch

    @property
    def share(self) -> float:
        """Of the whole batch's rows."""
        return len(self.batch.slot) / self.total


class MicroBatch:
    """How an algorithm cuts its batches. One piece is the batch itself: nothing is computed for it."""

    def __init__(self, share: int, unit: int = 1) -> None:
        """`share`: rows of this rank's share of a batch. `unit`: rows that stay together, an environment's rollout."""
        self.share, self.unit = share, unit
        self._units = 0  # of a piece; 0: all

    @property
    def rows(self) -> int:
        """Rows of a piece, as they count; 0 for the whole share."""
        return self._units * self.unit

    def set(self, rows: int) -> None:
        """Take pieces of `rows`, rounded down to whole units, at least one; 0, or the share and more: all at once."""
        units = max(1, rows // self.unit) if rows else 0
        self._units = 0 if units * self.unit >= self.share else units

    def metrics(self) -> dict[str, float]:
        """Name the rows of a piece, unless it is the whole share."""
        return {"batch/micro": float(self.rows)} if self.rows else {}

    def means(self, learn: LearnPiece, index: Tensor) -> Tensor:
        """Learn from the units int64 [U] of `index`, a piece at a time; return the means of the statistics [k]."""
        if not 0 < self._units < len(index):
            return learn(index, 1.0)
        pieces = index.split(self._units)
        shares = [len(piece) / len(index) for piece in pieces]
        return _mean([learn(piece, share) for piece, share in zip(pieces, shares, strict=True)], shares)

    def split(self, batch: Batch, *noise: Tensor) -> list[Piece]:
        """Cut a batch, and the noise [B, ...] that goes with it."""
        total = len(batch.slot)
        if not 0 < self._units < total:
            return [Piece(batch, noise, total)]
        begins = range(0, total, self._units)
        return [_piece(batch, noise, slice(begin, begin + self._units), total) for begin in begins]


def joined(pieces: Sequence[Piece], found: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Put together what was found of each piece: numbers of its rows, [B] now, and the means of statistics [k]."""
    rows, statistics = zip(*found, strict=True)
    return rows[0] if len(rows) == 1 else torch.cat(rows), mean(pieces, statistics)


def mean(pieces: Sequence[Piece], statistics: Sequence[Tensor]) -> Tensor:
    """Means [k] over all rows, of the means over those of each piece."""
    return _mean(statistics, [piece.share for piece in pieces])


def _piece(batch: Batch, noise: tuple[Tensor, ...], rows: slice, total: int) -> Piece:
    columns = (getattr(batch, field.name) for field in fields(Batch))
    cut = Batch(*(None if column is None else column[rows] for column in columns))
    return Piece(cut, tuple(numbers[rows] for numbers in noise), total)


def _mean(statistics: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    if len(statistics) == 1:
        return statistics[0]
    return torch.stack([one * share for one, share in zip(statistics, shares, strict=True)]).sum(0)
