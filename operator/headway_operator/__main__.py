"""`headway-operator`: every replica serves /healthz, /metrics and progress; the one with the Lease reconciles."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

import aiohttp
from aiohttp import web

from headway_operator.shell import health as healths
from headway_operator.shell.certificates import Certificates, Served
from headway_operator.shell.cluster import Cluster, connect
from headway_operator.shell.handlers import stop_on_signals
from headway_operator.shell.leader import Leader, utc_now
from headway_operator.shell.lease import Lease, Terms
from headway_operator.shell.progress_server import Pace, ProgressServer
from headway_operator.shell.settings import Settings, SettingsError, read_settings
from headway_operator.shell.studies_client import StudiesClient

log = logging.getLogger("headway_operator")


async def serve_progress(server: ProgressServer, certificates: Certificates, port: int) -> None:
    """Serve reports for ever, once there is a certificate."""
    await certificates.ready.wait()
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port, ssl_context=certificates.context).start()
        log.info("progress is served on port %d", port)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def studies_client(settings: Settings, session: aiohttp.ClientSession, certificates: Certificates) -> StudiesClient:
    """Return a client that trusts our own authority, or whom the file names."""
    given = Path(settings.studies_ca_file) if settings.studies_ca_file else None
    authorities = given.read_text if given else lambda: certificates.ca_bundle
    return StudiesClient(session, settings.studies_url, Path(settings.studies_token_file), authorities)


async def operate(settings: Settings, stop: asyncio.Event) -> None:
    """Run this replica until `stop` is set. Raises what it cannot go on from."""
    client = await connect(settings.kubeconfig)
    cluster = Cluster(client)
    terms = Terms(settings.lease_seconds, settings.lease_renew_seconds, settings.lease_retry_seconds)
    lease = Lease(cluster, settings.operator_namespace, settings.lease_name, settings.identity, terms)
    certificates = Certificates(
        cluster,
        settings.operator_namespace,
        settings.secret_name,
        settings.server_names,
        settings.certificate_days,
        [Served(settings.studies_secret_name, settings.studies_names)] if settings.studies_secret_name else [],
    )
    health = healths.Health(settings.health_seconds, lambda: lease.ticked_at, certificates.ready.is_set)
    session = aiohttp.ClientSession(trust_env=False)
    studies = studies_client(settings, session, certificates)
    server = ProgressServer(cluster, studies, Pace(settings.progress_seconds, settings.progress_rate), utc_now)
    probes = await healths.serve(health, settings.metrics_port)
    try:
        async with asyncio.TaskGroup() as group:
            following = group.create_task(certificates.follow())
            background = [following, group.create_task(serve_progress(server, certificates, settings.progress_port))]
            if await _acquired(lease, stop):
                background.append(group.create_task(lease.hold()))
                leader = Leader(
                    settings, cluster.fenced(lease.fence), studies.fenced(lease.fence), certificates, health
                )
                following.cancel()  # the leader reads what it writes
                await leader.lead(stop)
            for task in background:
                task.cancel()
        await lease.release()
    finally:
        await probes.cleanup()
        await session.close()
        await client.close()  # type: ignore[no-untyped-call]


async def _acquired(lease: Lease, stop: asyncio.Event) -> bool:
    """Wait for the Lease or for the end, whichever comes first."""
    acquiring, stopping = asyncio.create_task(lease.acquire()), asyncio.create_task(stop.wait())
    await asyncio.wait((acquiring, stopping), return_when=asyncio.FIRST_COMPLETED)
    for task in (acquiring, stopping):
        if not task.done():
            task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await acquiring
    return lease.is_held and not stop.is_set()


async def _until_signalled(settings: Settings) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    await operate(settings, stop)


def main() -> int:
    """Run the operator. Returns 0 after SIGTERM, 1 after an error, 2 for settings that cannot be used."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"headway-operator: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_until_signalled(settings))
    except Exception:
        log.exception("the operator cannot go on")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
