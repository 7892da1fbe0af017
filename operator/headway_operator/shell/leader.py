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
from headway_operator.shell import execute, execute_study, handlers, metrics
from headway_operator.shell.certificates import Certificates
from headway_operator.shell.cluster import ApiError, Cluster, Key, Raw
from headway_operator.shell.execute_study import StudyService
from headway_operator.shell.health import Health
from headway_operator.shell.queue import WorkQueue, work
from headway_operator.shell.settings import Settings

log = logging.getLogger(__name__)

BUSY_RETRY_S = 0.2
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
        studies: StudyService,
        certificates: Certificates,
        health: Health,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings, self._cluster, self._certificates, self._health = settings, cluster, certificates, health
        self._studies, self._clock = studies, clock
        self._queue: WorkQueue[Key] = WorkQueue()
        self._news = handlers.News()
        self._observing_since = clock()
        self._resynced_at = clock()
        self._is_first_resync, self._is_blind = True, False
        self._studying = 0  # studies that are being reconciled

    async def lead(self, stop: asyncio.Event) -> None:
        """Reconcile until `stop` is set. Raises what none of the parts could deal with."""
        metrics.LEADER.set(1)
        self._health.resynced_at = self._health.clock()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._certificates.lead(self._cluster))]
            await self._certificates.ready.wait()  # pods must be told whom to trust
            tasks += [group.create_task(work(self._queue, self.reconcile)) for _ in range(self._settings.workers)]
            tasks.append(group.create_task(self._resync_for_ever()))
            await handlers.watch(self._settings, self._queue, self._news, stop)
            if not stop.is_set():
                raise RuntimeError("the watches have ended")
            for task in tasks:
                task.cancel()

    async def reconcile(self, key: Key) -> float | None:
        """Take one step for one run or study. An API server that is away makes us blind, also between two resyncs."""
        try:
            if key.kind == names.HPO_STUDY:
                return await self._reconcile_study(key)
            return await execute.reconcile(self._cluster, key, self._context, self._clock)
        except ApiError as error:
            self._is_blind |= error.status in AWAY
            raise

    async def _reconcile_study(self, key: Key) -> float | None:
        """At most half of the workers at a time: a study service that hangs must not keep runs waiting."""
        if self._studying >= max(1, self._settings.workers // 2):
            return BUSY_RETRY_S
        self._studying += 1
        try:
            return await execute_study.reconcile(self._cluster, self._studies, key, self._clock)
        finally:
            self._studying -= 1

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
        """Look at all runs and studies: what a watch has missed is found here, and the gauges are set."""
        runs, studies = await self._all(names.TRAINING_RUN), await self._all(names.HPO_STUDY)
        now = self._clock()
        if self._is_blind or (now - self._resynced_at).total_seconds() > 3 * self._settings.resync_seconds:
            # Neither we nor the progress servers could reach the API server: silence until now says nothing.
            self._observing_since, self._is_blind = now, False
        keys = {_key(thing, names.TRAINING_RUN): thing for thing in runs}
        keys |= {_key(thing, names.HPO_STUDY): thing for thing in studies}
        for key, thing in keys.items():
            if self._is_first_resync or not _is_at_rest(thing, now):
                self._queue.add(key)
        self._news.keep(set(keys))
        metrics.observe_runs(runs, now)
        metrics.observe_studies(studies)
        metrics.RESYNCS.inc()
        self._resynced_at, self._is_first_resync = now, False
        self._health.resynced_at = self._health.clock()

    async def _all(self, kind: str) -> list[Raw]:
        found: list[Raw] = []
        for namespace in self._settings.namespaces or ("",):
            found += [_reduced(thing) async for thing in self._cluster.each(kind, namespace)]
        return found


def _key(thing: Raw, kind: str) -> Key:
    return Key(thing["metadata"]["namespace"], thing["metadata"]["name"], kind)


def _reduced(thing: Raw) -> Raw:
    """Keep what a resync needs: a thousand specs need not be in memory at once."""
    kept = ("name", "namespace", "uid", "deletionTimestamp")
    metadata = {key: value for key, value in thing["metadata"].items() if key in kept}
    ttl = (thing.get("spec") or {}).get("ttlSecondsAfterFinished")
    return {"metadata": metadata, "status": thing.get("status") or {}, "ttl": ttl}


def _is_at_rest(thing: Raw, now: datetime) -> bool:
    """Say whether nothing can be left to do: finished, and its pods stay, or are long gone."""
    status = thing["status"]
    conditions = status.get("conditions") or ()
    if not any(c["type"] == names.FINISHED and c["status"] == "True" for c in conditions):
        return False
    ended = times.from_text(status.get("completionTime"))
    age = (now - ended).total_seconds() if ended else 0.0
    return age > (thing["ttl"] or 0) + 3600
