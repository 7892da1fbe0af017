import pytest
import torch
from headway.replay.windows import n_step
from hypothesis import given
from hypothesis import strategies as st

NONE = [False, False, False]


def ask(reward, terminated=NONE, truncated=NONE, inside=(True, True, True), gamma=0.5):
    rows = (torch.tensor([list(row)]) for row in (terminated, truncated, inside))
    return n_step(torch.tensor([[float(r) for r in reward]]), *rows, gamma)


def test_rewards_are_discounted_and_what_follows_is_asked():
    found = ask([1, 2, 4])
    assert found.reward.item() == 1 + 1 + 1 and found.discount.item() == 0.125 and found.length.item() == 3


def test_a_termination_ends_the_window_and_nothing_follows():
    found = ask([1, 2, 4], terminated=[False, True, False])
    assert found.reward.item() == 2 and found.discount.item() == 0 and found.length.item() == 2


def test_a_truncation_ends_the_window_and_its_own_last_state_is_asked():
    found = ask([1, 2, 4], truncated=[False, True, False])
    assert found.reward.item() == 2 and found.discount.item() == 0.25 and found.length.item() == 2


def test_an_end_at_the_first_step_leaves_that_step_alone():
    assert ask([1, 2, 4], terminated=[True, False, False]).reward.item() == 1
    assert ask([1, 2, 4], truncated=[True, False, False]).discount.item() == 0.5


def test_an_end_at_the_last_step_counts():
    found = ask([1, 2, 4], terminated=[False, False, True])
    assert found.reward.item() == 3 and found.discount.item() == 0 and found.length.item() == 3


def test_an_end_in_the_next_episode_is_not_this_ones():
    found = ask([1, 2, 4], truncated=[True, False, False], terminated=[False, True, False])
    assert found.reward.item() == 1 and found.discount.item() == 0.5


def test_a_window_that_has_not_got_farther_asks_there():
    found = ask([1, 2, 4], inside=[True, True, False])
    assert found.reward.item() == 2 and found.discount.item() == 0.25 and found.length.item() == 2


def test_a_termination_that_has_not_happened_yet_does_not_count():
    assert ask([1, 2, 4], terminated=[False, False, True], inside=[True, True, False]).discount.item() == 0.25


def slowly(reward, terminated, truncated, inside, gamma):
    total, discount = 0.0, 1.0
    for r, dies, cut, there in zip(reward, terminated, truncated, inside, strict=True):
        if not there:
            break
        total += discount * r
        discount *= gamma
        if dies:
            return total, 0.0
        if cut:
            break
    return total, discount


STEP = st.tuples(st.integers(-8, 8), st.booleans(), st.booleans())


@given(st.lists(STEP, min_size=1, max_size=6), st.integers(1, 6), st.sampled_from([0.5, 0.9, 1.0]))
def test_it_is_what_a_loop_over_the_steps_says(steps, there, gamma):
    reward, terminated, truncated = (list(column) for column in zip(*steps, strict=True))
    inside = [k < there for k in range(len(steps))]
    found = ask(reward, terminated, truncated, inside, gamma)
    total, discount = slowly(reward, terminated, truncated, inside, gamma)
    assert (found.reward.item(), found.discount.item()) == pytest.approx((total, discount), abs=1e-5)
