"""Files named by a path or a pattern, and which of them belong to which split."""

from __future__ import annotations

import glob
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway.errors import SpecError

MAX_FILES = 10_000
MAX_CELLS = 64_000_000  # of one world


@dataclass(frozen=True)
class FileWorld:
    """A world read from a file. Row 0 is the bottom row; the outermost ring is solid."""

    name: str
    occupied: NDArray[np.bool_]  # [H, W] solid cells
    resolution: float  # metres a cell
    origin: tuple[float, float]  # world position in metres of the ring's lower-left corner
    discs: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))  # [D, 3] x, y, radius
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 5)))  # [B, 5] x, y, length, width, yaw
    inside: tuple[int, int, int, int] | None = None  # rows and columns, from and to, in which episodes begin and end

    @property
    def records(self) -> int:
        """Room that the shapes need in the table of records, see shapes.World."""
        return len(self.discs) + 4 * len(self.boxes)

    @property
    def entries(self) -> int:
        """Room that they need at most in the lists of cells: what touches their outlines, as far as it can be named."""
        around = 12 * self.discs[:, 2].sum() + 6 * self.boxes[:, 2:4].sum()
        return min(int(around / self.resolution) + 24 * (len(self.discs) + len(self.boxes)), 65_000)


def find_files(field: str, pattern: str) -> list[Path]:
    """The files that a path or a pattern such as maps/*.yaml names, sorted. Raises SpecError if there is none.

    A name that exists is taken as it is, whatever characters are in it.
    """
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return [Path(pattern)]
    found = sorted(path for path in glob.iglob(pattern, recursive=True) if os.path.isfile(path))
    if not found:
        raise SpecError(field, pattern, f"no file matches this pattern, looked for from {os.getcwd()}")
    if len(found) > MAX_FILES:
        raise SpecError(field, pattern, f"matches {len(found)} files, more than {MAX_FILES}: choose fewer")
    return [Path(path) for path in found]


def of_split(field: str, files: list[Path], share: float, seed: int, split: str) -> list[int]:
    """Indices of the files of a split: of `share` for validation, of `share` for test, the others for training.

    All of them for each split where `share` is 0. Which file is held out depends on the seed and on its name alone,
    so that another folder on another machine splits alike. Raises SpecError where nothing is left for training.
    """
    if share == 0.0:
        return list(range(len(files)))
    held = max(1, round(share * len(files)))
    if 2 * held >= len(files):
        raise SpecError(
            field,
            share,
            f"of {len(files)} files {held} are for validation and {held} for test: none is left to train on",
        )
    top = os.path.commonpath([path.parent for path in files])

    def rank(index: int) -> bytes:
        name = Path(os.path.relpath(files[index], top)).as_posix()
        return hashlib.sha256(f"{seed}\n{name}".encode()).digest()

    order = sorted(range(len(files)), key=rank)
    parts = {"validation": order[:held], "test": order[held : 2 * held], "train": order[2 * held :]}
    return sorted(parts[split])
