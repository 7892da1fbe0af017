"""`headway bench study`: every way is measured, each trial once, and what cannot be measured is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from headway import cli
from headway.hpo.bench.callers import make_spec
from headway.hpo.bench.rates import measure
from headway.hpo.bench.servers import endpoints
from headway.hpo.storage import open_storage
from optuna.trial import TrialState


@pytest.mark.slow
def test_each_way_finishes_every_trial_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with endpoints(url, tmp_path) as served:
        found = [measure(endpoint, make_spec(6), workers=2) for endpoint in served]
    assert [endpoint.way for endpoint in served] == ["service", "service", "storage protocol", "Optuna's proxy"]
    assert all(rate > 0 and server_ms > 0 for rate, server_ms in found)
    storage = open_storage(url)
    for study in storage.get_all_studies():
        trials = storage.get_all_trials(study._study_id)
        assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
        assert len({tuple(trial.params.values()) for trial in trials}) == 6
    assert sorted(study.study_name.count("/") for study in storage.get_all_studies()) == [0, 0, 2, 2]


@pytest.mark.slow
def test_it_prints_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "study", "--trials", "4", "--workers", "2", "--repeats", "1", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == ["study_trials"] * 4 + ["study_tls_and_token_cost"]
    rates = {line["params"]["tls_and_token"]: line["value"] for line in lines[:2]}
    assert lines[-1]["value"] == pytest.approx(100 * (1 - rates[True] / rates[False]), abs=2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "0"], "--trials: found 0: give a number from 1 to 10000"),
        (["--workers", "8", "--trials", "4"], "--workers: found 8: give numbers from 1 to 64, none above --trials"),
        (["--repeats", "0"], "--repeats: found 0"),
        (["--postgresql", "mysql://a"], "--postgresql: found 'mysql://a': give postgresql://"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert cli.main(["bench", "study", *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
