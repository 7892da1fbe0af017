"""The processes that are measured: our service, the same without TLS and tokens, Optuna's proxy, over one storage."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headway.errors import UserError
from headway.launch.threads import THREAD_VARIABLES

START_S = 60.0
PLAIN = "headway.hpo.bench.plain"
OPERATOR, TENANT, NAMESPACE = "the-operators-token", "the-tenants-token", "bench"
Way = Literal["service", "storage protocol", "Optuna's proxy", "Optuna, direct"]


@dataclass(frozen=True)
class Endpoint:
    """One way to a study, as a worker in another process opens it."""

    way: Way
    database: str  # sqlite or postgresql
    pid: int = 0  # of the server; 0 without one
    port: int = 0
    ca: Path | None = None  # with TLS and token
    url: str = ""  # of the storage, for who goes there directly


@contextmanager
def endpoints(url: str, folder: Path) -> Iterator[list[Endpoint]]:
    """Serve a storage in all ways. Raises UserError where a server does not come up."""
    database = url.partition(":")[0].partition("+")[0]
    certify(folder)
    (folder / "tokens.json").write_text(json.dumps({"operator": OPERATOR, "namespaces": {NAMESPACE: TENANT}}))
    ca, (secure, storage, plain, proxy) = folder / "tls.crt", (free_port() for _ in range(4))
    ours = ["-m", "headway", "studies", "serve", "--listen", f"localhost:{secure}", "--grpc-listen"]
    ours += [f"localhost:{storage}", "--tls-dir", str(folder), "--token-file", str(folder / "tokens.json")]
    with ExitStack() as stack:

        def start(port: int, *command: str) -> int:
            return stack.enter_context(_process(command, port, url, folder / f"{port}.log"))

        pid = start(secure, *ours)  # first, and alone: it makes the tables
        found = [
            Endpoint("service", database, pid, secure, ca),
            Endpoint("service", database, start(plain, "-m", PLAIN, "calls", str(plain)), plain),
            Endpoint("storage protocol", database, pid, storage, ca),
            Endpoint("Optuna's proxy", database, start(proxy, "-m", PLAIN, "proxy", str(proxy)), proxy),
        ]
        if database != "sqlite":
            found.append(Endpoint("Optuna, direct", database, url=url))
        yield found


@contextmanager
def _process(command: Sequence[str], port: int, url: str, log: Path) -> Iterator[int]:
    environ = os.environ | {"HEADWAY_STUDIES_STORAGE": url} | dict.fromkeys(THREAD_VARIABLES, "1")
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *command], env=environ, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                last = (log.read_text(errors="replace").strip() or "no word").splitlines()[-1]
                raise UserError(f"a server did not come up: {' '.join(command[1:3])}: {last}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def certify(folder: Path) -> None:
    """Write tls.key and a tls.crt that is its own authority. Raises UserError without openssl."""
    if shutil.which("openssl") is None:
        raise UserError("openssl is not installed: it makes the certificate that TLS is measured with")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run([*command, *files], check=True, capture_output=True)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def processor_seconds(pid: int) -> float:
    """Return what a process has used of the processors so far. Linux tells."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True
