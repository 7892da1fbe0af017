"""Storages: SQLite and PostgreSQL give the same; what is none is refused; studies that begin with earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from headway.errors import UserError
from headway.hpo.core import StudyCore
from headway.hpo.storage import open_storage
from trainer_tests.hpo_tests.conftest import EPOCHS, HIDDEN, KEY, RATE, finish, memory, study
from trainer_tests.hpo_tests.databases import Postgres


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL of this test's own."""
    server = Postgres()
    yield server.url
    server.stop()


def test_sqlite_survives_the_process_that_wrote_it(tmp_path: Path) -> None:
    url, spec = f"sqlite:///{tmp_path / 'study.db'}", study(parameters=[RATE, HIDDEN])
    values = finish(StudyCore(open_storage(url), KEY, spec), 0, 0.7)
    again = StudyCore(open_storage(url), KEY, spec)
    assert again.ask(0) == values
    assert again.snapshot().best[0].values == {"successRate": 0.7}


@pytest.mark.slow
def test_postgresql_gives_what_sqlite_gives(tmp_path: Path, postgres: str) -> None:
    spec = study({"tpe": {"startupTrials": 3}}, {"hyperband": {}}, parameters=[RATE, EPOCHS, HIDDEN])
    found = []
    for url in (f"sqlite:///{tmp_path / 'study.db'}", postgres):
        storage = open_storage(url)
        asked = [finish(StudyCore(storage, KEY, spec), number, number / 8) for number in range(8)]
        found.append(
            (asked, StudyCore(storage, KEY, spec).snapshot().model_copy(update={"seconds": 0.0, "began": 0.0}))
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("url", ["mysql://a/b", "redis://a", "study.db", "", "sqlite"])
def test_what_is_no_storage_is_refused_with_what_would_be_one(url: str) -> None:
    with pytest.raises(UserError, match="give sqlite:///FILE or postgresql"):
        open_storage(url)


WARM = {"study": "earlier", "history": True, "best": 2}


def test_a_study_begins_with_the_trials_of_an_earlier_one() -> None:
    storage = memory()
    earlier = StudyCore(storage, "default/earlier/1", study(parameters=[EPOCHS]))
    asked = [finish(earlier, number, success) for number, success in enumerate([0.2, 0.9, 0.5])]
    narrower = {**EPOCHS, "int": {"low": 1, "high": 8}}
    spec = study(parameters=[narrower], warmStart=WARM)
    for _ in range(2):  # opened again, nothing is taken over twice
        core = StudyCore(storage, "default/later/1", spec, warm_from="default/earlier/1")
    assert len(core.trials()) == 3
    assert core.snapshot().trials.finished == 0  # they count to no budget
    assert [core.ask(0), core.ask(1)] == [asked[1], asked[2]]  # the best two are tried first


def test_trials_that_do_not_fit_the_new_space_stay_behind() -> None:
    storage = memory()
    earlier = StudyCore(storage, "default/earlier/1", study(parameters=[EPOCHS]))
    values = [finish(earlier, number)[EPOCHS["path"]] for number in range(6)]
    high = sorted(values)[2]
    spec = study(parameters=[{**EPOCHS, "int": {"low": 1, "high": max(2, high)}}], warmStart=WARM, budget={"trials": 2})
    core = StudyCore(storage, "default/later/1", spec, warm_from="default/earlier/1")
    assert len(core.trials()) == sum(value <= max(2, high) for value in values)


def test_a_study_with_other_objectives_is_no_beginning() -> None:
    storage = memory()
    StudyCore(storage, "default/earlier/1", study(objectives=[{"metric": "seconds", "direction": "minimize"}]))
    with pytest.raises(UserError, match=r"warmStart\.study: earlier has other objectives"):
        StudyCore(storage, "default/later/1", study(warmStart=WARM), warm_from="default/earlier/1")
