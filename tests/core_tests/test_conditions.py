import pytest
from core_tests.makers import NOW, at, text
from headway_api import names
from headway_api.training_run import Condition, TrainingRunStatus
from headway_operator.core import conditions
from hypothesis import given
from hypothesis import strategies as st

STATES = list(conditions.TRUE_IN)


def enter(state, status, moment=NOW):
    return conditions.status_in(state, status, generation=3, reason="Because", message="of this", now=moment)


def test_every_state_has_a_phase():
    assert set(conditions.PHASES) == set(conditions.TRUE_IN)


@pytest.mark.parametrize("state", STATES)
def test_all_eight_conditions_are_always_there(state):
    status = enter(state, TrainingRunStatus())
    assert {c.type for c in status.conditions} == set(conditions.TYPES)
    assert len(conditions.TYPES) == 8
    assert status.observed_generation == 3
    assert all(c.observed_generation == 3 for c in status.conditions)


@pytest.mark.parametrize("state", STATES)
def test_finished_is_true_exactly_when_succeeded_or_failed_is_or_the_run_was_pruned(state):
    true = conditions.TRUE_IN[state]
    assert (names.FINISHED in true) == (bool({names.SUCCEEDED, names.FAILED} & true) or state == "pruned")
    assert not {names.SUCCEEDED, names.FAILED} <= true


@pytest.mark.parametrize("state", STATES)
def test_kstatus_never_sees_a_run_that_is_ready_and_also_moving_or_stalled(state):
    true = conditions.TRUE_IN[state]
    assert not (names.READY in true and {names.RECONCILING, names.STALLED} & true)
    assert not {names.RECONCILING, names.STALLED} <= true


def test_the_transition_time_moves_only_with_the_status():
    first = enter("starting", TrainingRunStatus())
    second = enter("running", first, at(60))
    by_type = {c.type: c for c in second.conditions}
    assert by_type[names.READY].last_transition_time == text(at(60))
    assert by_type[names.FAILED].last_transition_time == text(NOW)


def test_ready_says_why_it_is_false():
    status = enter("starting", TrainingRunStatus())
    assert status.condition(names.READY).message == "of this"
    assert status.condition(names.FAILED).message == ""


def test_finished_has_a_fixed_reason_and_failed_the_cause():
    status = enter("failed", TrainingRunStatus())
    assert status.condition(names.FINISHED).reason == "Failed"
    assert status.condition(names.FAILED).reason == "Because"


def test_a_pruned_run_is_finished_for_that_reason_and_neither_a_success_nor_a_failure():
    status = enter("pruned", TrainingRunStatus())
    assert {c.type for c in status.conditions if c.status == "True"} == {"SpecValid", "Ready", "Finished"}
    assert status.condition(names.FINISHED).reason == "Pruned"
    assert status.phase == "Pruned"


def test_a_condition_of_somebody_else_is_left_alone():
    other = Condition(type="Audited", status="True", reason="Yes", last_transition_time=text(NOW))
    status = enter("running", TrainingRunStatus(conditions=[other]))
    assert status.condition("Audited") == other


@given(st.lists(st.sampled_from(STATES), max_size=8))
def test_entering_a_state_twice_changes_nothing(states):
    status = TrainingRunStatus()
    for number, state in enumerate(states):
        status = enter(state, status, at(number))
        assert enter(state, status, at(number + 1000)) == status
        assert len(status.conditions) == 8
