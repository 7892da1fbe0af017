import pytest
from headway.algos.exploration import StagedExploration, share_at
from headway_api.offpolicy_spec import Exploration
from hypothesis import given
from hypothesis import strategies as st

FALLING = Exploration(start=1.0, end=0.2, steps=100)


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 1.0), (25, 0.8), (50, 0.6), (99, 0.208), (100, 0.2), (10**12, 0.2)],
)
def test_the_share_falls_evenly_and_stays_at_its_end(step, share):
    assert share_at(FALLING, step) == pytest.approx(share)


def test_a_schedule_of_no_steps_is_at_its_end_at_once():
    assert share_at(Exploration(start=1.0, end=0.1, steps=0), 0) == 0.1


def test_a_share_may_rise():
    assert share_at(Exploration(start=0.0, end=0.5, steps=10), 4) == pytest.approx(0.2)


shares = st.floats(0, 1)


@given(shares, shares, st.integers(0, 1000), st.integers(0, 2000))
def test_a_share_lies_between_its_ends_at_any_step(start, end, steps, step):
    share = share_at(Exploration(start=start, end=end, steps=steps), step)
    assert min(start, end) - 1e-12 <= share <= max(start, end) + 1e-12


@pytest.mark.parametrize(
    ("stage", "began", "step", "share"),
    [
        (0, 0, 50, 0.6),  # without its own: the run's schedule by the run's steps
        (1, 30, 30, 0.5),  # its own begins where the stage does
        (1, 30, 35, 0.3),
        (1, 30, 40, 0.1),
        (1, 30, 99, 0.1),
        (2, 40, 50, 0.6),  # back to the run's, which has gone on meanwhile
    ],
)
def test_a_stages_own_schedule_counts_from_where_the_stage_begins(stage, began, step, share):
    exploration = StagedExploration(FALLING, [None, Exploration(start=0.5, end=0.1, steps=10), None])
    exploration.begin_stage(1, 20)  # an earlier stage leaves nothing behind
    exploration.begin_stage(stage, began)
    assert exploration.share(step) == pytest.approx(share)


def test_before_any_stage_the_runs_schedule_holds():
    assert StagedExploration(FALLING, [Exploration(start=0.5, end=0.5, steps=0)]).share(25) == pytest.approx(0.8)
