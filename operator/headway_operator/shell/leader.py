"""What only the leader does: watch, resync, reconcile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from headway_api import names

from headway_operator.core import times
from headway_operator.core.pods import Reporting
from headway_operator.core.reconcile_run import Context
from headway_operator.shell import execute, handlers, metrics
from headway_operator.shell.certificates import Certificates
from headway_operator.shell.cluster import ApiError, Cluster, Raw, RunKey
from headway_operator.shell.health import Health
from headway_operator.shell.queue import WorkQueue, work
from headway_operator.shell.settings import Settings

log = logging.getLogger(__name__)

AWAY = frozenset({0, 503, 504})  # not 500: that may be somebody's webhook, and for ever


def utc_now() -> datetime:
    """Return the time; the core is handed it and never asks."""
    return datetime.now(UTC)


class Leader:
    """One term of leadership; it ends with the process."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        certificates: Certificates,
        health: Health,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings, self._cluster, self._certificates, self._health = settings, cluster, certificates, health
        self._clock = clock
        self._queue: WorkQueue[RunKey] = WorkQueue()
        self._generations = handlers.Generations()
        self._observing_since = clock()
        self._resynced_at = clock()
        self._is_first_resync, self._is_blind = True, False

    async def lead(self, stop: asyncio.Event) -> None:
        """Reconcile until `stop` is set. Raises what none of the parts could deal with."""
        metrics.LEADER.set(1)
        self._health.resynced_at = self._health.clock()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._certificates.lead(self._cluster))]
            await self._certificates.ready.wait()  # pods must be told whom to trust
            tasks += [group.create_task(work(self._queue, self.reconcile)) for _ in range(self._settings.workers)]
            tasks.append(group.create_task(self._resync_for_ever()))
            await handlers.watch(self._settings, self._queue, self._generations, stop)
            if not stop.is_set():
                raise RuntimeError("the watches have ended")
            for task in tasks:
                task.cancel()

    async def reconcile(self, key: RunKey) -> float | None:
        """Take one step for one run. An API server that is away makes us blind, also between two resyncs."""
        try:
            return await execute.reconcile(self._cluster, key, self._context, self._clock)
        except ApiError as error:
            self._is_blind |= error.status in AWAY
            raise

    def _context(self) -> Context:
        reporting = Reporting(self._settings.progress_url, self._certificates.ca_bundle)
        return Context(reporting=reporting, observing_since=self._observing_since)

    async def _resync_for_ever(self) -> None:
        while True:
            try:
                await self.resync()
            except ApiError as error:
                self._is_blind = True
                log.warning("resync: %s", error)
            await asyncio.sleep(self._settings.resync_seconds)

    async def resync(self) -> None:
        """Look at all runs: what a watch has missed is found here, and the gauges are set."""
        runs: list[Raw] = []
        for namespace in self._settings.namespaces or ("",):
            runs += [_reduced(run) async for run in self._cluster.each(names.TRAINING_RUN, namespace)]
        now = self._clock()
        if self._is_blind or (now - self._resynced_at).total_seconds() > 3 * self._settings.resync_seconds:
            # Neither we nor the progress servers could reach the API server: silence until now says nothing.
            self._observing_since, self._is_blind = now, False
        keys = {RunKey(run["metadata"]["namespace"], run["metadata"]["name"]): run for run in runs}
        for key, run in keys.items():
            if self._is_first_resync or not _is_at_rest(run, now):
                self._queue.add(key)
        self._generations.keep(set(keys))
        metrics.observe_runs(runs, now)
        metrics.RESYNCS.inc()
        self._resynced_at, self._is_first_resync = now, False
        self._health.resynced_at = self._health.clock()


def _reduced(run: Raw) -> Raw:
    """Keep what a resync needs: a thousand specs need not be in memory at once."""
    kept = ("name", "namespace", "uid", "deletionTimestamp")
    metadata = {key: value for key, value in run["metadata"].items() if key in kept}
    ttl = (run.get("spec") or {}).get("ttlSecondsAfterFinished")
    return {"metadata": metadata, "status": run.get("status") or {}, "ttl": ttl}


def _is_at_rest(run: Raw, now: datetime) -> bool:
    """Say whether nothing can be left to do: finished, and its pods stay, or are long gone."""
    status = run["status"]
    conditions = status.get("conditions") or ()
    if not any(c["type"] == names.FINISHED and c["status"] == "True" for c in conditions):
        return False
    ended = times.from_text(status.get("completionTime"))
    age = (now - ended).total_seconds() if ended else 0.0
    return age > (run["ttl"] or 0) + 3600
