"""Records of the newest K steps of N environments, all of an environment's step side by side in memory.

One table of bytes, a row for each step of each environment, whose columns are views: a draw of random rows then reads
one place in memory for each, not one for each column. Row t % K of K is step t; a slot is a row of the table,
(t % K) * N + n, and the slot of the same environment's next step is N farther on, around the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

_ALIGNMENT: Final = 8  # bytes: of a record, so that all its numbers are aligned


@dataclass(frozen=True)
class Column:
    """What one entry is: a number, or `size` numbers in a row."""

    size: int | None = None
    dtype: torch.dtype = torch.float32

    @property
    def bytes(self) -> int:
        """Of one entry."""
        return (1 if self.size is None else self.size) * self.dtype.itemsize


class Ring:
    """The table, and how many steps were ever added."""

    def __init__(
        self, length: int, num_envs: int, columns: Mapping[str, Column], device: torch.device, scratch: Path | None
    ) -> None:
        """`scratch`: a folder for a file that holds the table; None keeps it in the device's memory."""
        self.length, self.num_envs, self.device = length, num_envs, device
        self.steps = 0  # ever added
        # Wide numbers first: each begins at a multiple of its own size.
        self._kinds = dict(sorted(columns.items(), key=lambda item: -item[1].dtype.itemsize))
        self._width = -(-sum(column.bytes for column in columns.values()) // _ALIGNMENT) * _ALIGNMENT
        self._table = self._allocate(length * num_envs, scratch)
        self.flat = self._views(self._table)  # [K * N, ...] by slot
        self.columns = {name: view.unflatten(0, (length, num_envs)) for name, view in self.flat.items()}  # [K, N, ...]

    @property
    def held(self) -> int:
        """Steps of each environment that are there."""
        return min(self.steps, self.length)

    @property
    def newest(self) -> int:
        """Row of the newest step, of K."""
        return (self.steps - 1) % self.length

    def add(self, rows: Mapping[str, Tensor]) -> int:
        """Write one step of every environment, [N, ...] of each column, over the oldest; return its row, of K."""
        row = self.steps % self.length
        for name, tensor in rows.items():
            self.columns[name][row].copy_(tensor)
        self.steps += 1
        return row

    def take(self, name: str, slot: Tensor) -> Tensor:
        """Entries of one column at slots of any shape, on the device that learns."""
        flat = self.flat[name]
        rows = flat.index_select(0, slot.flatten().to(flat.device))
        return rows.unflatten(0, slot.shape).to(slot.device)

    def records(self, slot: Tensor) -> dict[str, Tensor]:
        """Entries of all columns at slots [B], on the device that learns."""
        table = self._table
        if table.device == slot.device:
            return self._views(table.index_select(0, slot))
        return self._views(table.index_select(0, slot.to(table.device)).to(slot.device))  # from disk

    def copies(self, names: Iterable[str], first: int, last: int) -> dict[str, Tensor]:
        """Rows of steps `first` to `last - 1`, [last - first, N, ...] each, on the CPU."""
        row = torch.arange(first, last) % self.length
        return {name: self.columns[name][row.to(self.columns[name].device)].cpu() for name in names}

    def put(self, first: int, rows: Mapping[str, Tensor]) -> None:
        """Write rows back. Raises ValueError where names, types or sizes differ."""
        for name, tensor in rows.items():
            column = self.columns.get(name)
            if column is None or tensor.shape[1:] != column.shape[1:] or tensor.dtype != column.dtype:
                raise ValueError(f"{name} of the replay is not known here, or of another size or type")
            row = torch.arange(first, first + len(tensor)) % self.length
            column[row.to(column.device)] = tensor.to(column.device)

    def ahead(self, slot: Tensor) -> Tensor:
        """How many newer steps of the same environment there are, int64 of the shape of `slot`."""
        return (self.newest - slot // self.num_envs) % self.length

    def after(self, slot: Tensor, steps: Tensor) -> Tensor:
        """Slots of the same environments `steps` later (or earlier, if below 0)."""
        return (slot + steps * self.num_envs) % (self.length * self.num_envs)

    def windows(self, slot: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Slots int64 [B, n] of the next n steps from `slot` [B] on, and which of them there are, bool [B, n]."""
        offset = torch.arange(steps, device=slot.device)
        return self.after(slot[:, None], offset), offset <= self.ahead(slot)[:, None]

    def _views(self, table: Tensor) -> dict[str, Tensor]:
        """Columns of rows of the table, uint8 [M, W]."""
        views, start, typed = {}, 0, table
        for name, column in self._kinds.items():
            if typed.dtype != column.dtype:
                typed = table.view(column.dtype)
            at = start // column.dtype.itemsize
            views[name] = typed[:, at] if column.size is None else typed[:, at : at + column.size]
            start += column.bytes
        return views

    def _allocate(self, rows: int, scratch: Path | None) -> Tensor:
        if scratch is None:
            return torch.zeros(rows, self._width, dtype=torch.uint8, device=self.device)
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix="replay-", dir=scratch) as file:  # nameless once it is mapped
            file.truncate(rows * self._width)
            return torch.from_file(file.name, shared=True, size=rows * self._width, dtype=torch.uint8).view(rows, -1)
