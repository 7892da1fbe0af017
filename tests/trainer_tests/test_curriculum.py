import pytest
import torch
from headway.curriculum import Counts, CurriculumState, GateWindow, advance, progress
from headway.envs.protocol import EpisodeEnds
from headway_api.curriculum_spec import Curriculum
from hypothesis import given
from hypothesis import strategies as st

LEVELS = {"world": {"empty": {}}}


def curriculum(*gates):
    stages = [{"name": f"s{i}", "levels": LEVELS, "gate": gate} for i, gate in enumerate(gates)]
    return Curriculum.model_validate({"stages": stages})


GATE = {"successRate": 0.8, "episodes": 100, "confidence": 0.95}
THREE = curriculum(GATE, GATE, GATE)

# 89 of 100: Wilson lower bound 0.8137; 87 of 100: 0.7903.
ENOUGH, TOO_FEW, TOO_WEAK = Counts(89, 100, 100), Counts(99, 99, 99), Counts(87, 100, 100)


@pytest.mark.parametrize(
    ("name", "state", "counts", "expected"),
    [
        ("the gate holds", CurriculumState(0), ENOUGH, CurriculumState(1, advanced_at=50)),
        ("too few episodes", CurriculumState(0), TOO_FEW, CurriculumState(0)),
        ("the bound is below the rate", CurriculumState(0), TOO_WEAK, CurriculumState(0)),
        ("no episodes at all", CurriculumState(1), Counts(0, 0, 0), CurriculumState(1)),
        (
            "the last gate holds", CurriculumState(2, advanced_at=7), ENOUGH,
            CurriculumState(2, passed=True, advanced_at=7),
        ),
        (
            "nothing follows the end", CurriculumState(2, passed=True), TOO_WEAK,
            CurriculumState(2, passed=True),
        ),
    ],
)  # fmt: skip
def test_advance_state_in_state_out(name, state, counts, expected):
    after, event = advance(THREE, state, counts, step=50)
    assert after == expected, name
    assert (event is not None) == ((after.stage, after.passed) != (state.stage, state.passed))


def test_a_gate_of_three_updates_must_hold_three_times_in_a_row():
    spec = curriculum(GATE | {"updates": 3}, GATE)
    state, stages = CurriculumState(), []
    for counts in (ENOUGH, ENOUGH, TOO_WEAK, ENOUGH, ENOUGH, ENOUGH):
        state, _ = advance(spec, state, counts, step=1)
        stages.append(state.stage)
    assert stages == [0, 0, 0, 0, 0, 1]


counts_of_gate = st.integers(0, 100).flatmap(
    lambda episodes: st.builds(Counts, st.integers(0, episodes), st.just(episodes), st.just(episodes))
)


@given(st.lists(counts_of_gate, max_size=30))
def test_stages_never_decrease_and_are_never_skipped(history):
    state = CurriculumState()
    for step, counts in enumerate(history):
        after, event = advance(THREE, state, counts, step)
        assert after.stage - state.stage in (0, 1)
        assert state.passed <= after.passed
        if event is not None:
            assert counts.episodes == 100 and event.lower_bound >= 0.8
        state = after


def ends(ended, success, stage=None):
    n = len(ended)
    return EpisodeEnds(
        ended=torch.tensor(ended), stage=torch.zeros(n, dtype=torch.int64) if stage is None else torch.tensor(stage),
        success=torch.tensor(success), collision=torch.zeros(n, dtype=torch.bool), total_reward=torch.zeros(n),
        length=torch.ones(n, dtype=torch.int64), level=torch.zeros(n, 2, dtype=torch.int64),
        slot=torch.full((n,), -1),
    )  # fmt: skip


def test_each_environment_contributes_an_equal_number_of_its_newest_episodes():
    window = GateWindow(total_envs=2, offset=0, num_envs=2)
    window.begin(stage=0, episodes=4)  # two of each
    for success in (False, False, True, True):  # environment 0 is quick: of its four only the newest two count
        window.add(ends([True, False], [success, True]))
    assert window.counts().tolist() == [2, 2, 4]
    window.add(ends([False, True], [True, False]))
    window.add(ends([False, True], [True, False]))
    assert window.counts().tolist() == [2, 4, 6]


def test_quick_environments_alone_never_fill_the_window():
    window = GateWindow(total_envs=2, offset=0, num_envs=2)
    window.begin(stage=0, episodes=4)
    for _ in range(50):
        window.add(ends([True, False], [True, False]))
    assert window.counts().tolist() == [2, 2, 50]


def test_replays_and_leftovers_of_other_stages_do_not_count():
    window = GateWindow(total_envs=2, offset=0, num_envs=2)
    window.begin(stage=1, episodes=4)
    window.add(ends([True, True], [True, True], stage=[0, 1]))
    assert window.counts().tolist() == [1, 1, 1]


def test_a_window_that_does_not_divide_gives_the_first_environments_one_more():
    window = GateWindow(total_envs=3, offset=0, num_envs=3)
    window.begin(stage=0, episodes=4)
    assert window.quota.tolist() == [2, 1, 1]
    window.begin(stage=0, episodes=2)
    assert window.quota.tolist() == [1, 1, 0]
    window.add(ends([True] * 3, [True] * 3))
    assert window.counts().tolist() == [2, 2, 3]


steps_of_six = st.lists(st.tuples(*[st.lists(st.booleans(), min_size=6, max_size=6)] * 2), max_size=25)


@given(steps_of_six, st.integers(1, 20))
def test_any_split_over_ranks_counts_the_same(history, episodes):
    totals = []
    for ranks in (1, 2, 3):
        size = 6 // ranks
        windows = [GateWindow(total_envs=6, offset=r * size, num_envs=size) for r in range(ranks)]
        for rank, window in enumerate(windows):
            window.begin(stage=0, episodes=episodes)
            rows = slice(rank * size, (rank + 1) * size)
            for ended, success in history:
                window.add(ends(ended[rows], success[rows]))
        totals.append(sum(window.counts() for window in windows).tolist())
    assert totals[0] == totals[1] == totals[2]


def test_a_window_goes_on_where_it_was():
    first, second = (GateWindow(total_envs=2, offset=0, num_envs=2) for _ in range(2))
    for window in (first, second):
        window.begin(stage=0, episodes=6)
    first.add(ends([True, True], [True, False]))
    second.set_state({name: tensor.clone() for name, tensor in first.get_state().items()})
    for window in (first, second):
        window.add(ends([True, False], [True, False]))
    assert torch.equal(first.counts(), second.counts())
    with pytest.raises(ValueError, match="outcome"):
        second.set_state({"ended": first.ended})


def test_progress_counts_stages_from_one_and_knows_no_rate_without_episodes():
    shown = progress(THREE, CurriculumState(1, advanced_at=9), Counts(0, 0, 0))
    assert (shown.stage, shown.stage_name, shown.stages, shown.success_rate) == (2, "s1", 3, None)
    assert progress(THREE, CurriculumState(2, passed=True), Counts(3, 4, 9)).success_rate == 0.75
