"""Plan: all that the core says, and all that the shell does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from headway_api.training_run import TrainingRunStatus

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Deletion:
    """A pod to delete: this one (UID), not a later one of the same name."""

    name: str
    uid: str
    force: bool = False  # with no grace: its node is gone and will not confirm


@dataclass(frozen=True)
class Event:
    """What happened, for `kubectl describe`; posted after the status that it speaks of is written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """Executed in the order of the fields. An empty Plan means that everything is as it should be."""

    delete: tuple[Deletion, ...] = ()
    apply: tuple[Manifest, ...] = ()
    """Changed by server-side apply; each carries the UID that was read. Before new pods are made: they read it once."""
    create: tuple[Manifest, ...] = ()
    """Created by POST, so that nothing of somebody else is ever overwritten."""
    status: TrainingRunStatus | None = None
    """The whole status but for progress; None where it stays as it is."""
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    """Seconds after which time alone may change the answer."""

    def waking_after(self, *seconds: float | None) -> Plan:
        """Return the plan with the earliest of its own and these wake-ups."""
        moments = [s for s in (self.requeue_after, *seconds) if s is not None]
        return replace(self, requeue_after=min(moments, default=None))

    def deleting(self, *deletions: Deletion) -> Plan:
        """Return the plan with more deletions; a forced one takes the place of a plain one."""
        merged = {(d.name, d.uid): d for d in (*self.delete, *deletions)}
        return replace(self, delete=tuple(merged.values()))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do now."""
        return not (self.delete or self.create or self.apply or self.status or self.events)
