"""The process of the study service: waits for what it needs, serves both protocols, ends on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass

import sqlalchemy
from aiohttp import web
from optuna.storages import BaseStorage

from headway.errors import UserError
from headway.hpo.service import grpc as storage_protocol
from headway.hpo.service.http import make_app
from headway.hpo.service.identity import Identity
from headway.hpo.service.studies import Studies
from headway.hpo.service.tls import Pair
from headway.hpo.storage import open_storage

log = logging.getLogger("headway")

RETRY_S = 2.0
RENEW_S = 30.0
GRACE_S = 3.0  # what calls have to end when the process is told to
LEAVE_S = 4.0  # after it no thread is waited for: a database that hangs


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def read(cls, option: str, text: str) -> Address:
        """Read HOST:PORT. Raises UserError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not int(port) < 65536:
            raise UserError(f"{option}: found {text!r}: give HOST:PORT")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def serve(url: str, calls: Address, storage: Address | None, pair: Pair, identity: Identity) -> None:
    """Serve until SIGTERM or SIGINT. Raises UserError for a URL that is wrong, OSError for a port that is taken."""
    signal.signal(signal.SIGTERM, _interrupt)  # also while it waits
    pair.wait()
    opened = wait_for_storage(url)
    asyncio.run(_serve(opened, calls, storage, pair, identity))


def wait_for_storage(url: str) -> BaseStorage:
    """Open the storage as soon as its database answers. Raises UserError for a URL that is wrong."""
    while True:
        try:
            return open_storage(url)
        except sqlalchemy.exc.OperationalError as error:
            # Only the first line, and nothing of the URL: it has the password.
            log.warning("the storage does not answer yet: %s", str(error.orig).splitlines()[0])
            time.sleep(RETRY_S)


async def _serve(opened: BaseStorage, calls: Address, storage: Address | None, pair: Pair, identity: Identity) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = make_app(Studies(opened), identity)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=False, shutdown_timeout=GRACE_S)
    await runner.setup()
    protocol = None
    try:
        if storage is not None:
            protocol, port = storage_protocol.make_server(opened, identity, pair, str(storage))
            protocol.start()
            log.info("Optuna's storage protocol is served on %s", Address(storage.host, port))
        site = web.TCPSite(runner, calls.host, calls.port, ssl_context=pair.context)
        await site.start()
        log.info("studies are served on %s", _listening(runner))
        renewing = asyncio.create_task(_renew(pair))
        await stop.wait()
        renewing.cancel()
        _leave_anyway()
    finally:
        if protocol is not None:
            protocol.stop(GRACE_S)
        await runner.cleanup()


def _leave_anyway() -> None:
    """Leave though a thread waits for the database: what it has not written is as if the process had been killed."""
    leaving = threading.Timer(LEAVE_S, os._exit, [0])
    leaving.daemon = True
    leaving.start()


async def _renew(pair: Pair) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        pair.renew()


def _listening(runner: web.AppRunner) -> Address:
    host, port = runner.addresses[0][:2]
    return Address(host, port)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
