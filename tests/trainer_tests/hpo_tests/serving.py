"""The storage protocol served in this process, with a real certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headway.hpo import remote
from headway.hpo.service.grpc import make_server
from headway.hpo.service.identity import Identity
from headway.hpo.service.tls import Pair
from headway_operator.shell.authority import renewed
from optuna.storages import BaseStorage

HOST = "headway-studies.system.svc"


def certify(folder: Path) -> Path:
    """Write tls.crt, tls.key and ca.crt as the operator's leader would; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    data = renewed({}, (HOST, "localhost"), timedelta(days=90), datetime.now(UTC))
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (folder / name).write_bytes(data[name])
    return folder


@contextmanager
def served(storage: BaseStorage, identity: Identity, folder: Path) -> Iterator[str]:
    """Serve on a free port of this machine; yields HOST:PORT."""
    pair = Pair(certify(folder))
    pair.wait()
    server, port = make_server(storage, identity, pair, "localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()


def client(address: str, token: str, folder: Path) -> remote.RemoteStorage:
    return remote.storage(address, token, folder / "ca.crt")
