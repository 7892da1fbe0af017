"""`headway studies serve` as a command: what it refuses, and that it ends when it is told to, whatever hangs."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from headway import cli
from headway_api import names
from trainer_tests.hpo_tests.conftest import study
from trainer_tests.hpo_tests.serving import certify
from trainer_tests.waiting import wait_for


def tokens(folder: Path) -> str:
    path = folder / "tokens.json"
    path.write_text(json.dumps({"operator": "secret"}))
    return str(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--storage": "mysql://a/b"}, "storage 'mysql://a/b': give sqlite:///FILE or postgresql"),
        ({"--storage": ""}, "--storage: missing: give a URL, or set HEADWAY_STUDIES_STORAGE"),
        ({"--listen": "8444"}, "--listen: found '8444': give HOST:PORT"),
        ({"--grpc-listen": "localhost:99999"}, "--grpc-listen: found 'localhost:99999': give HOST:PORT"),
        ({"--token-file": "nowhere.json"}, "nowhere.json: [Errno 2] No such file or directory"),
        ({"--operator-account": "a/b"}, "argument --"),  # beside --token-file
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, str], message: str
) -> None:
    given = {
        "--storage": f"sqlite:///{tmp_path / 'studies.db'}", "--listen": "localhost:0",
        "--tls-dir": str(certify(tmp_path / "tls")), "--token-file": tokens(tmp_path), **options,
    }  # fmt: skip
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = cli.main(["studies", "serve", *(word for pair in given.items() for word in pair)])
    except SystemExit as left:
        code = left.code
    finally:
        signal.signal(signal.SIGTERM, before)
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith(f"error: {message}")


@pytest.mark.slow
def test_it_ends_within_five_seconds_though_its_database_hangs(tmp_path: Path) -> None:
    database, tls = tmp_path / "studies.db", certify(tmp_path / "tls")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "headway", "studies", "serve", "--listen", f"localhost:{port}"]
    command += ["--tls-dir", str(tls), "--token-file", tokens(tmp_path), "--storage", f"sqlite:///{database}"]
    context = ssl.create_default_context(cafile=str(tls / "ca.crt"))

    def put() -> None:
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        body = json.dumps({"spec": study().to_wire()})
        connection.request("PUT", f"{names.STUDIES_PATH}/a/b/c", body, {"Authorization": "Bearer secret"})
        with suppress(OSError):  # the service leaves in the middle
            connection.getresponse()

    def answers() -> bool:
        try:
            socket.create_connection(("localhost", port), 1).close()
        except OSError:
            return False
        return True

    service = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    locker = None
    try:
        wait_for(answers)
        locker = sqlite3.connect(database, check_same_thread=False)
        locker.execute("BEGIN IMMEDIATE")  # another writer, which the service waits for up to half a minute
        asked = threading.Thread(target=put, daemon=True)
        asked.start()
        time.sleep(1.0)
        assert asked.is_alive()
        service.send_signal(signal.SIGTERM)
        assert service.wait(5) == 0
    finally:
        service.kill()
        if locker is not None:
            locker.close()
