"""Raw children -> Observed: each pod in a bucket, by attempt and by what became of it. Foreign data is bounded here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from headway_api import names

from headway_operator.core import times

Raw = Mapping[str, Any]
Fate = Literal["active", "succeeded", "failed"]

MAX_ATTEMPT = 999_999  # names of pods stay under 63 characters
FORCE_AFTER = timedelta(seconds=30)  # beyond the grace period, which is already in deletionTimestamp
_STEP = re.compile(r"step-(\d{1,18})")
# Reasons of pods that failed by no fault of the trainer: the kubelet's evictions, shutdowns and refusals to admit.
_DISRUPTIONS = ("Evicted", "Preempting", "Preempted", "NodeLost", "NodeShutdown", "Terminated", "NodeAffinity")
_REFUSALS = ("OutOf", "UnexpectedAdmissionError")


@dataclass(frozen=True)
class Outcome:
    """What the launcher wrote to the termination message. A pod can write anything: nothing here is believed alone."""

    outcome: str = ""
    step: int = 0
    checkpoint_step: int = -1
    error: str = ""


@dataclass(frozen=True)
class Child:
    """A pod of the run."""

    name: str
    uid: str
    attempt: int
    node: int
    fate: Fate = "active"
    outcome: Outcome = Outcome()
    exit_code: int | None = None
    reason: str = ""  # of the pod or of its container: Evicted, OOMKilled, Error, …
    waiting: tuple[str, str] = ("", "")  # reason and message of what the pod waits for
    is_running: bool = False  # its container runs
    is_over: bool = False  # the kubelet has confirmed its end: it holds nothing any more
    is_disrupted: bool = False  # preempted, evicted, or its node is lost
    is_terminating: bool = False
    is_unconfirmed: bool = False  # terminating for longer than its grace, on a node that is missing or not ready
    delete_at: datetime | None = None  # deletionTimestamp: end of its grace
    finished_at: datetime | None = None


@dataclass(frozen=True)
class Observed:
    """The run's children, as they are now."""

    attempt: int = 0  # the present one, which the buckets are about
    nodes: int = 1
    pods: tuple[Child, ...] = ()
    service: Raw | None = None
    config_map: Raw | None = None
    access_modes: tuple[str, ...] | None = None  # of the checkpoint's claim, where it was looked at
    foreign: tuple[str, ...] = ()  # objects of others that stand where ours would
    leaving: tuple[str, ...] = ()  # the same, but about to go: of a run of this name that was deleted

    current: tuple[Child, ...] = field(init=False)
    stale: tuple[Child, ...] = field(init=False)  # of other attempts, and not over
    outdated: tuple[Child, ...] = field(init=False)  # over, and older than the last two attempts

    def __post_init__(self) -> None:
        """Fill the buckets."""
        pods = tuple(sorted(self.pods, key=lambda pod: (pod.attempt, pod.node, pod.name)))
        others = tuple(pod for pod in pods if pod.attempt != self.attempt)
        object.__setattr__(self, "pods", pods)
        object.__setattr__(self, "current", tuple(pod for pod in pods if pod.attempt == self.attempt))
        object.__setattr__(self, "stale", tuple(pod for pod in others if not pod.is_over))
        outdated = tuple(pod for pod in others if pod.is_over and pod.attempt < self.attempt - 1)
        object.__setattr__(self, "outdated", outdated)

    def of(self, fate: Fate) -> tuple[Child, ...]:
        """Return the present attempt's pods of that fate."""
        return tuple(pod for pod in self.current if pod.fate == fate)

    @property
    def missing(self) -> tuple[int, ...]:
        """Nodes of the present attempt that have no pod: not made yet, or lost."""
        there = {pod.node for pod in self.current}
        return tuple(node for node in range(self.nodes) if node not in there)

    @property
    def all_succeeded(self) -> bool:
        """Every node says that nothing is left to do: training is complete, or the study has pruned the run."""
        return not self.missing and len(self.of("succeeded")) == len(self.current)

    @property
    def all_running(self) -> bool:
        """Every node's container runs, or has run and ended well."""
        return not self.missing and all(pod.is_running or pod.fate == "succeeded" for pod in self.current)

    @property
    def unfinished(self) -> tuple[Child, ...]:
        """Pods of any attempt that still hold something."""
        return tuple(pod for pod in self.pods if not pod.is_over)


def observe(
    *,
    uid: str,
    attempt: int,
    nodes: int,
    now: datetime,
    pods: Iterable[Raw] = (),
    service: Raw | None = None,
    config_map: Raw | None = None,
    claim: Raw | None = None,
    cluster_nodes: Mapping[str, Raw | None] | None = None,
) -> Observed:
    """Sort the children of the run with that UID. `cluster_nodes`: those looked up; None is a missing one."""
    mine = [child(pod, now, cluster_nodes or {}) for pod in pods if _is_ours(pod, uid)]
    others = {
        f"{kind} {_metadata(thing).get('name', '')}": is_leaving(thing, str(_metadata(thing).get("name")))
        for kind, thing in (("Service", service), ("ConfigMap", config_map))
        if thing is not None and not _is_ours(thing, uid)
    }
    return Observed(
        attempt=max([attempt, *(pod.attempt for pod in mine)]),
        nodes=nodes,
        pods=tuple(mine),
        service=service,
        config_map=config_map,
        access_modes=None if claim is None else tuple(claim.get("spec", {}).get("accessModes") or ()),
        foreign=tuple(what for what, leaves in others.items() if not leaves),
        leaving=tuple(what for what, leaves in others.items() if leaves),
    )


def child(pod: Raw, now: datetime, cluster_nodes: Mapping[str, Raw | None]) -> Child:
    """Read one pod."""
    metadata, status = _metadata(pod), pod.get("status") or {}
    labels = metadata.get("labels") or {}
    container = _container(status)
    ended = container.get("terminated") or {}
    outcome = read_outcome(ended.get("message"))
    delete_at = times.from_text(metadata.get("deletionTimestamp"))
    phase = status.get("phase")
    return Child(
        name=metadata["name"],
        uid=metadata["uid"],
        attempt=min(_whole(labels.get(names.LABEL_ATTEMPT)), MAX_ATTEMPT),
        node=_whole(labels.get(names.LABEL_NODE)),
        fate=_fate(phase, ended, outcome),
        outcome=outcome,
        exit_code=ended.get("exitCode"),
        reason=str(status.get("reason") or ended.get("reason") or "")[:64],
        waiting=_waiting(status, container),
        is_running=container.get("running") is not None,
        is_over=phase in ("Succeeded", "Failed"),
        is_disrupted=_is_disrupted(status),
        is_terminating=delete_at is not None,
        is_unconfirmed=delete_at is not None
        and now >= delete_at + FORCE_AFTER
        and _is_node_gone(str((pod.get("spec") or {}).get("nodeName") or ""), cluster_nodes),
        delete_at=delete_at,
        finished_at=times.from_text(ended.get("finishedAt")),
    )


def read_outcome(message: object) -> Outcome:
    """Read a termination message: the launcher's JSON, or else the end of the log, of which the last line is kept."""
    if not isinstance(message, str) or not message.strip():
        return Outcome()
    try:
        found = json.loads(message[:8192])
    except (ValueError, RecursionError):
        return Outcome(error=_clean(message.strip().splitlines()[-1]))
    if not isinstance(found, dict):
        return Outcome(error=_clean(message))
    step, checkpoint = found.get("step"), found.get("checkpoint")
    match = _STEP.search(checkpoint) if isinstance(checkpoint, str) else None
    return Outcome(
        outcome=_clean(found.get("outcome"), 32),
        step=_whole(step),
        checkpoint_step=int(match[1]) if match else _whole(checkpoint, -1),
        error=_clean(found.get("error")),
    )


def _fate(phase: object, ended: Raw, outcome: Outcome) -> Fate:
    """Exit 0 alone is no success: under SIGTERM a trainer saves and leaves in order, too."""
    if not ended and phase not in ("Failed", "Succeeded"):
        return "active"
    is_complete = ended.get("exitCode") == names.EXIT_OK and outcome.outcome in names.OUTCOMES_OF_THE_END
    return "succeeded" if is_complete else "failed"


def _is_disrupted(status: Raw) -> bool:
    reason = str(status.get("reason") or "")
    return (
        any(c.get("type") == "DisruptionTarget" and c.get("status") == "True" for c in status.get("conditions") or ())
        or reason in _DISRUPTIONS
        or reason.startswith(_REFUSALS)
    )


def _waiting(status: Raw, container: Raw) -> tuple[str, str]:
    """Return what an active pod waits for, in the scheduler's or the kubelet's words."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _clean(condition.get("reason"), 64), _clean(condition.get("message"))
    waiting = container.get("waiting") or {}
    return _clean(waiting.get("reason"), 64), _clean(waiting.get("message"))


def _is_node_gone(name: str, cluster_nodes: Mapping[str, Raw | None]) -> bool:
    """A node counts as gone only if it was looked up and is missing, or says itself that it is not ready."""
    if name not in cluster_nodes:
        return False
    node = cluster_nodes[name]
    if node is None:
        return True
    conditions = (node.get("status") or {}).get("conditions") or ()
    return not any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _container(status: Raw) -> Raw:
    """Return the state of our container; injected sidecars are not looked at."""
    for entry in status.get("containerStatuses") or ():
        if entry.get("name") == names.CONTAINER:
            return entry.get("state") or {}
    return {}


def _is_ours(thing: Raw, uid: str) -> bool:
    owners = _metadata(thing).get("ownerReferences") or ()
    return any(owner.get("uid") == uid and owner.get("controller") for owner in owners)


def is_leaving(thing: Raw, owner_name: str, owner_kind: str = names.TRAINING_RUN) -> bool:
    """Say whether an object that is not this owner's goes by itself: it terminates, or belongs to one of the same name,
    which can only be one that was deleted (the garbage collector is on its way)."""
    metadata = _metadata(thing)
    owners = metadata.get("ownerReferences") or ()
    is_of_namesake = any(o.get("kind") == owner_kind and o.get("name") == owner_name for o in owners)
    return bool(metadata.get("deletionTimestamp")) or is_of_namesake


def _metadata(thing: Raw) -> Raw:
    return thing.get("metadata") or {}


def _whole(value: object, default: int = 0) -> int:
    """Return a whole number of at most 18 digits from a label or from foreign JSON."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18:
        return value
    return default


def _clean(value: object, limit: int = 512) -> str:
    """Return printable text on one line, bounded."""
    if not isinstance(value, str):
        return ""
    text = " ".join("".join(c if c.isprintable() else " " for c in value[: 4 * limit]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
