"""A driver's record: the real service over TLS, killed in between, and whom it lets speak of which study."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from headway.errors import UserError
from headway.hpo import remote_core
from headway.hpo.remote_core import RemoteCore, StudyServiceAwayError
from headway.hpo.service.http import make_app
from headway.hpo.service.studies import Studies
from headway_api import names
from headway_api.training_run import Metadata
from trainer_tests.hpo_tests.conftest import memory, point, study
from trainer_tests.hpo_tests.test_service_survives import TOKEN, Service
from trainer_tests.hpo_tests.tokens import Fixed

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
STUDY = Metadata(name="search", namespace="team", uid="uid-1")


def core_of(service: Service, folder: Path, **options: Any) -> RemoteCore:
    token = folder / "token"
    token.write_text(TOKEN)
    url = f"https://localhost:{service.ports[0]}"
    return RemoteCore(url, STUDY, study(), token, service.folder / "ca.crt", **options)


@pytest.mark.slow
def test_what_is_told_is_there_after_the_service_was_killed_and_waited_for(tmp_path: Path) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'studies.db'}")
    service.start()
    service.insist("PUT", "", {"spec": study(budget={"trials": 2}).to_wire()})
    restarts = []

    def restart(seconds: float) -> None:
        if not restarts:
            restarts.append(seconds)
            service.start()
        time.sleep(0.5)

    core = core_of(service, tmp_path, sleep=restart)
    values = core.ask(0)
    other = dict.fromkeys(values, 0.5)
    assert not core.report(0, 0, [point(1, 0.25), point(2, 0.5)])
    core.change(0, other)
    assert [row.values for row in core.snapshot().running] == [other]
    service.kill()
    core.tell(0, "complete", 4096)
    assert restarts
    assert core.snapshot().finished == {"0": "complete"}
    assert core.snapshot().best[0].parameters == other
    assert core.curves() == {0: {1: 0.25, 2: 0.5}}
    assert (core.reported(0), core.values_of(0), core.reported(1)) == (2, [0.5], 0)
    assert core.ask(0) == values
    with pytest.raises(UserError, match="refuses /tell: 404: no such trial"):
        core.tell(1, "complete", 1)
    service.kill()


def test_a_service_that_stays_away_ends_the_driver(tmp_path: Path) -> None:
    service, waited = Service(tmp_path, "sqlite://"), []
    core = core_of(service, tmp_path, sleep=waited.append)
    with pytest.raises(StudyServiceAwayError, match="the study service is away: "):
        core.ask(0)
    assert sum(waited) == remote_core.PATIENCE_S


@pytest.mark.parametrize(
    ("token", "method", "answer"),
    [
        ("driver of team/uid-1", "GET", 200),
        ("driver of team/uid-1", "PUT", 401),  # what is searched is the operator's to say
        ("driver of team/uid-2", "GET", 401),
        ("driver of other/uid-1", "GET", 401),
        ("secret", "PUT", 200),
    ],
)
def test_a_driver_may_speak_of_its_study_and_of_no_other(token: str, method: str, answer: int) -> None:
    path = f"{names.STUDIES_PATH}/team/lr/uid-1"
    wire = {"spec": study().to_wire()}

    async def run() -> None:
        async with TestClient(TestServer(make_app(Studies(memory()), Fixed("secret")))) as client:
            assert (await client.put(path, json=wire, headers={"Authorization": "Bearer secret"})).status == 200
            headers = {"Authorization": f"Bearer {token}"}
            assert (await client.request(method, path, json=wire, headers=headers)).status == answer

    asyncio.run(run())
