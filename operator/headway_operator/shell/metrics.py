"""What /metrics tells. docs/operator.md has the table."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from headway_operator.core import times

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

RECONCILES = Counter("headway_reconciles", "Reconciliations, by result.", ["result"], registry=REGISTRY)
RECONCILE_SECONDS = Histogram("headway_reconcile_seconds", "Time of one reconciliation.", registry=REGISTRY)
QUEUE_SECONDS = Histogram("headway_queue_seconds", "Time from a key's being due to its being taken.", registry=REGISTRY)
QUEUE_DEPTH = Gauge("headway_queue_depth", "Keys that wait for a worker.", registry=REGISTRY)
API_REQUESTS = Counter("headway_api_requests", "Requests to the API server.", ["verb", "code"], registry=REGISTRY)
REPORTS = Counter("headway_progress_reports", "Progress reports, by answer.", ["result"], registry=REGISTRY)
LEADER = Gauge("headway_leader", "1 on the replica that reconciles.", registry=REGISTRY)
STUDY_CALLS = Counter(
    "headway_study_calls", "Calls of the study service, by answer.", ["call", "code"], registry=REGISTRY
)
RESYNCS = Counter("headway_resyncs", "Looks at all runs and studies that have completed.", registry=REGISTRY)
RUNS = Gauge("headway_runs", "Runs by phase, at the last resync.", ["phase"], registry=REGISTRY)
STUDIES = Gauge("headway_studies", "Studies by phase, at the last resync.", ["phase"], registry=REGISTRY)
_OF_RUN = ["namespace", "name"]
STEPS_PER_SECOND = Gauge("headway_run_steps_per_second", "Speed of a run.", _OF_RUN, registry=REGISTRY)
GOODPUT = Gauge(
    "headway_run_goodput", "Useful training time of a run over its wall time, 0 to 1.", _OF_RUN, registry=REGISTRY
)
CHECKPOINT_AGE = Gauge(
    "headway_run_checkpoint_age_seconds", "Age of a run's newest checkpoint.", _OF_RUN, registry=REGISTRY
)


def observe_runs(runs: Iterable[dict[str, Any]], now: datetime) -> None:
    """Set the gauges from all runs, as a resync has read them; what is gone goes from the gauges, too."""
    phases: Count[str] = Count()
    for gauge in (RUNS, STEPS_PER_SECOND, GOODPUT, CHECKPOINT_AGE):
        gauge.clear()
    for run in runs:
        status, metadata = run.get("status") or {}, run["metadata"]
        phase = status.get("phase") or "New"
        phases[phase] += 1
        progress = status.get("progress") or {}
        if phase != "Running" or not progress:
            continue
        where = (metadata["namespace"], metadata["name"])
        STEPS_PER_SECOND.labels(*where).set(progress.get("stepsPerSecond") or 0.0)
        goodput = (progress.get("goodput") or {}).get("fraction")
        if goodput is not None:
            GOODPUT.labels(*where).set(goodput)
        saved = times.from_text((progress.get("checkpoint") or {}).get("time"))
        if saved is not None:
            CHECKPOINT_AGE.labels(*where).set(max(0.0, (now - saved).total_seconds()))
    for phase, count in phases.items():
        RUNS.labels(phase).set(count)


def observe_studies(studies: Iterable[dict[str, Any]]) -> None:
    """Set the gauge from all studies, as a resync has read them."""
    STUDIES.clear()
    phases = Count((study.get("status") or {}).get("phase") or "New" for study in studies)
    for phase, count in phases.items():
        STUDIES.labels(phase).set(count)


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)
