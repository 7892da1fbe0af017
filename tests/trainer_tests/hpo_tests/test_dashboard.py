"""optuna-dashboard as we serve it: all that is there is shown, and nothing can be changed."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import optuna
import pytest
from headway.hpo.dashboard import dashboard, serve
from optuna.storages import BaseStorage
from trainer_tests.hpo_tests.conftest import memory


@pytest.fixture
def storage() -> BaseStorage:
    held = memory()
    study = optuna.create_study(storage=held, study_name="team/lr/uid-1")
    study.add_trial(optuna.trial.create_trial(value=0.5))
    return held


@pytest.fixture
def url(storage: BaseStorage) -> Iterator[str]:
    server = serve(dashboard(storage), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_it_shows_the_studies_and_their_trials(url: str) -> None:
    with urllib.request.urlopen(f"{url}/api/studies") as answer:
        (found,) = json.load(answer)["study_summaries"]
    assert found["study_name"] == "team/lr/uid-1"
    with urllib.request.urlopen(f"{url}/api/studies/{found['study_id']}") as answer:
        assert [trial["values"] for trial in json.load(answer)["trials"]] == [[0.5]]
    with urllib.request.urlopen(f"{url}/dashboard") as answer:
        assert b"<html" in answer.read().lower()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/0"),
        ("POST", "/api/studies"),
        ("PUT", "/api/studies/0/note"),
        ("POST", "/api/studies/0/rename"),
    ],
)
def test_nothing_can_be_changed(url: str, storage: BaseStorage, method: str, path: str) -> None:
    request = urllib.request.Request(url + path, method=method, data=b"{}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 405 and b"for looking" in refused.value.read()
    assert [study.study_name for study in storage.get_all_studies()] == ["team/lr/uid-1"]
