"""Steps a second of whole training runs, by the number of ranks, started as `headway run` starts them.

Everything that a run does is part of every figure: votes, metrics, reports, gradients that meet.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway_api import load, names
from headway_api.train_spec import TrainSpec

from headway.errors import UserError
from headway.local.child import Child
from headway.local.folder import Folder
from headway.local.history import read_rows

WARM_UPDATES = 2  # compile, fill caches
LEAST_UPDATES = 3
TICK_S = 0.1
TOTALS = ("minibatchSize", "batchSize", "learningStarts", "updateSteps")  # over all ranks, beside numEnvs


@dataclass(frozen=True)
class Rate:
    """Training by one number of ranks."""

    processes: int
    spec: TrainSpec
    steps_per_s: float  # median of the turns
    speedup: float  # over the first number of ranks: median of each turn's ratio


def grown(spec: TrainSpec, factor: int) -> TrainSpec:
    """Return the spec with `factor` times the environments and the batch: each rank does what one alone did."""
    wire = spec.to_wire()
    ((kind, algo),) = wire["algo"].items()
    algo = algo | {name: algo[name] * factor for name in TOTALS if name in algo}
    if "replay" in algo:
        algo["replay"] = algo["replay"] | {"capacity": algo["replay"]["capacity"] * factor}
    return TrainSpec.model_validate(wire | {"numEnvs": spec.num_envs * factor, "algo": {kind: algo}})


def rates(specs: Sequence[tuple[int, TrainSpec]], seconds: float, repeats: int) -> list[Rate]:
    """Train each spec by its number of ranks for `seconds`, in turns, `repeats` times.

    Raises UserError where one cannot be trained, with the end of its log.
    """
    turns = [[_rate(spec, processes, seconds) for processes, spec in specs] for _ in range(repeats)]
    found = []
    for (processes, spec), values in zip(specs, zip(*turns, strict=True), strict=True):
        ratios = [value / turn[0] for value, turn in zip(values, turns, strict=True)]
        found.append(Rate(processes, spec, statistics.median(values), statistics.median(ratios)))
    return found


def _rate(spec: TrainSpec, processes: int, seconds: float) -> float:
    """Return the median rate of the updates of `seconds`, and of three at least."""
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as place:
        folder = Folder(Path(place))
        with _training(spec, processes, folder) as child:
            _await(folder, child, WARM_UPDATES)
            time.sleep(seconds)
            rows = _await(folder, child, WARM_UPDATES + LEAST_UPDATES)
        return statistics.median(row["time/steps_per_s"] for row in rows[WARM_UPDATES:])


@contextmanager
def _training(spec: TrainSpec, processes: int, folder: Folder) -> Iterator[Child]:
    """Train until the end of the block."""
    document: dict[str, Any] = {"apiVersion": names.API_VERSION, "kind": names.TRAINING_RUN}
    document |= {"metadata": {"name": "bench"}, "spec": {"processesPerNode": processes, "train": spec.to_wire()}}
    lock = folder.claim()
    run = folder.adopt(load.validate(document))
    folder.write(run)
    child = Child(folder, run, 1, lock)
    try:
        yield child
    finally:
        child.kill()  # its ranks notice; nothing of it is wanted


def _await(folder: Folder, child: Child, updates: int) -> list[dict[str, float]]:
    """Return the rows of metrics once there are so many."""
    while len(rows := read_rows(folder.metrics)) < updates:
        if (code := child.exit_code()) is not None:
            said = "\n".join(folder.last_lines(1))
            raise UserError(f"training ended with exit code {code} before {updates} updates:\n{said}")
        time.sleep(TICK_S)
    return rows
