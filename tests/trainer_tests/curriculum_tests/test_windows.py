import pytest
import torch
from headway.curriculum.windows import GateWindow, to_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.curriculum_tests.making import ends

SUCCESSES, EPISODES, IN_STAGE, COLLISIONS, REWARD = range(5)


def window(total_envs=2, episodes=4, stage=0, offset=0, num_envs=None):
    made = GateWindow(total_envs, offset, num_envs or total_envs)
    made.begin(stage, episodes)
    return made


def test_each_environment_contributes_an_equal_number_of_its_newest_episodes():
    counted = window()  # two of each
    for success in (False, False, True, True):  # environment 0 is quick: of its four only the newest two count
        counted.add(ends([True, False], [success, True]))
    assert counted.counts().tolist()[:3] == [2, 2, 4]
    counted.add(ends([False, True], [True, False]))
    counted.add(ends([False, True], [True, False]))
    assert counted.counts().tolist()[:3] == [2, 4, 6]


def test_collisions_and_rewards_are_of_the_same_episodes():
    counted = window()
    for reward in (100.0, -1.0, 0.5, 0.25):
        hit = reward == -1.0
        counted.add(ends([True, True], [not hit, False], collision=[hit, True], reward=[reward, -2.0]))
    counts = to_counts(counted.counts())
    assert (counts.successes, counts.collisions, counts.episodes) == (2, 2, 4)
    assert counts.reward == 750_000 - 4_000_000
    assert counts.mean_reward == -0.8125


def test_quick_environments_alone_never_fill_the_window():
    counted = window()
    for _ in range(50):
        counted.add(ends([True, False], [True, False]))
    assert counted.counts().tolist()[:3] == [2, 2, 50]


def test_replays_and_leftovers_of_other_stages_do_not_count():
    counted = window(stage=1)
    counted.add(ends([True, True], [True, True], stage=[0, 1]))
    assert counted.counts().tolist()[:3] == [1, 1, 1]


def test_remembered_levels_do_not_count_because_they_were_chosen():
    counted = window()
    counted.add(ends([True, True], [True, True], slot=[3, -1]))
    assert counted.counts().tolist()[:3] == [1, 1, 1]


def test_a_window_that_does_not_divide_gives_the_first_environments_one_more():
    counted = window(total_envs=3)
    assert counted.quota.tolist() == [2, 1, 1]
    counted.begin(stage=0, episodes=2)
    assert counted.quota.tolist() == [1, 1, 0]
    counted.add(ends([True] * 3, [True] * 3))
    assert counted.counts().tolist()[:3] == [2, 2, 3]


rewards = st.lists(st.floats(-1e9, 1e9, width=32), min_size=6, max_size=6)
steps_of_six = st.lists(st.tuples(*[st.lists(st.booleans(), min_size=6, max_size=6)] * 3, rewards), max_size=25)


@settings(max_examples=60)
@given(steps_of_six, st.integers(1, 20))
def test_any_split_over_ranks_counts_the_same(history, episodes):
    totals = []
    for ranks in (1, 2, 3):
        size = 6 // ranks
        parts = [window(6, episodes, offset=r * size, num_envs=size) for r in range(ranks)]
        for rank, part in enumerate(parts):
            rows = slice(rank * size, (rank + 1) * size)
            for ended, success, collision, reward in history:
                part.add(ends(ended[rows], success[rows], collision=collision[rows], reward=reward[rows]))
        totals.append(sum(part.counts() for part in parts).tolist())
    assert totals[0] == totals[1] == totals[2]


def test_a_window_goes_on_where_it_was():
    first, second = window(episodes=6), window(episodes=6)
    first.add(ends([True, True], [True, False], reward=[1.0, 2.0]))
    second.set_state({name: tensor.clone() for name, tensor in first.get_state().items()})
    for part in (first, second):
        part.add(ends([True, False], [True, False], reward=[3.0, 0.0]))
    assert torch.equal(first.counts(), second.counts())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("success", None, "'success' is missing"),
        ("success", torch.zeros(2, 3, dtype=torch.int64), "'success' is missing or of another shape or type"),
        ("reward", torch.zeros(3, 3, dtype=torch.int64), "'reward' is missing or of another shape or type"),
        ("success", torch.full((2, 3), 2, dtype=torch.uint8), "'success' holds a number that no episode has"),
        ("collision", torch.tensor([[1, 1, 0], [0, 0, 0]], dtype=torch.uint8), "'collision' holds a number"),  # of none
        ("reward", torch.full((2, 3), 10**13 + 1), "'reward' holds a number that no episode has"),
        ("ended", torch.tensor([1, -1]), "'ended' holds a negative count"),
    ],
)
def test_a_window_that_no_episodes_leave_behind_is_refused(name, value, message):
    good = window(episodes=6)
    good.add(ends([True, True], [True, False]))
    state = {k: v for k, v in (good.get_state() | {name: value}).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        window(episodes=6).set_state(state)
