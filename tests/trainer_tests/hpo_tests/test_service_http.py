"""The study service over HTTP: who may call, what is answered, and that a repeated call changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from headway.hpo.service.http import make_app
from headway.hpo.service.studies import Studies
from headway_api import names
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from trainer_tests.hpo_tests.conftest import memory, study
from trainer_tests.hpo_tests.tokens import Fixed

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
PATH = f"{names.STUDIES_PATH}/team/lr/uid-1"
HEADERS = {"Authorization": "Bearer secret"}


def served(storage: BaseStorage, body: Callable[[Any], Awaitable[None]], headers: dict[str, str] = HEADERS) -> None:
    async def run() -> None:
        async with TestClient(TestServer(make_app(Studies(storage), Fixed("secret"))), headers=headers) as client:
            await body(client)

    asyncio.run(run())


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "secret"}])
def test_without_the_token_nothing_is_answered_and_nothing_made(headers: dict[str, str]) -> None:
    storage = memory()

    async def body(client: Any) -> None:
        wire = {"spec": study().to_wire()}
        assert (await client.put(PATH, json=wire)).status == 401
        assert (await client.get(PATH)).status == 401
        assert [(await client.post(f"{PATH}/{c}", json={})).status for c in ("ask", "report", "tell")] == [401] * 3

    served(storage, body, headers)
    assert storage.get_all_studies() == []


def test_repeated_calls_and_a_restart_in_between_lose_and_double_nothing() -> None:
    storage, first = memory(), {}

    async def before(client: Any) -> None:
        for _ in range(2):
            assert (await client.put(PATH, json={"spec": study().to_wire()})).status == 200
            answer = await (await client.post(f"{PATH}/ask", json={"number": 0})).json()
            assert first.setdefault("values", answer["values"]) == answer["values"]

    async def after(client: Any) -> None:  # no PUT: the study is opened from the storage
        answer = await (await client.post(f"{PATH}/ask", json={"number": 0})).json()
        assert answer["values"] == first["values"]
        for outcome in ("failed", "complete"):
            told = await client.post(f"{PATH}/tell", json={"number": 0, "outcome": outcome, "steps": 7})
            assert (await told.json())["finished"] == {"0": "failed"}

    served(storage, before)
    served(storage, after)
    assert len(storage.get_all_trials(0)) == 1


def test_bad_input_and_strangers_get_one_clear_message() -> None:
    async def body(client: Any) -> None:
        assert (await client.get(PATH)).status == 404
        assert (await client.put(PATH, json={"spec": study().to_wire()})).status == 200
        assert (await client.get(PATH.replace("uid-1", "uid-2"))).status == 404
        assert (await client.get(PATH.replace("team", "Team_"))).status == 400
        bad = await client.post(f"{PATH}/ask", json={"number": -1})
        assert bad.status == 400 and (await bad.text()).startswith("number:")
        told = {"number": 5, "outcome": "failed", "steps": 0}
        assert (await client.post(f"{PATH}/tell", json=told)).status == 404
        assert (await client.post(f"{PATH}/ask", data=b" " * (1024**2 + 1))).status == 413

    served(memory(), body)


def test_a_storage_that_is_down_is_503_and_the_service_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = memory()

    def down(*_: object) -> None:
        raise StorageInternalError("gone")

    async def body(client: Any) -> None:
        assert (await client.put(PATH, json={"spec": study().to_wire()})).status == 200
        with monkeypatch.context() as patch:
            patch.setattr(storage, "get_all_studies", down)
            answer = await client.get("/healthz")
            assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0
        assert (await client.get("/healthz")).status == 200

    served(storage, body)


def test_of_a_spec_only_what_may_change_is_taken_over() -> None:
    storage = memory()
    kept = {"budget": {"trials": 9, "parallel": 3}, "suspend": True, "trialHistoryLimit": 2}

    async def body(client: Any) -> None:
        assert (await client.put(PATH, json={"spec": study().to_wire()})).status == 200
        answer = await client.put(PATH, json={"spec": study(seed=7, **kept).to_wire()})
        assert answer.status == 409
        assert await answer.text() == "seed: is fixed once the study exists: make another study\n"
        assert (await client.put(PATH, json={"spec": study(seedsPerTrial=2).to_wire()})).status == 409
        assert (await (await client.get(PATH)).json())["trials"]["total"] == 8
        changed = await client.put(PATH, json={"spec": study(**kept).to_wire()})
        assert changed.status == 200 and (await changed.json())["trials"]["total"] == 9

    async def restarted(client: Any) -> None:
        assert (await (await client.get(PATH)).json())["trials"]["total"] == 9
        assert (await client.put(PATH, json={"spec": study(seed=7).to_wire()})).status == 409

    served(storage, body)
    served(storage, restarted)


def test_a_beginning_that_is_not_there_is_said_in_words() -> None:
    storage = memory()
    warm = {"spec": study(warmStart={"study": "earlier"}).to_wire()}
    earlier = PATH.replace("/lr/uid-1", "/earlier/uid-0")

    async def body(client: Any) -> None:
        answer = await client.put(PATH, json=warm)
        assert answer.status == 422
        assert (await answer.text()).startswith(
            "warmStart.study: no study earlier of namespace team is known: name one"
        )
        assert (await client.get(PATH)).status == 404  # nothing was made of it
        other = {"objectives": [{"metric": "seconds", "direction": "minimize"}]}
        assert (
            await client.put(earlier.replace("uid-0", "uid-9"), json={"spec": study(**other).to_wire()})
        ).status == 200
        answer = await client.put(PATH, json=warm)
        assert answer.status == 422 and "earlier has other objectives" in await answer.text()
        assert (await client.put(earlier, json={"spec": study().to_wire()})).status == 200
        assert (await client.put(PATH, json=warm)).status == 200  # the newest of that name

    async def restarted(client: Any) -> None:
        for found in storage.get_all_studies():
            if "/earlier/" in found.study_name:
                storage.delete_study(found._study_id)
        assert (await client.put(PATH, json=warm)).status == 200  # what was taken over stays

    served(storage, body)
    served(storage, restarted)
