"""kopf, as far as it goes here: three watches that put keys into our queue. It decides nothing and writes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import kopf
from headway_api import names

from headway_operator.core.study_plan import study_of
from headway_operator.shell.cluster import Key, Raw
from headway_operator.shell.queue import WorkQueue
from headway_operator.shell.settings import Settings

CHUNK = 500


class Marks:
    """Tells events that matter from our own status writes and progress reports, of which there are many more."""

    def __init__(self) -> None:
        self._seen: dict[Key, Hashable] = {}

    def is_news(self, key: Key, kind: str | None, mark: Hashable) -> bool:
        """Say whether an object is new, gone, bears another mark, or is listed anew after a broken watch."""
        if kind == "DELETED":
            self._seen.pop(key, None)
            return True
        is_known = self._seen.get(key) == mark
        self._seen[key] = mark
        return kind != "MODIFIED" or not is_known

    def keep(self, keys: set[Key]) -> None:
        """Forget all other objects: kopf does not tell of what was deleted while a watch was broken."""
        self._seen = {key: mark for key, mark in self._seen.items() if key in keys}


@dataclass(frozen=True)
class News:
    """What was seen last: for reconciling an object itself its spec, for a run's study how the run is."""

    specs: Marks = field(default_factory=Marks)
    fates: Marks = field(default_factory=Marks)

    def keep(self, keys: set[Key]) -> None:
        """Forget all other objects."""
        self.specs.keep(keys)
        self.fates.keep(keys)


def spec_mark(metadata: Raw) -> Hashable:
    """Return what changes with an object's spec, and when its deletion begins."""
    return metadata["uid"], metadata.get("generation", 0), "deletionTimestamp" in metadata


def fate_mark(run: Raw) -> Hashable:
    """Return what a run's study must look at: not its progress."""
    conditions = (run.get("status") or {}).get("conditions") or ()
    return spec_mark(run["metadata"]), frozenset(c["type"] for c in conditions if c["status"] == "True")


class NoDiffs(kopf.DiffBaseStorage):
    """kopf copies every object several times to tell what has changed; nobody asks it (a quarter of all CPU time)."""

    def build(self, **_: Any) -> Any:
        """Take nothing of the object."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Remember nothing."""

    def store(self, **_: Any) -> None:
        """Write nothing into the object."""


def registry(queue: WorkQueue[Key], news: News) -> kopf.OperatorRegistry:
    """Return the handlers, in a registry of their own."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**context: Any) -> kopf.ConnectionInfo | None:
        if os.environ.get("KUBECONFIG"):
            return kopf.login_with_kubeconfig(**context)
        return kopf.login_with_service_account(**context)

    @kopf.on.event(names.GROUP, names.VERSION, names.TRAINING_RUNS, registry=handlers)  # type: ignore[arg-type]
    async def run_changed(event: Any, namespace: str, name: str, **_: Any) -> None:
        key, run = Key(namespace, name), event["object"]
        if news.specs.is_news(key, event["type"], spec_mark(run["metadata"])):
            queue.add(key)
        study = study_of(run["metadata"])
        if study and news.fates.is_news(key, event["type"], fate_mark(run)):
            queue.add(Key(namespace, study[0], names.HPO_STUDY))

    @kopf.on.event(names.GROUP, names.VERSION, names.HPO_STUDIES, registry=handlers)  # type: ignore[arg-type]
    async def study_changed(event: Any, namespace: str, name: str, **_: Any) -> None:
        key = Key(namespace, name, names.HPO_STUDY)
        if news.specs.is_news(key, event["type"], spec_mark(event["object"]["metadata"])):
            queue.add(key)

    @kopf.on.event("", "v1", "pods", registry=handlers)  # type: ignore[arg-type]
    async def pod_changed(labels: Any, namespace: str, **_: Any) -> None:
        if run := labels.get(names.LABEL_RUN):
            queue.add(Key(namespace, run))
        elif study := labels.get(names.LABEL_STUDY):  # its driver's
            queue.add(Key(namespace, study, names.HPO_STUDY))

    return handlers


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings; docs/decisions/0004 has the reasons."""
    settings = kopf.OperatorSettings()
    settings.watching.label_selectors["", "v1", "pods"] = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
    settings.watching.chunk_size = CHUNK
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 5
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.persistence.diffbase_storage = NoDiffs()
    settings.scanning.disabled = True  # no right to watch CRDs and namespaces
    settings.posting.enabled = False  # we post our own events
    settings.peering.standalone = True  # the Lease is ours
    return settings


async def watch(settings: Settings, queue: WorkQueue[Key], news: News, stop: asyncio.Event) -> None:
    """Run kopf until `stop` is set, or one of its watches fails: then this process has to end, too."""
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it would tell of every event
    if settings.kubeconfig:
        os.environ["KUBECONFIG"] = settings.kubeconfig
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry(queue, news),
        settings=kopf_settings(),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
    )
    stop_on_signals(stop)  # kopf has just taken them for itself
    await kopf.run_tasks(tasks, ignored=ours)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT; only the main thread has signals."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
