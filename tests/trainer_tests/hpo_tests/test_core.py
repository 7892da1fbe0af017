"""Ask, report and tell: each trial once, whatever is repeated and whoever dies in between."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import optuna
import pytest
from headway.hpo.core import StaleStudyError, StudyCore, UnknownTrialError
from headway_api.search_space import fingerprint
from optuna.trial import TrialState
from trainer_tests.hpo_tests.conftest import EPOCHS, HIDDEN, KEY, RATE, finish, memory, point, study

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
TWO = [{"metric": "successRate", "direction": "maximize"}, {"metric": "seconds", "direction": "minimize"}]


def test_the_same_number_is_the_same_point_also_for_another_process() -> None:
    storage, spec = memory(), study(parameters=[RATE, EPOCHS, HIDDEN])
    first = StudyCore(storage, KEY, spec)
    values = first.ask(0)
    assert set(values) == {RATE["path"], EPOCHS["path"], HIDDEN["path"]}
    assert first.ask(0) == values
    assert StudyCore(storage, KEY, spec).ask(0) == values
    assert len(storage.get_all_trials(0)) == 1


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaEs", "nsgaIi", "nsgaIii", "qmc", "random"])
def test_what_is_asked_next_does_not_depend_on_when_a_process_was_started(sampler: str) -> None:
    spec = study({sampler: {}}, parameters=[RATE, EPOCHS], budget={"trials": 16})
    steady, restarted = memory(), memory()
    core = StudyCore(steady, KEY, spec)
    for number in range(14):
        again = StudyCore(restarted, KEY, spec)  # another process for every trial
        success = 0.9 - abs(number - 7) / 10
        assert finish(core, number, success) == finish(again, number, success)


def test_the_best_is_the_highest_where_it_is_to_be_maximised_and_keeps_its_values() -> None:
    core = StudyCore(memory(), KEY, study(parameters=[RATE, HIDDEN]))
    asked = [finish(core, number, success) for number, success in enumerate([0.2, 0.9, 0.4])]
    (best,) = core.snapshot().best
    assert (best.number, best.values, best.parameters) == (1, {"successRate": 0.9}, asked[1])


def test_of_two_objectives_all_that_no_other_beats_are_best() -> None:
    core = StudyCore(memory(), KEY, study(objectives=TWO))
    for number, (success, seconds) in enumerate([(0.9, 20.0), (0.8, 10.0), (0.7, 15.0)]):
        finish(core, number, success, seconds=seconds)
    assert [best.number for best in core.snapshot().best] == [0, 1]  # the third is worse than the second in both


def test_who_breaks_a_constraint_is_not_best() -> None:
    core = StudyCore(memory(), KEY, study(constraints=[{"metric": "collisionRate", "atMost": 0.1}]))
    finish(core, 0, 0.9, collisionRate=0.2)
    finish(core, 1, 0.5, collisionRate=0.1)
    assert [best.number for best in core.snapshot().best] == [1]


def test_counts_name_every_state_and_sum_up_steps() -> None:
    core = StudyCore(memory(), KEY, study())
    finish(core, 0)
    for number, outcome in ((1, "pruned"), (2, "failed")):
        core.ask(number)
        core.report(number, 0, [point(1)])
        core.tell(number, outcome, steps=1024)
    core.ask(3)
    found = core.snapshot()
    counts = found.trials
    assert (counts.running, counts.complete, counts.pruned, counts.failed, counts.total) == (1, 1, 1, 1, 8)
    assert found.finished == {"0": "complete", "1": "pruned", "2": "failed"}
    assert [row.number for row in found.running] == [3]
    assert found.steps == 4096 + 2 * 1024


def test_the_first_word_about_a_trial_counts() -> None:
    storage = memory()
    core = StudyCore(storage, KEY, study())
    finish(core, 0, 0.7)
    core.tell(0, "failed", steps=1)
    core.report(0, 0, [point(2, 0.1)])
    core.tell(0, "complete", steps=2)
    (trial,) = storage.get_all_trials(0)
    assert (trial.state, trial.value, trial.intermediate_values) == (TrialState.COMPLETE, 0.7, {1: 0.7})
    assert core.snapshot().steps == 4096


def test_a_complete_trial_without_an_evaluation_has_failed() -> None:
    core = StudyCore(memory(), KEY, study())
    core.ask(0)
    core.tell(0, "complete", steps=4096)
    assert core.snapshot().finished == {"0": "failed"}


def test_a_trial_that_nobody_asked_for_is_named() -> None:
    core = StudyCore(memory(), KEY, study())
    with pytest.raises(UnknownTrialError, match="trial 5 was never asked for"):
        core.tell(5, "failed", steps=0)


def test_values_that_change_midway_are_shown_and_the_point_stays_what_it_was() -> None:
    storage, spec = memory(), study(parameters=[RATE, EPOCHS], budget={"trials": 2})
    core = StudyCore(storage, KEY, spec)
    point_of_0, other = core.ask(0), {RATE["path"]: 0.5, EPOCHS["path"]: 3}
    core.change(0, other)
    again = StudyCore(storage, KEY, spec)
    assert again.ask(0) == point_of_0
    assert [row.values for row in again.snapshot().running] == [other]
    finish(again, 0, 0.7)
    assert again.snapshot().best[0].parameters == other
    with pytest.raises(UnknownTrialError):
        core.change(1, other)


def test_a_finite_space_is_tried_without_repetition_by_many_threads() -> None:
    eight = {"path": "train.evaluation.levels", "int": {"low": 1, "high": 8}}
    spec = study({"tpe": {}}, parameters=[EPOCHS, eight], budget={"trials": 64, "parallel": 8})
    core = StudyCore(memory(), KEY, spec)
    found: dict[int, dict[str, Any]] = {}

    def work(first: int) -> None:
        for number in range(first, 64, 8):
            found[number] = finish(core, number, number / 64)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({fingerprint(values) for values in found.values()}) == 64


def test_a_parameter_that_does_not_matter_is_not_chosen() -> None:
    network = {"path": "train.network", "categorical": {"choices": [{"mlp": {"hidden": [16]}}, {"gru": {}}]}}
    width = {**HIDDEN, "path": "train.network.mlp.hidden"}
    width["when"] = {"path": "train.network", "values": [{"mlp": {"hidden": [16]}}]}
    core = StudyCore(memory(), KEY, study({"tpe": {"startupTrials": 2}}, parameters=[network, width, RATE]))
    for number in range(8):
        values = finish(core, number)
        assert (width["path"] in values) == ("mlp" in values[network["path"]])


def test_several_seeds_count_by_their_mean() -> None:
    storage = memory()
    core = StudyCore(storage, KEY, study(seedsPerTrial=2))
    core.ask(0)
    core.report(0, 0, [point(1, 0.2), point(4, 0.4)], ended=True)
    assert [row.seeds_done for row in core.snapshot().running] == [1]
    core.tell(0, "complete", steps=0)  # one seed is missing
    assert core.snapshot().finished == {"0": "failed"}
    core.ask(1)
    core.report(1, 0, [point(4, 0.4)], ended=True)
    core.report(1, 1, [point(4, 0.8)], ended=True)
    core.tell(1, "complete", steps=0)
    trial = storage.get_all_trials(0)[1]
    assert trial.value == pytest.approx(0.6)
    assert trial.intermediate_values == {4: pytest.approx(0.4), 8: pytest.approx(0.6)}  # four evaluations a run


def test_repeated_and_late_evaluations_change_nothing() -> None:
    storage = memory()
    core = StudyCore(storage, KEY, study())
    core.ask(0)
    core.report(0, 0, [point(1, 0.1), point(2, 0.2)])
    core.report(0, 0, [point(1, 0.9), point(2, 0.9), point(3, 0.3)])
    assert storage.get_all_trials(0)[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}


def test_after_a_write_that_failed_nobody_goes_on_with_this_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for the lock meanwhile would write behind the back of the next core."""
    storage, spec = memory(), study()
    core = StudyCore(storage, KEY, spec)
    values = core.ask(0)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "set_trial_user_attr", _gone)
        with pytest.raises(ConnectionError):
            core.report(0, 0, [point(1)])
    assert core.is_stale
    for call in (lambda: core.ask(0), lambda: core.ask(1), core.snapshot, lambda: core.tell(0, "failed", 0)):
        with pytest.raises(StaleStudyError):
            call()
    assert len(storage.get_all_trials(0)) == 1
    assert StudyCore(storage, KEY, spec).ask(0) == values


def _gone(*_: object) -> None:
    raise ConnectionError("the database is away")


# --- dying between two writes -----------------------------------------------------------------------------------
WRITES = [name for name, _ in inspect.getmembers(optuna.storages.BaseStorage) if name.startswith(("set_", "create_"))]


class Dies(optuna.storages.InMemoryStorage):
    """Dies before or after its k-th write, as a process would: the write is there, or it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.left: float = float("inf")
        self.after = False
        self.written = 0


class KilledError(BaseException):
    """The process is gone."""


def _dying(name: str) -> Any:
    original = getattr(optuna.storages.InMemoryStorage, name)

    def write(self: Dies, *args: Any, **kwargs: Any) -> Any:
        self.written += 1
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KilledError
        result = original(self, *args, **kwargs)
        if self.left == 0:
            raise KilledError
        return result

    return write


for _name in WRITES:
    setattr(Dies, _name, _dying(_name))


def life(storage: Dies, pruner: dict) -> dict[str, Any]:
    """A study of three trials by a process that is started again whenever it dies; what it has come to."""
    spec = study({"tpe": {"startupTrials": 1}}, pruner, parameters=[RATE, HIDDEN], budget={"trials": 3})
    while True:
        try:
            core = StudyCore(storage, KEY, spec)
            for number in range(3):
                core.ask(number)
                for index in range(1, 5):
                    core.report(number, 0, [point(index, 0.1 * index + 0.2 * number)])
                core.report(number, 0, [], ended=True)
                core.tell(number, "complete", steps=4096)
            return {
                "snapshot": core.snapshot().model_copy(update={"seconds": 0.0, "began": 0.0}),
                "trials": [(t.state, t.params, t.values, t.intermediate_values, t.system_attrs) for t in core.trials()],
            }
        except KilledError:
            storage.left = float("inf")


@pytest.mark.parametrize("pruner", ["none", "hyperband", "median"])
def test_a_process_killed_at_any_write_leaves_what_an_undisturbed_one_does(pruner: str) -> None:
    undisturbed = Dies()
    expected = life(undisturbed, {pruner: {}})
    assert undisturbed.written > 20
    for after in (False, True):
        for k in range(1, undisturbed.written + 1):
            storage = Dies()
            storage.left, storage.after = k, after
            found = life(storage, {pruner: {}})
            assert found == expected, f"killed {'after' if after else 'before'} write {k}"
