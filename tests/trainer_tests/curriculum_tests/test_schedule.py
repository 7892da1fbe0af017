import pytest
from headway.curriculum.gates import Counts
from headway.curriculum.schedule import CurriculumState, StageBegun, StageLost, StagePassed, advance, start
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from trainer_tests.curriculum_tests.making import GATE, curriculum

THREE = curriculum(GATE, GATE, GATE)
DEMOTING = curriculum(GATE, GATE, GATE, schedule={"gates": {"demotion": {"successRate": 0.3, "updates": 2}}})
BY_STEPS = curriculum(GATE, GATE, GATE, schedule={"steps": {"starts": [0, 100, 300]}})
MANUAL = curriculum(GATE, GATE, GATE, schedule={"manual": {"stage": "s1"}})

# 89 of 100: Wilson lower bound 0.8137; 87 of 100: 0.7902; 20 of 100: upper bound 0.2888.
ENOUGH, TOO_FEW, TOO_WEAK, LOST = Counts(89, 100, 100), Counts(99, 99, 99), Counts(87, 100, 100), Counts(20, 100, 100)
At = CurriculumState


@pytest.mark.parametrize(
    ("name", "spec", "state", "counts", "expected", "event"),
    [
        ("the gate holds", THREE, At(0), ENOUGH, At(1, advanced_at=150), StagePassed),
        ("too few episodes", THREE, At(0), TOO_FEW, At(0), None),
        ("the bound is below the rate", THREE, At(0, streak=1), TOO_WEAK, At(0), None),
        ("no episodes at all", THREE, At(1), Counts(0, 0, 0), At(1), None),
        ("the last gate", THREE, At(2, advanced_at=7), ENOUGH, At(2, passed=True, advanced_at=7), StagePassed),
        ("nothing follows the end", DEMOTING, At(2, passed=True), LOST, At(2, passed=True), None),
        ("nothing leads back unless it is asked for", THREE, At(1), LOST, At(1), None),
        ("once is not twice in a row", DEMOTING, At(1), LOST, At(1, fallen=1), None),
        ("a better update in between", DEMOTING, At(1, fallen=1), TOO_WEAK, At(1), None),
        ("twice in a row", DEMOTING, At(2, fallen=1), LOST, At(1, demotions=1, advanced_at=150), StageLost),
        ("and once more", DEMOTING, At(1, fallen=1, demotions=4), LOST, At(0, demotions=5, advanced_at=150), StageLost),
        ("never from the first stage", DEMOTING, At(0, fallen=9), LOST, At(0, fallen=9), None),
        ("demotions stay", DEMOTING, At(0, demotions=2), ENOUGH, At(1, demotions=2, advanced_at=150), StagePassed),
        ("its step has come", BY_STEPS, At(0), TOO_FEW, At(1, advanced_at=150), StageBegun),
        ("gates open nothing on the way", BY_STEPS, At(1), ENOUGH, At(1, streak=1), None),
        ("a manual stage stays", MANUAL, At(1), TOO_WEAK, At(1), None),
        ("until its gate has passed", MANUAL, At(1), ENOUGH, At(1, passed=True), StagePassed),
    ],
)  # fmt: skip
def test_state_in_state_and_event_out(name, spec, state, counts, expected, event):
    after, told = advance(spec, state, counts, step=150)
    assert after == expected, name
    assert type(told) is (event or type(None)), name


def test_the_last_gate_of_a_schedule_by_steps_ends_the_run():
    state, event = advance(BY_STEPS, At(2, advanced_at=300), ENOUGH, step=310)
    assert state.passed and isinstance(event, StagePassed)


def test_stages_begin_at_the_first_update_at_or_after_their_steps_and_may_be_skipped():
    state, stages = start(BY_STEPS), []
    for step in (50, 99, 100, 250, 299, 300, 400):
        state, _ = advance(BY_STEPS, state, TOO_FEW, step)
        stages.append(state.stage)
    assert stages == [0, 0, 1, 1, 1, 2, 2]
    assert advance(BY_STEPS, start(BY_STEPS), TOO_FEW, 1000)[0].stage == 2


def test_where_a_run_begins():
    assert start(THREE) == At(0)
    assert start(MANUAL) == At(1)
    assert start(curriculum(GATE, GATE, schedule={"steps": {"starts": [0, 0]}})) == At(1)


def test_a_gate_of_three_updates_must_hold_three_times_in_a_row():
    spec = curriculum(GATE | {"updates": 3}, GATE)
    state, stages = At(), []
    for counts in (ENOUGH, ENOUGH, TOO_WEAK, ENOUGH, ENOUGH, ENOUGH):
        state, _ = advance(spec, state, counts, step=1)
        stages.append(state.stage)
    assert stages == [0, 0, 0, 0, 0, 1]


def test_events_say_what_happened_in_one_line():
    passed = advance(THREE, At(0), ENOUGH, 50)[1]
    assert str(passed) == "stage 1, s0, passed at step 50: success 0.890, at least 0.814"
    lost = advance(DEMOTING, At(2, fallen=1), LOST, 60)[1]
    assert str(lost) == "stage 3, s2, lost at step 60: success 0.200, at most 0.289; back to stage 2 (demotion 1)"
    assert str(advance(BY_STEPS, At(0), TOO_FEW, 110)[1]) == "stage 2, s1, begins at step 110"


def test_a_demotion_that_a_gate_lets_in_is_refused():
    with pytest.raises(ValidationError, match=r"demotion\.successRate must lie below"):
        curriculum(GATE, GATE | {"successRate": 0.3}, schedule={"gates": {"demotion": {"successRate": 0.3}}})


counts_of_gate = st.integers(0, 100).flatmap(
    lambda episodes: st.builds(Counts, st.integers(0, episodes), st.just(episodes), st.just(episodes))
)


@given(st.lists(counts_of_gate, max_size=30), st.sampled_from([THREE, DEMOTING]))
def test_stages_change_by_one_and_only_for_a_full_window(history, spec):
    state = At()
    for step, counts in enumerate(history):
        after, event = advance(spec, state, counts, step)
        assert after.stage - state.stage in ((-1, 0, 1) if spec is DEMOTING else (0, 1))
        assert state.passed <= after.passed and state.demotions <= after.demotions
        assert (event is None) == ((after.stage, after.passed) == (state.stage, state.passed))
        if event is not None:
            assert counts.episodes == 100
            assert after.streak == after.fallen == 0
        state = after
