"""Trials a second of each way, by workers that are processes: they start together, the last to end stops the clock."""

from __future__ import annotations

import multiprocessing
import statistics
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

from headway_api.hpo_study import HPOStudySpec

from headway.hpo.bench.callers import caller, make_spec
from headway.hpo.bench.servers import Endpoint, processor_seconds

GATHER_S = 120.0  # for all workers to be connected

_together: Barrier | None = None


@dataclass(frozen=True)
class Rate:
    """Of one way with a number of workers: medians of the repeats."""

    endpoint: Endpoint
    workers: int
    trials_per_second: float
    server_ms: float  # processor time of the server a trial; 0 without a server


def rates(endpoints: list[Endpoint], workers: list[int], trials: int, repeats: int) -> Iterator[Rate]:
    """Measure the ways in turns, so that what else the machine does falls on all of them."""
    spec = make_spec(trials)
    for number in workers:
        seen: dict[Endpoint, list[tuple[float, float]]] = {endpoint: [] for endpoint in endpoints}
        for _ in range(repeats):
            for endpoint in endpoints:
                seen[endpoint].append(measure(endpoint, spec, number))
        for endpoint, found in seen.items():
            yield Rate(endpoint, number, *map(statistics.median, zip(*found, strict=True)))


def measure(endpoint: Endpoint, spec: HPOStudySpec, workers: int) -> tuple[float, float]:
    """Return trials a second of a new study with all the trials of `spec`, and the server's milliseconds a trial."""
    study = f"bench-{uuid.uuid4().hex[:12]}"
    caller(endpoint, study, spec).open()
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["headway.hpo.bench.callers"])
    barrier = context.Barrier(workers)
    before = processor_seconds(endpoint.pid) if endpoint.pid else 0.0
    with ProcessPoolExecutor(workers, context, _meet, [barrier]) as pool:
        asked = [pool.submit(_work, endpoint, study, spec, k, workers) for k in range(workers)]
        times = [future.result() for future in asked]
    used = processor_seconds(endpoint.pid) - before if endpoint.pid else 0.0
    rate = spec.budget.trials / (max(end for _, end in times) - min(begin for begin, _ in times))
    return rate, 1000 * used / spec.budget.trials


def _meet(barrier: Barrier) -> None:
    global _together
    _together = barrier


def _work(endpoint: Endpoint, study: str, spec: HPOStudySpec, index: int, workers: int) -> tuple[float, float]:
    """Do every `workers`-th trial; return begin and end by the clock that all processes share."""
    mine = caller(endpoint, study, spec)
    assert _together is not None
    _together.wait(GATHER_S)
    begin = time.monotonic()
    for number in range(index, spec.budget.trials, workers):
        mine.trial(number)
    return begin, time.monotonic()
