"""kopf, as far as it goes here: two watches that put keys into our queue. It decides nothing and writes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import Any

import kopf
from headway_api import names

from headway_operator.shell.cluster import RunKey
from headway_operator.shell.queue import WorkQueue
from headway_operator.shell.settings import Settings

CHUNK = 500


class Generations:
    """Tells events that matter from our own status writes and progress reports, of which there are many more."""

    def __init__(self) -> None:
        self._seen: dict[RunKey, tuple[str, int, bool]] = {}

    def is_news(self, key: RunKey, kind: str | None, metadata: dict[str, Any]) -> bool:
        """Say whether a run is new, gone, changed in its spec, or listed anew after a broken watch."""
        if kind == "DELETED":
            self._seen.pop(key, None)
            return True
        mark = (metadata["uid"], metadata.get("generation", 0), "deletionTimestamp" in metadata)
        is_known = self._seen.get(key) == mark
        self._seen[key] = mark
        return kind != "MODIFIED" or not is_known

    def keep(self, keys: set[RunKey]) -> None:
        """Forget all other runs: kopf does not tell of what was deleted while a watch was broken."""
        self._seen = {key: mark for key, mark in self._seen.items() if key in keys}


class NoDiffs(kopf.DiffBaseStorage):
    """kopf copies every object several times to tell what has changed; nobody asks it (a quarter of all CPU time)."""

    def build(self, **_: Any) -> Any:
        """Take nothing of the object."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Remember nothing."""

    def store(self, **_: Any) -> None:
        """Write nothing into the object."""


def registry(queue: WorkQueue[RunKey], generations: Generations) -> kopf.OperatorRegistry:
    """Return the handlers, in a registry of their own."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**context: Any) -> kopf.ConnectionInfo | None:
        if os.environ.get("KUBECONFIG"):
            return kopf.login_with_kubeconfig(**context)
        return kopf.login_with_service_account(**context)

    @kopf.on.event(names.GROUP, names.VERSION, names.TRAINING_RUNS, registry=handlers)  # type: ignore[arg-type]
    async def run_changed(event: Any, namespace: str, name: str, **_: Any) -> None:
        key = RunKey(namespace, name)
        if generations.is_news(key, event["type"], event["object"]["metadata"]):
            queue.add(key)

    @kopf.on.event("", "v1", "pods", registry=handlers)  # type: ignore[arg-type]
    async def pod_changed(labels: Any, namespace: str, **_: Any) -> None:
        if run := labels.get(names.LABEL_RUN):
            queue.add(RunKey(namespace, run))

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


async def watch(settings: Settings, queue: WorkQueue[RunKey], generations: Generations, stop: asyncio.Event) -> None:
    """Run kopf until `stop` is set, or one of its watches fails: then this process has to end, too."""
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it would tell of every event
    if settings.kubeconfig:
        os.environ["KUBECONFIG"] = settings.kubeconfig
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry(queue, generations),
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
