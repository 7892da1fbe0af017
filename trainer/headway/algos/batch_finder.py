"""How many rows go through the networks at a time, where the spec leaves it to the machine (`microBatch: auto`).

The search is a function of a measurement; the measurement is a gradient step's forward and backward passes on rows of
nothing, which change nothing. The batch itself, over all ranks, is the spec's in any case.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch

from headway.algos.protocol import Algorithm
from headway.errors import SpecError
from headway.parallel import Group

log = logging.getLogger("headway")

Measure = Callable[[int], float | None]  # rows -> rows a second; None: memory refuses so many
FIRST: Final = 16  # rows of the first try
GROWTH: Final = 1.05  # doubling goes on while it makes rows go through so much faster
# Timed tries of each size, and seconds that they take together where passes are short. The best counts: whatever else
# the machine does only slows them down.
TRIES: Final = 5
SECONDS: Final = 0.1
# What torch's allocator for the CPU says; for a GPU there is an exception of its own.
_REFUSALS: Final = ("can't allocate memory", "DefaultCPUAllocator")


@dataclass(frozen=True)
class Finding:
    """What a search has found."""

    rows: int  # 0: memory refuses even the least
    why: str  # why no more, for the log


def find(measure: Measure, most: int, unit: int = 1) -> Finding:
    """Double from a small start until memory refuses or more rows are no faster; return the fastest that worked.

    `most`: rows that a piece can have; `unit`: rows come in multiples of it. Where memory refuses the start, halve.
    """
    rows = min(max(1, FIRST // unit) * unit, most)
    rate = measure(rows)
    if rate is None:
        return _halved(measure, rows, unit)
    while rows < most:
        double = min(2 * rows, most)
        found = measure(double)
        if found is None:
            return Finding(rows, f"memory refuses {double}")
        if found < GROWTH * rate:
            return Finding(double if found > rate else rows, "more rows are no faster")
        rows, rate = double, found
    return Finding(most, "memory takes them all")


def _halved(measure: Measure, refused: int, unit: int) -> Finding:
    """Halve until memory takes it."""
    rows = refused
    while rows > unit:
        rows = rows // 2 // unit * unit
        if measure(rows) is not None:
            return Finding(rows, f"memory refuses {refused}")
        refused = rows
    return Finding(0, f"memory refuses {refused}")


def settle(wanted: int | Literal["auto"], before: int, algorithm: Algorithm, group: Group, device: torch.device) -> int:
    """Cut the algorithm's batches as the spec says, all ranks alike; return what `auto` has found, now or before.

    `before`: what it had found when the run began, which is kept; 0 if it has not been asked. Raises SpecError on all
    ranks if memory refuses even the least on any of them.
    """
    micro = algorithm.micro
    if wanted != "auto":
        micro.set(wanted)
        if group.is_main and 0 < wanted < micro.share and micro.rows != wanted:
            rounded, parts = micro.rows or micro.share, f"whole rollouts of {micro.unit} steps"
            log.info(
                "train.microBatch: %d rows are made %d: the network has memory and learns %s", wanted, rounded, parts
            )
        return before
    found = before or _search(algorithm, group, device)
    micro.set(found)
    if before and group.is_main:
        log.info("train.microBatch: auto: %d rows, as found when the run began", before)
    return found


def _search(algorithm: Algorithm, group: Group, device: torch.device) -> int:
    algorithm.get_state()  # makes the optimisers' moments, which take their memory too
    micro = algorithm.micro
    finding = find(measurement(algorithm, device), micro.share, micro.unit)
    least = group.least(finding.rows)
    if least == 0:
        fix = "memory does not take a single row of a batch: choose a smaller network, or environments with less to see"
        raise SpecError("train.microBatch", "auto", fix)
    if group.is_main:
        why = finding.why if least == finding.rows else f"another rank takes no more, this one {finding.rows}"
        log.info(
            "train.microBatch: auto: %d of a rank's %d rows go through the networks at a time: %s",
            least, micro.share, why,
        )  # fmt: skip
    return least


def measurement(algorithm: Algorithm, device: torch.device) -> Measure:
    """Return what times an algorithm's passes on this device."""

    def measure(rows: int) -> float | None:
        try:
            rehearse = algorithm.rehearsal(rows)
            _seconds(rehearse, device)  # warms up
            seconds = [_seconds(rehearse, device) for _ in range(TRIES)]
            while sum(seconds) < SECONDS:
                seconds.append(_seconds(rehearse, device))
        except (RuntimeError, MemoryError) as error:
            if not is_refusal(error):
                raise
            return None
        finally:
            if device.type == "cuda":  # each size begins with what the others have left
                torch.cuda.empty_cache()
        return rows / min(seconds)

    return measure


def is_refusal(error: Exception) -> bool:
    """Say whether it says that memory is full."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in _REFUSALS)


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
