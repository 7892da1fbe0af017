"""Leader election by a coordination.k8s.io Lease, as client-go does it, with a fence before every write.

kopf's peering is no election (docs/decisions/0005). A leader that was stopped and goes on (SIGSTOP, a frozen virtual
machine) finds by the clock that its Lease may be another's, before it writes anything: the process then ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from headway_operator.shell.cluster import ApiError, ConflictError, Raw

log = logging.getLogger(__name__)

# Counts on while the machine sleeps, where the system has such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_clock() -> float:
    """Return seconds of a clock that never goes back."""
    return time.clock_gettime(_CLOCK)


class LeaseStore(Protocol):
    """The part of the cluster that a Lease needs."""

    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """Return the Lease, or None."""

    async def post(self, kind: str, namespace: str, document: Raw) -> Raw | None:
        """Create it; None if it is there already."""

    async def replace(self, kind: str, document: Raw) -> Raw:
        """Replace what was read. Raises ConflictError."""


@dataclass(frozen=True)
class Terms:
    """Seconds: how long a Lease is good for, when its holder gives up, and how often it tries."""

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


def die(message: str) -> None:
    """End the process at once: no handler, no pending request of a leader that was may run on."""
    log.critical("%s; this process ends, and the next one starts as a follower", message)
    logging.shutdown()
    os._exit(1)


class Lease:
    """This process's claim to be the leader."""

    def __init__(
        self,
        store: LeaseStore,
        namespace: str,
        name: str,
        identity: str,
        terms: Terms = Terms(),
        clock: Callable[[], float] = steady_clock,
        die: Callable[[str], None] = die,
    ) -> None:
        self._store, self._namespace, self._name, self._terms = store, namespace, name, terms
        # A container that is started again in its pod must not take itself for the leader that it was.
        self.identity = f"{identity}_{uuid.uuid4().hex[:8]}"
        self._clock, self._die = clock, die
        self._seen: tuple[str, str] = ("", "")  # holder and renewal, as last read
        self._seen_at = clock()  # when that was first read: other machines' clocks are not compared with ours
        self._renewed_at: float | None = None  # when the last successful renewal was sent
        self.ticked_at = clock()  # for /healthz: the loop is alive

    @property
    def is_held(self) -> bool:
        """Whether this process is the leader, as far as it can know without asking."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < self._terms.renew

    def fence(self) -> None:
        """Called before every write of the leader: returns only while the Lease is safely ours."""
        if not self.is_held:
            self._die(f"lease {self._namespace}/{self._name} was not renewed in time")
            raise RuntimeError("the lease is lost")

    async def acquire(self) -> None:
        """Wait until this process is the leader."""
        log.info("%s: waiting for lease %s/%s", self.identity, self._namespace, self._name)
        while not await self._try():
            await asyncio.sleep(self._terms.retry)
        log.info("%s: leading", self.identity)

    async def hold(self) -> None:
        """Renew for ever. Returns, after ending the process, when the Lease is lost."""
        while True:
            await asyncio.sleep(self._terms.retry)
            await self._try()
            if not self.is_held:
                self._die(f"lease {self._namespace}/{self._name} is lost")
                return

    async def release(self) -> None:
        """Leave in order: the next leader need not wait."""
        if not self.is_held:
            return
        self._renewed_at = None
        try:
            lease = await self._store.get("Lease", self._namespace, self._name)
            if lease and lease["spec"].get("holderIdentity") == self.identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._store.replace("Lease", lease)
        except (ApiError, ConflictError) as error:
            log.warning("the lease is not released (%s): the next leader waits for its end", error)

    async def _try(self) -> bool:
        """Take or renew the Lease, if that is possible now."""
        self.ticked_at = self._clock()
        try:
            async with asyncio.timeout(self._terms.renew / 2):
                return await self._take_or_renew()
        except ConflictError:
            return False  # somebody was faster
        except (ApiError, TimeoutError) as error:
            log.warning("lease %s/%s: %s", self._namespace, self._name, error or "no answer in time")
            return False

    async def _take_or_renew(self) -> bool:
        sent = self._clock()
        lease = await self._store.get("Lease", self._namespace, self._name)
        if lease is None:
            made = await self._store.post("Lease", self._namespace, self._document(None))
            return self._won(sent) if made is not None else False
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder != self.identity and not self._is_over(holder, str(spec.get("renewTime") or "")):
            self._renewed_at = None
            return False
        sent = self._clock()
        await self._store.replace("Lease", self._document(lease))
        return self._won(sent)

    def _won(self, sent: float) -> bool:
        self._renewed_at = sent
        return True

    def _is_over(self, holder: str, renewed: str) -> bool:
        """A Lease is over when it was let go, or when nobody renewed it while we watched for its whole duration."""
        if (holder, renewed) != self._seen:
            self._seen, self._seen_at = (holder, renewed), self._clock()
        return not holder or self._clock() - self._seen_at >= self._terms.duration

    def _document(self, old: Raw | None) -> Raw:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict((old or {}).get("spec") or {})
        if spec.get("holderIdentity") != self.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (old is not None)
        spec |= {
            "holderIdentity": self.identity,
            "renewTime": now,
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
        }
        metadata = (old or {}).get("metadata") or {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
