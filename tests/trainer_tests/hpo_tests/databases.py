"""A PostgreSQL of a test's own, which can be killed and started again."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from trainer_tests.waiting import wait_for


def program(name: str) -> str | None:
    """Return one of PostgreSQL's programs, also where Debian hides them."""
    found = [shutil.which(name), *map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    return next((program for program in found if program), None)


class Postgres:
    """A server on a socket, or, with a password, on a port of `address`. Root may not run it: then it is nobody's, and
    so in a folder of its own: pytest closes those above a test's to everybody else whenever it starts."""

    def __init__(self, address: str = "") -> None:
        initdb, server = program("initdb"), program("postgres")
        if initdb is None or server is None:
            if os.environ.get("CI") == "true":
                pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
            pytest.skip("PostgreSQL is not installed")
        self._user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        self._folder = folder = Path(tempfile.mkdtemp(prefix="headway-postgres-"))
        self._port = free_port() if address else 5432
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        if self._user:
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody", "nogroup")
        name = "nobody" if self._user else getpass.getuser()
        trust = ["-A", "scram-sha-256", "--pwfile", folder / "password"] if address else ["-A", "trust"]
        command = [initdb, "-D", folder / "data", *trust, "-U", name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self._user)
        options = ["-D", folder / "data", "-k", folder, "-p", str(self._port), "-c", f"listen_addresses={address}"]
        self._command = [server, *options]
        self.url = f"postgresql://{name}@/postgres?host={folder}"
        if address:
            with (folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all 0.0.0.0/0 scram-sha-256\n")
            self.url = f"postgresql+psycopg://{name}:{password}@{address}:{self._port}/postgres"
        self.start()

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    @property
    def _socket(self) -> Path:
        return self._folder / f".s.PGSQL.{self._port}"

    def start(self) -> None:
        """Start, or start again after a kill; again where the last one's children still hold its shared memory."""
        self._socket.unlink(missing_ok=True)
        self._launch()
        try:
            wait_for(self._is_up)
        except AssertionError:
            raise AssertionError(self._log.read_text()[-2000:]) from None

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log, cwd="/", **self._user)

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            self._launch()
        return self._socket.exists()

    def kill(self) -> None:
        """End it as a power cut would: without a word to anybody, nothing flushed but what was committed."""
        self.process.send_signal(signal.SIGQUIT)  # "immediate": the children go too, which SIGKILL would leave
        self.process.wait(20)

    def stop(self) -> None:
        """End it for good."""
        self.process.send_signal(signal.SIGINT)  # it does not wait for who is connected
        self.process.wait(20)
        shutil.rmtree(self._folder)


def free_port() -> int:
    """Return a port that nobody has, and that no connection of another program is given while its server is away."""
    while True:
        port = random.randrange(20_000, 30_000)  # systems give connections those above 32768
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
