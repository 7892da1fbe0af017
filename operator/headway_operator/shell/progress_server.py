"""Takes rank 0's reports and writes them to status.progress, under a field manager of its own. Every replica serves.

Nothing that a pod sends is believed but what its token proves: the pod's UID. From there the pod, its run and the
attempt are read live.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn, Protocol

from aiohttp import web
from headway_api import names
from headway_api.progress import Progress, ProgressReply, ProgressReport
from headway_api.refusals import explain
from pydantic import ValidationError

from headway_operator.core import times
from headway_operator.shell import metrics
from headway_operator.shell.cluster import ApiError, ConflictError, Key, Raw
from headway_operator.shell.trial_reports import ReportTaker, TrialReports

log = logging.getLogger(__name__)

REVIEW_CACHE_S = 60.0
BODY_TIMEOUT_S = 10.0
ACTIVE_S = 600.0  # a run that has reported within this time counts for the interval
BURST, PER_SECOND = 5.0, 1.0  # reports of one pod
# TokenReviews that one address may cause (a pod's token needs one a minute; a NAT may hide a node full of pods), and
# that are under way at once: whoever can reach the port can send tokens, and the API server is everybody's.
REVIEW_BURST, REVIEWS_PER_SECOND = 20.0, 2.0
REVIEWS_AT_ONCE = 16
MAX_CACHED = 10_000
MAX_REJECTED = 1_000


class ProgressStore(Protocol):
    """The part of the cluster that progress needs."""

    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """Return the object, or None."""

    async def post(self, kind: str, namespace: str, document: Raw) -> Raw | None:
        """Create it."""

    async def apply_status(self, key: Key, status: Raw, *, uid: str, manager: str, resource_version: str = "") -> None:
        """Apply a part of a status. Raises ConflictError."""


@dataclass(frozen=True)
class Caller:
    """The pod that a token was made for."""

    namespace: str
    pod: str
    uid: str


@dataclass(frozen=True)
class Pace:
    """How often runs are to report: `seconds` apart, or what keeps all of them together below `rate` a second."""

    seconds: float = 10.0
    rate: float = 20.0


class Buckets:
    """Token buckets by key, each full at first."""

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float]) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._left: dict[str, tuple[float, float]] = {}  # key -> when, tokens left

    def take(self, key: str) -> bool:
        """Take a token; say whether there was one."""
        now = self._clock()
        at, left = self._left.pop(key, (now, self._burst))
        left = min(self._burst, left + (now - at) * self._per_second)
        _bound(self._left, MAX_CACHED)
        self._left[key] = (now, max(0.0, left - 1))
        return left >= 1


class ProgressServer:
    """Stateless but for caches: any replica may take any report."""

    def __init__(
        self,
        store: ProgressStore,
        studies: ReportTaker,
        pace: Pace,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._pace, self._now, self._clock = store, pace, now, clock
        self._trials = TrialReports(studies)
        self._accepted: dict[str, tuple[float, Caller]] = {}  # token's digest -> when, who
        self._rejected: dict[str, float] = {}  # apart, so that rubbish takes no good token's place
        self._reviewing = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._reviews = Buckets(REVIEW_BURST, REVIEWS_PER_SECOND, clock)  # by address
        self._reports = Buckets(BURST, PER_SECOND, clock)  # by the pod's UID
        self._active: dict[str, float] = {}  # run's UID -> when it last reported

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application(client_max_size=names.PROGRESS_MAX_BYTES)
        app.add_routes([web.post(names.PROGRESS_PATH, self._handle)])
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            reply = await self.take(request)
        except web.HTTPException as error:
            metrics.REPORTS.labels(str(error.status)).inc()
            raise
        except (ApiError, TimeoutError) as error:
            metrics.REPORTS.labels("503").inc()
            log.warning("a report could not be recorded: %s", error)
            raise web.HTTPServiceUnavailable(text="the API server does not answer; send it again") from error
        metrics.REPORTS.labels("200").inc()
        return web.json_response(reply.to_wire())

    async def take(self, request: web.Request) -> ProgressReply:
        """Record one report. Raises web.HTTPException with the answer for one that is refused."""
        caller = await self._authenticate(request.headers.get("Authorization", ""), request.remote or "")
        if not self._reports.take(caller.uid):
            raise _too_many("one report a second is enough")
        async with asyncio.timeout(BODY_TIMEOUT_S):
            report = _parse(await request.read())
        key, uid, attempt = await self._run_of(caller)
        run = await self._store.get(names.TRAINING_RUN, key.namespace, key.name)
        if run is None or run["metadata"]["uid"] != uid:
            raise web.HTTPNotFound(text=f"run {key.name} is gone")
        status = run.get("status") or {}
        if not report.attempt == attempt == status.get("attempt"):
            raise web.HTTPConflict(
                text=f"attempt {report.attempt} is superseded: the present one is {status.get('attempt')}"
            )
        self._active[uid] = self._clock()
        recorded = int((status.get("progress") or {}).get("number") or 0)
        if report.number > recorded:
            await self._record(key, uid, report)
            recorded = report.number
        stall = float((run.get("spec") or {}).get("stallSeconds") or 600)
        stop = await self._trials.is_to_stop(run, report.progress.evaluations)
        return ProgressReply(acknowledged=recorded, next_seconds=self.next_seconds(stall), stop=stop)

    def next_seconds(self, stall_seconds: float) -> float:
        """Return the interval to the next report; well within what would be taken for a stall."""
        horizon = self._clock() - ACTIVE_S
        self._active = {uid: at for uid, at in self._active.items() if at > horizon}
        shared = len(self._active) / self._pace.rate
        return min(max(self._pace.seconds, shared), stall_seconds / 2, 3600.0)

    async def _record(self, key: Key, uid: str, report: ProgressReport) -> None:
        progress: Progress = report.progress.model_copy(
            update={
                "attempt": report.attempt,
                "number": report.number,
                "reported_at": times.to_text(self._now()),
            }
        )
        status = {"progress": progress.to_wire()}
        try:
            await self._store.apply_status(key, status, uid=uid, manager=names.MANAGER_PROGRESS)
        except ConflictError as error:
            raise web.HTTPNotFound(text=f"run {key.name} is gone") from error

    async def _run_of(self, caller: Caller) -> tuple[Key, str, int]:
        """Return the run that the pod belongs to, by its owner reference, and the pod's attempt."""
        pod = await self._store.get("Pod", caller.namespace, caller.pod)
        if pod is None or pod["metadata"]["uid"] != caller.uid:
            raise web.HTTPForbidden(text="the pod of this token is gone")
        labels = pod["metadata"].get("labels") or {}
        for owner in pod["metadata"].get("ownerReferences") or ():
            if owner.get("controller") and owner.get("kind") == names.TRAINING_RUN:
                attempt = str(labels.get(names.LABEL_ATTEMPT, ""))
                if labels.get(names.LABEL_NODE) == "0" and attempt.isdecimal():
                    return Key(caller.namespace, owner["name"]), owner["uid"], int(attempt)
        raise web.HTTPForbidden(text="only node 0 of a TrainingRun reports progress")

    async def _authenticate(self, header: str, remote: str) -> Caller:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise web.HTTPUnauthorized(text="a bearer token is needed")
        digest = hashlib.sha256(token.encode()).hexdigest()
        if not self._is_known(digest):
            if not self._reviews.take(remote):
                raise _too_many("too many tokens from this address")
            async with self._reviewing:
                if not self._is_known(digest):  # by now
                    self._remember(digest, _caller(await self._review(token)))
        if digest not in self._accepted:
            raise web.HTTPUnauthorized(text=f"the token is not one of a pod for audience {names.PROGRESS_AUDIENCE}")
        return self._accepted[digest][1]

    def _is_known(self, digest: str) -> bool:
        """Say whether the token was reviewed within the last minute."""
        at = self._accepted[digest][0] if digest in self._accepted else self._rejected.get(digest, -math.inf)
        return self._clock() - at < REVIEW_CACHE_S

    def _remember(self, digest: str, caller: Caller | None) -> None:
        self._accepted.pop(digest, None)
        self._rejected.pop(digest, None)
        if caller is None:
            _bound(self._rejected, MAX_REJECTED)
            self._rejected[digest] = self._clock()
        else:
            _bound(self._accepted, MAX_CACHED)
            self._accepted[digest] = (self._clock(), caller)

    async def _review(self, token: str) -> Raw:
        document = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [names.PROGRESS_AUDIENCE]},
        }
        return (await self._store.post("TokenReview", "", document) or {}).get("status") or {}


def _too_many(text: str) -> web.HTTPTooManyRequests:
    return web.HTTPTooManyRequests(text=text, headers={"Retry-After": "1"})


def _caller(status: Raw) -> Caller | None:
    """Read a TokenReview: a pod's token, for our audience, or nobody."""
    user = status.get("user") or {}
    parts = str(user.get("username") or "").split(":")
    extra = user.get("extra") or {}
    pod = (extra.get("authentication.kubernetes.io/pod-name") or [""])[0]
    uid = (extra.get("authentication.kubernetes.io/pod-uid") or [""])[0]
    is_good = status.get("authenticated") is True and names.PROGRESS_AUDIENCE in (status.get("audiences") or ())
    if not is_good or parts[:2] != ["system", "serviceaccount"] or len(parts) != 4 or not pod or not uid:
        return None
    return Caller(parts[2], pod, uid)


def _parse(body: bytes) -> ProgressReport:
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
        return ProgressReport.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise web.HTTPBadRequest(text="; ".join(explain(detail) for detail in error.errors()[:5])) from error
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"not a report: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def _bound(cache: dict[str, Any], limit: int) -> None:
    """Drop the oldest entry of a full cache."""
    if len(cache) >= limit:
        del cache[next(iter(cache))]
