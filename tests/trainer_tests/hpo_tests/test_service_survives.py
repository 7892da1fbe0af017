"""The study service as a process, killed again and again under load, its database too."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from headway.hpo.core import StudyCore
from headway.hpo.service.serve import wait_for_storage
from headway_api import names
from headway_api.study_wire import EvaluationPoint
from trainer_tests.hpo_tests.conftest import point, study
from trainer_tests.hpo_tests.databases import Postgres, free_port
from trainer_tests.hpo_tests.serving import certify, client
from trainer_tests.waiting import wait_for

pytestmark = pytest.mark.slow
TOKEN, TENANT = "operators", "tenants"
KEY = "team/search/uid-1"


class Service:
    """`headway studies serve` on fixed ports, which can be killed and started again."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = certify(folder / "tls")
        (folder / "tokens.json").write_text(json.dumps({"operator": TOKEN, "namespaces": {"team": TENANT}}))
        self.ports = [free_port(), free_port()]
        self._command = [
            sys.executable, "-m", "headway", "studies", "serve", "--listen", f"localhost:{self.ports[0]}",
            "--grpc-listen", f"localhost:{self.ports[1]}", "--tls-dir", str(self.folder),
            "--token-file", str(folder / "tokens.json"),
        ]  # fmt: skip
        self._environ = os.environ | {"HEADWAY_STUDIES_STORAGE": url, "OMP_NUM_THREADS": "1"}
        self._log = (folder / "service.log").open("ab")
        self.context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, env=self._environ, stderr=self._log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def call(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
        """One call; status 0 where nobody answers."""
        connection = http.client.HTTPSConnection("localhost", self.ports[0], timeout=10, context=self.context)
        try:
            headers = {"Authorization": f"Bearer {token}"}
            connection.request(method, f"{names.STUDIES_PATH}/{KEY}{path}", body and json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()
        return answer.status, json.loads(text) if answer.status == 200 else text

    def insist(self, method: str, path: str, body: Any = None) -> Any:
        """Call until it is answered with 200; whatever else is answered must be a reason to wait."""
        deadline = time.monotonic() + 120
        while True:
            status, answer = self.call(method, path, body)
            if status == 200:
                return answer
            assert status in (0, 503), (status, answer)
            assert time.monotonic() < deadline, "not answered for two minutes"
            time.sleep(0.05)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service(tmp_path, f"sqlite:///{tmp_path / 'studies.db'}")
    found.start()
    yield found
    found.kill()


def test_it_serves_both_protocols_and_ends_at_once_when_it_is_told_to(service: Service) -> None:
    service.insist("PUT", "", {"spec": study().to_wire()})
    assert service.call("GET", "", token=TENANT)[0] == 401
    notebook = client(f"localhost:{service.ports[1]}", TENANT, service.folder)
    assert [found.study_name for found in notebook.get_all_studies()] == ["search/uid-1"]
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == 0


def test_it_waits_for_its_certificate_and_ends_while_it_waits(tmp_path: Path) -> None:
    service = Service(tmp_path, "sqlite://")
    for path in service.folder.glob("tls.*"):
        path.unlink()
    service.start()
    wait_for(lambda: b"waiting for tls.crt and tls.key" in (tmp_path / "service.log").read_bytes())
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == 130


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_killed_again_and_again_it_loses_and_doubles_nothing(tmp_path: Path, database: str) -> None:
    """8 callers; every two seconds or so a SIGKILL to the service or a power cut of PostgreSQL."""
    trials, threads = int(os.environ.get("HEADWAY_PROVE_TRIALS", "48")), 8
    postgres = Postgres() if database == "postgresql" else None
    url = postgres.url if postgres else f"sqlite:///{tmp_path / 'studies.db'}"
    spec = study(sampler={"tpe": {}}, pruner={"median": {}}, budget={"trials": trials, "parallel": threads})
    service = Service(tmp_path, url)
    service.start()
    counter, asked, told = itertools.count(), {}, {}

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while (number := next(counter)) < trials:
            values = asked[number] = service.insist("POST", "/ask", {"number": number})["values"]
            if chance.random() < 0.3:  # as an operator that has lost its memory
                assert service.insist("POST", "/ask", {"number": number})["values"] == values
            outcome = "complete"
            for index in (1, 2, 3):
                found: EvaluationPoint = point(index, chance.random())
                report = {"number": number, "seed_index": 0, "evaluations": [found.to_wire()], "ended": index == 3}
                if service.insist("POST", "/report", wire(report))["stop"]:
                    outcome = "pruned"
                    break
            told[number] = outcome
            service.insist("POST", "/tell", {"number": number, "outcome": outcome, "steps": 7})

    try:
        service.insist("PUT", "", {"spec": spec.to_wire()})
        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
        for worker in workers:
            worker.start()
        kills = 0
        while any(worker.is_alive() for worker in workers):
            time.sleep(1.0 + 2.0 * random.Random(kills).random())
            if postgres and kills % 2:
                postgres.kill()
                postgres.start()
            else:
                service.kill()
                service.start()
                wait_for(lambda: service.call("GET", "")[0] in (200, 503) or not any(w.is_alive() for w in workers))
            kills += 1
        assert kills >= 1
        core = StudyCore(wait_for_storage(url), KEY, spec)
        snapshot = core.snapshot()
        assert {int(number): outcome for number, outcome in snapshot.finished.items()} == told
        assert len(told) == trials and snapshot.running == []
        assert len(core.trials()) == trials
        assert all(core.ask(number) == values for number, values in asked.items())
        assert len({json.dumps(values) for values in asked.values()}) == trials
    finally:
        service.kill()
        if postgres:
            postgres.stop()


def wire(document: dict[str, Any]) -> dict[str, Any]:
    """Names as on the wire."""
    return {"seedIndex" if key == "seed_index" else key: value for key, value in document.items()}
