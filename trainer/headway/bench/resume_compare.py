"""Whether two runs have come to the same end, bit for bit: every tensor of their last checkpoints, and every metric."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.checkpoint import FILE, Found, load_tensors, search
from headway.checkpoint.manifest import SEGMENTS

METRICS = "metrics.jsonl"
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Difference:
    """What differs first."""

    file: str
    name: str  # of a tensor, or of a column of a row
    largest: float | None = None  # between two entries; None where they cannot be subtracted

    def __str__(self) -> str:
        size = "" if self.largest is None else f" by up to {self.largest:.3g}"
        return f"{self.file}: {self.name} differs{size}"


def newest(out: Path, uid: str) -> Found:
    """Return the newest whole checkpoint of a run that trained into `out`. Raises ValueError where there is none."""
    found = search(out / "checkpoints", uid, [])
    if found is None:
        raise ValueError(f"{out}: there is no whole checkpoint")
    return found


def first_difference(one: Path, other: Path, uid: str) -> Difference | None:
    """Return what differs first between two output folders, or None; columns under `time/` may differ."""
    found = newest(one, uid), newest(other, uid)
    return next(_differences(*found), None) or next(_other_rows(one / METRICS, other / METRICS), None)


def files(found: Found) -> Iterator[tuple[str, Tensors]]:
    """Yield each file's name and tensors, and for each rank the rows of all its segments, oldest first."""
    for name in sorted(found.manifest.files):
        yield name, load_tensors(found.directory / name)
    for rank in range(found.manifest.world_size if found.manifest.segments else 0):
        of_rank = sorted((s for s in found.manifest.segments if s.rank == rank), key=lambda segment: segment.first)
        pieces = [load_tensors(found.directory.parent / SEGMENTS / segment.name) for segment in of_rank]
        yield f"{SEGMENTS} of rank {rank}", {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def all_ranks(found: Found) -> Tensors:
    """Return everything that a checkpoint holds, the rows of all ranks' environments in one: whoever saved them."""
    loaded = dict(files(found))
    state = loaded.pop("model.safetensors")
    for file, dim in (("rank-{}.safetensors", 0), (SEGMENTS + " of rank {}", 1)):  # segments are [steps, N, ...]
        pieces = [loaded[name] for r in range(found.manifest.world_size) if (name := file.format(r)) in loaded]
        for name, tensor in pieces[0].items() if pieces else ():
            # What has no axis of environments (a number of steps) is the same on all ranks.
            state[f"{name}.rows" if dim else name] = (
                torch.cat([piece[name] for piece in pieces], dim) if tensor.dim() > dim else tensor
            )
    return state


def _differences(one: Found, other: Found) -> Iterator[Difference]:
    """Yield what differs in two checkpoints: tensors, then what the loop has counted."""
    for mine, theirs in zip_longest(files(one), files(other)):
        if mine is None or theirs is None or mine[0] != theirs[0]:
            yield Difference(FILE, "the list of files")
            return
        yield from _other_tensors(mine[0], mine[1], theirs[1])
    for name in ("step", "complete", "loop"):
        if getattr(one.manifest, name) != getattr(other.manifest, name):
            yield Difference(FILE, name)


def _other_tensors(file: str, one: Tensors, other: Tensors) -> Iterator[Difference]:
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name), other.get(name)
        if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
            yield Difference(file, name)
        elif not torch.equal(a, b):
            yield Difference(file, name, float((a.double() - b.double()).abs().max()))


def _other_rows(one: Path, other: Path) -> Iterator[Difference]:
    for number, (a, b) in enumerate(zip_longest(_rows(one), _rows(other), fillvalue={}), start=1):
        for name in sorted(a.keys() | b.keys()):
            if a.get(name) != b.get(name):
                both = name in a and name in b and None not in (a[name], b[name])
                yield Difference(f"{METRICS}, row {number}", name, abs(a[name] - b[name]) if both else None)


def _rows(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines]
