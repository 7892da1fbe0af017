"""What our Ray Tune schedulers and samplers decide, without a cluster of Ray's. A run has four evaluations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from headway.hpo.core import StudyCore
from headway.hpo.samplers import make_sampler
from headway_api.load import validate_study
from optuna.trial import TrialState
from specs import small_study
from trainer_tests.hpo_tests.conftest import KEY, finish, memory, point

pytest.importorskip("ray.tune")
from headway.hpo.raytune.bayes import BayesOptSampler
from headway.hpo.raytune.book import Book
from headway.hpo.raytune.schedulers import NotedHalving

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
HALVING = {"rayTune": {"scheduler": {"asha": {"reductionFactor": 2}}, "searcher": {"random": {}}}}


def opened(storage=None, **spec):
    study = validate_study(small_study(**{"engine": HALVING, "budget": {"trials": 8}, **spec}))
    return study, StudyCore(storage or memory(), KEY, study.spec)


def report(scheduler, number, index, success):
    """What Ray does with an actor's report."""
    trial = SimpleNamespace(trial_id=f"t{number}", config={"number": number})
    if number not in scheduler.added:
        scheduler.on_trial_add(None, trial)
        scheduler.added.add(number)
    found = point(index, success)
    return scheduler.on_trial_result(
        None,
        trial,
        {"evaluation": index, "value": success, "step": found.step, "point": found.model_dump_json()},
    )


def scheduler_of(study, core, tmp_path):
    book = Book(study, core, tmp_path)
    scheduler = NotedHalving(study.spec, book)
    scheduler.added = set()
    return book, scheduler


def test_a_trial_below_its_rung_is_stopped_and_noted_as_pruned_at_once(tmp_path: Path) -> None:
    study, core = opened()
    book, scheduler = scheduler_of(study, core, tmp_path)
    assert [book.next()["number"] for _ in range(2)] == [0, 1]
    assert report(scheduler, 0, 1, 0.8) == "CONTINUE"
    assert report(scheduler, 1, 1, 0.2) == "STOP"
    assert core.snapshot().finished == {"1": "pruned"}
    assert core.reported(0) == 1
    assert book.open == [0]


def test_rungs_are_filled_from_the_record_and_what_was_decided_stays_so(tmp_path: Path) -> None:
    storage = memory()
    study, core = opened(storage)
    book, scheduler = scheduler_of(study, core, tmp_path)
    assert [book.next()["number"] for _ in range(2)] == [0, 1]
    assert report(scheduler, 0, 1, 0.5) == "CONTINUE"  # the first of its rung
    for index, success in enumerate([0.8, 0.9, 0.9, 0.9], start=1):
        assert report(scheduler, 1, index, success) == "CONTINUE"
    book.end(1, {"ended": "complete", "step": 4096})

    study, core = opened(storage)  # as after a kill: nothing of the scheduler is left
    book, scheduler = scheduler_of(study, core, tmp_path)
    assert [book.next()["number"] for _ in range(2)] == [0, 2]  # who had begun goes on first
    assert report(scheduler, 0, 1, 0.5) == "CONTINUE"  # known: it was let go on, although trial 1 was better since
    assert report(scheduler, 2, 1, 0.6) == "STOP"  # below the median of both, 0.65, though above trial 0
    assert core.snapshot().finished == {"1": "complete", "2": "pruned"}


def test_the_last_evaluation_never_stops_a_trial(tmp_path: Path) -> None:
    study, core = opened()
    book, scheduler = scheduler_of(study, core, tmp_path)
    for number, success in enumerate([0.9, 0.1]):
        book.next()
        assert report(scheduler, number, 4, success) == "CONTINUE"


def test_hyperband_gives_each_trial_the_same_bracket_again(tmp_path: Path) -> None:
    engine = {"rayTune": {"scheduler": {"hyperband": {"reductionFactor": 2}}, "searcher": {"random": {}}}}
    study, core = opened(engine=engine)
    _, scheduler = scheduler_of(study, core, tmp_path)
    first_rungs = [[rung for rung, _ in bracket._rungs] for bracket in scheduler._brackets]
    assert first_rungs == [[4, 2, 1], [4, 2], [4]]  # four evaluations; the last bracket stops nobody

    def brackets() -> list[int]:
        _, scheduler = scheduler_of(study, core, tmp_path)
        trials = [SimpleNamespace(trial_id=f"t{n}", config={"number": n}) for n in range(30)]
        for trial in trials:
            scheduler.on_trial_add(None, trial)
        return [scheduler._brackets.index(scheduler._trial_info[trial.trial_id]) for trial in trials]

    found = brackets()
    assert found == brackets()
    assert len(set(found)) > 1


def test_an_actor_that_was_asked_to_leave_has_not_failed(tmp_path: Path) -> None:
    study, core = opened()
    book, _ = scheduler_of(study, core, tmp_path)
    book.next()
    book.leave.set()
    book.end(0, {"ended": "failed", "step": 0, "error": ""})
    assert [row.number for row in core.snapshot().running] == [0]


def test_bayes_opt_draws_at_random_first_and_then_finds_the_better_side() -> None:
    gamma = {"path": "train.algo.ppo.gamma", "float": {"low": 0.5, "high": 0.9}}
    engine = {"rayTune": {"searcher": {"bayesOpt": {"startupTrials": 3}}}}
    study, core = opened(parameters=[gamma], engine=engine, budget={"trials": 9})
    assert isinstance(make_sampler(study.spec, 0), BayesOptSampler)
    found = []
    for number in range(9):
        value = core.ask(number)[gamma["path"]]
        found.append(value)
        core.report(number, 0, [point(1, 1.0 - abs(value - 0.8))], ended=True)
        core.tell(number, "complete", steps=1)
    assert all(0.5 <= value <= 0.9 for value in found)
    assert min(abs(value - 0.8) for value in found[3:]) < 0.03
    assert len({round(value, 9) for value in found}) == 9


def test_points_of_bayes_opt_are_a_function_of_the_record_alone() -> None:
    gamma = {"path": "train.algo.ppo.gamma", "float": {"low": 0.5, "high": 0.9}}
    engine = {"rayTune": {"searcher": {"bayesOpt": {"startupTrials": 2}}}}
    chosen = []
    for reopened in (False, True):
        storage = memory()
        _, core = opened(storage, parameters=[gamma], engine=engine)
        for number in range(3):
            finish(core, number, 0.1 * number)
        if reopened:
            _, core = opened(storage, parameters=[gamma], engine=engine)
        chosen.append(core.ask(3))
    assert chosen[0] == chosen[1]
    assert {trial.state for trial in core.trials()} == {TrialState.COMPLETE, TrialState.RUNNING}
