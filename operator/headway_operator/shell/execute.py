"""One reconciliation: read the run and its children live, ask the core, do what it says."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from headway_api import names
from headway_api.training_run import Metadata, TrainingRun

from headway_operator.core import lifecycle, times
from headway_operator.core.observed import Observed, observe
from headway_operator.core.plan import Deletion, Event, Plan
from headway_operator.core.reconcile_run import Context, reconcile_run
from headway_operator.shell.cluster import (
    ApiError,
    Cluster,
    ConflictError,
    Key,
    LeavingError,
    Raw,
    RefusedError,
)

log = logging.getLogger(__name__)

CONFLICT_RETRY_S = 0.2
COMPONENT = "headway-operator"


async def reconcile(
    cluster: Cluster, key: Key, context: Callable[[], Context], clock: Callable[[], datetime]
) -> float | None:
    """Take one step towards what the run asks for. Return the seconds after which to look again, if at all."""
    raw = await cluster.get(names.TRAINING_RUN, key.namespace, key.name)
    if raw is None or raw["metadata"].get("deletionTimestamp"):
        return None
    run, problem = lifecycle.read_run(raw)
    now = clock()
    if problem:
        plan = lifecycle.reject(run, problem, now)
    else:
        seen = await gather(cluster, run, now)
        plan = reconcile_run(run, seen, context(), now)
    try:
        return await execute(cluster, run, plan, now)
    except ConflictError as conflict:
        log.debug("%s/%s: %s; reading again", key.namespace, key.name, conflict)
        return CONFLICT_RETRY_S


async def gather(cluster: Cluster, run: TrainingRun, now: datetime) -> Observed:
    """Read what the core must know of the run's children. Of a run that is finished, or not begun, only pods matter."""
    namespace, name, uid = run.metadata.namespace, run.metadata.name, run.metadata.uid
    status = lifecycle.status_of(run)
    is_active = status.attempt > 0 and not status.is_true(names.FINISHED)
    pods, service, config_map, claim = await asyncio.gather(
        cluster.list_pods(namespace, uid),
        cluster.get("Service", namespace, name) if is_active else _nothing(),
        cluster.get("ConfigMap", namespace, name) if is_active else _nothing(),
        _claim(cluster, run),
    )
    return observe(
        uid=uid,
        attempt=status.attempt,
        nodes=run.spec.nodes,
        now=now,
        pods=pods,
        service=service,
        config_map=config_map,
        claim=claim,
        cluster_nodes=await _doubtful_nodes(cluster, pods, now),
    )


async def _nothing() -> None:
    return None


async def _claim(cluster: Cluster, run: TrainingRun) -> Raw | None:
    """The claim matters only to a gang of several pods that has not started yet."""
    volume = run.spec.checkpoint.volume
    if volume is None or run.spec.nodes == 1 or lifecycle.status_of(run).attempt_start_time:
        return None
    return await cluster.get("PersistentVolumeClaim", run.metadata.namespace, volume.claim_name)


async def _doubtful_nodes(cluster: Cluster, pods: Sequence[Raw], now: datetime) -> dict[str, Raw | None]:
    """Look up the nodes of pods that should have ended by now. Without the right to read nodes, none is known."""
    doubtful = set()
    for pod in pods:
        due = times.from_text(pod["metadata"].get("deletionTimestamp"))
        node = (pod.get("spec") or {}).get("nodeName")
        if due is not None and now > due and node:
            doubtful.add(node)
    found: dict[str, Raw | None] = {}
    for node in sorted(doubtful):
        try:
            found[node] = await cluster.get("Node", "", node)
        except ApiError as error:
            if error.status != 403:
                raise
            log.warning("node %s cannot be read (%s): its pods are not forced", node, error.message)
    return found


async def execute(cluster: Cluster, run: TrainingRun, plan: Plan, now: datetime) -> float | None:
    """Do what the Plan says, in its order. Raises ConflictError where what was read is no longer so."""
    namespace = run.metadata.namespace
    await _delete(cluster, namespace, plan.delete)
    for manifest in plan.apply:
        await cluster.apply(manifest)
    if refusal := await _create(cluster, plan.create):
        plan = await _refused(cluster, run, refusal, now)
        await _delete(cluster, namespace, plan.delete)
    if plan.status is not None:
        await cluster.apply_status(
            Key(namespace, run.metadata.name),
            plan.status.model_copy(update={"progress": None}).to_wire(),
            uid=run.metadata.uid,
            manager=names.MANAGER_RECONCILER,
            resource_version=run.metadata.resource_version,
        )
    for event in plan.events:
        await post_event(cluster, names.TRAINING_RUN, run.metadata, event, now)
    return plan.requeue_after


async def _delete(cluster: Cluster, namespace: str, deletions: Sequence[Deletion]) -> None:
    await asyncio.gather(*(cluster.delete("Pod", namespace, d.name, d.uid, force=d.force) for d in deletions))


async def _refused(cluster: Cluster, run: TrainingRun, refusal: RefusedError, now: datetime) -> Plan:
    """Return what takes the place of the rest of a plan of which a child was refused."""
    if isinstance(refusal, LeavingError):
        return lifecycle.await_previous(run, str(refusal), now)
    log.warning("%s/%s: refused: %s", run.metadata.namespace, run.metadata.name, refusal)
    return lifecycle.refused(run, str(refusal), now, await gather(cluster, run, now))


async def _create(cluster: Cluster, manifests: Sequence[dict[str, Any]]) -> RefusedError | None:
    """Create the children, pods last and in parallel. Return the first refusal, of which one for people to mend comes
    before one that is only to be waited for."""
    first = [manifest for manifest in manifests if manifest["kind"] != "Pod"]
    pods = [manifest for manifest in manifests if manifest["kind"] == "Pod"]
    for wave in (first, pods):
        results = await asyncio.gather(*(cluster.create(manifest) for manifest in wave), return_exceptions=True)
        refusals = []
        for result in results:
            if isinstance(result, RefusedError):
                refusals.append(result)
            elif isinstance(result, BaseException):
                raise result
        if refusals:
            return min(refusals, key=lambda refusal: isinstance(refusal, LeavingError))
    return None


async def post_event(cluster: Cluster, kind: str, about: Metadata, event: Event, now: datetime) -> None:
    """Post an event about a run or a study; that one is lost is no reason to do anything again."""
    moment = times.to_text(now)
    digest = hashlib.sha256(f"{about.uid}/{event.reason}/{event.message}/{moment}".encode()).hexdigest()[:16]
    document = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about.name}.{digest}", "namespace": about.namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": kind,
            "name": about.name,
            "namespace": about.namespace,
            "uid": about.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:1024],
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }
    try:
        await cluster.post("Event", about.namespace, document)
    except ApiError as error:
        log.warning("event %s of %s/%s: %s", event.reason, about.namespace, about.name, error)
