"""Both kinds of priorities, the CPU's tree and the running sums of other devices, by the same tests."""

import numpy as np
import pytest
import torch
from headway.replay.priorities import HIGHEST, LOWEST, SCALE, RunningSums
from headway.replay.tree import SumTree
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

KINDS = {
    "tree": SumTree,
    "running sums": lambda size, alpha, epsilon: RunningSums(size, alpha, epsilon, torch.device("cpu")),
}


@pytest.fixture(params=list(KINDS))
def make(request):
    return KINDS[request.param]


def filled(make, errors, alpha=0.6, epsilon=1e-4, size=None):
    made = make(size or len(errors), alpha, epsilon)
    made.fill(0, len(errors))
    made.update(torch.arange(len(errors)), torch.tensor(errors, dtype=torch.float32))
    return made


def test_a_priority_is_the_error_plus_epsilon_to_the_power_of_alpha(make):
    leaves = filled(make, [0.0, 1.0, -3.0, 100.0], alpha=0.5, epsilon=0.25).get_leaves()
    expected = [(e + 0.25) ** 0.5 * SCALE for e in (0.0, 1.0, 3.0, 100.0)]
    assert leaves.tolist() == pytest.approx(expected, abs=1)


def test_priorities_stay_within_bounds_that_sums_can_hold(make):
    leaves = filled(make, [0.0, 1e30], alpha=1.0, epsilon=1e-12).get_leaves()
    assert leaves.tolist() == [LOWEST, HIGHEST]


def test_an_error_that_is_no_number_has_the_lowest_priority(make):
    """Learning has diverged, which is told after the update: until then draws must find their way."""
    made = filled(make, [1.0, float("nan"), float("inf"), 1.0])
    assert made.get_leaves()[1:3].tolist() == [LOWEST, HIGHEST]
    index, _ = made.draw(0, 0, 0, 64, 0.4)
    assert 0 <= int(index.min()) <= int(index.max()) <= 3


def test_new_transitions_get_the_highest_priority_ever_seen(make):
    made = filled(make, [1.0, 9.0, 2.0], alpha=1.0, epsilon=1e-4, size=8)
    high = made.get_leaves()[1].item()
    made.update(torch.tensor([1]), torch.tensor([0.5]))  # the highest falls, and is remembered
    made.fill(3, 2)
    assert made.get_leaves()[3:5].tolist() == [high, high] and made.highest == high


def test_a_slot_that_was_drawn_twice_keeps_the_higher_priority(make):
    made = filled(make, [1.0, 1.0, 1.0], alpha=1.0)
    made.update(torch.tensor([0, 1, 1, 2]), torch.tensor([1.0, 5.0, 2.0, 1.0]))
    made_reversed = filled(make, [1.0, 1.0, 1.0], alpha=1.0)
    made_reversed.update(torch.tensor([0, 1, 1, 2]), torch.tensor([1.0, 2.0, 5.0, 1.0]))
    assert torch.equal(made.get_leaves(), made_reversed.get_leaves())
    assert made.get_leaves()[1].item() == pytest.approx(5.0001 * SCALE, rel=1e-6)


def test_empty_slots_are_never_drawn(make):
    made = filled(make, [1.0] * 5, size=300)
    for step in range(50):
        index, _ = made.draw(0, 0, step, 32, 0.4)
        assert index.max() < 5


def test_frequencies_are_those_of_the_priorities(make):
    """A million draws against p^alpha / sum by chi-square; strata only make the frequencies more even."""
    errors = torch.rand(200, generator=torch.Generator().manual_seed(1)).square() * 10
    made = filled(make, errors.tolist())
    draws, batch = 1_000_000, 2000
    counts = np.zeros(200)
    for step in range(draws // batch):
        index, _ = made.draw(3, 0, step, batch, 0.4)
        counts += np.bincount(index.numpy(), minlength=200)
    p = (errors.double().numpy() + 1e-4) ** 0.6
    expected = draws * p / p.sum()
    assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 199)


def test_single_draws_have_the_frequencies_too(make):
    """Without strata: one draw a batch, so that chi-square is tested from both sides."""
    errors = [0.1, 1.0, 4.0, 10.0, 0.0]
    made = filled(make, errors)
    counts = np.zeros(5)
    for step in range(10_000):
        counts[made.draw(5, 0, step, 1, 0.4)[0].item()] += 1
    p = (np.array(errors) + 1e-4) ** 0.6
    expected = 10_000 * p / p.sum()
    assert chi2.ppf(0.0005, 4) < ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.9995, 4)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_are_those_of_the_formula(make, beta):
    errors = [0.1, 1.0, 4.0, 10.0]
    made = filled(make, errors)
    index, weight = made.draw(0, 0, 0, 64, beta)
    p = (np.array(errors) + 1e-4) ** 0.6
    expected = (4 * p / p.sum())[index.numpy()] ** -beta
    np.testing.assert_allclose(weight.numpy(), expected / expected.max(), rtol=1e-5)


def test_indices_never_fall(make):
    made = filled(make, torch.rand(1000).tolist())
    assert (made.draw(0, 0, 0, 256, 0.4)[0].diff() >= 0).all()


def test_draws_are_functions_of_seed_shard_and_step(make):
    made = filled(make, torch.rand(1000).tolist())
    first = made.draw(1, 2, 3, 64, 0.4)[0]
    assert torch.equal(first, made.draw(1, 2, 3, 64, 0.4)[0])
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(first, made.draw(*other, 64, 0.4)[0])


@settings(max_examples=30)
@given(st.integers(1, 700), st.integers(0, 2**31), st.integers(1, 60))
def test_both_kinds_draw_the_same(size, seed, batch):
    leaves = torch.randint(0, 2**38, (size,), generator=torch.Generator().manual_seed(seed))
    leaves[seed % size] = 2**20
    made = [make(size, 0.6, 1e-4) for make in KINDS.values()]
    for one in made:
        one.set_leaves(leaves, 2**38)
    (index, weight), (other_index, other_weight) = (one.draw(seed, 0, 9, batch, 0.4) for one in made)
    assert torch.equal(index, other_index)
    torch.testing.assert_close(weight, other_weight)


@settings(max_examples=50)
@given(st.data(), st.integers(1, 5000))
def test_after_updates_in_any_order_every_sum_is_that_of_its_leaves(data, size):
    tree = SumTree(size, 0.6, 1e-4)
    for _ in range(data.draw(st.integers(1, 20))):
        if data.draw(st.booleans()):
            first = data.draw(st.integers(0, size - 1))
            tree.fill(first, data.draw(st.integers(1, size - first)))
        else:
            index = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=30))
            errors = torch.tensor(data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(index), max_size=len(index))))
            tree.update(torch.tensor(sorted(index)), errors.float())
    rebuilt = SumTree(size, 0.6, 1e-4)
    rebuilt.set_leaves(tree.get_leaves(), tree.highest)
    assert np.array_equal(tree.sums, rebuilt.sums)
    assert tree.sums[-1] == tree.get_leaves().sum().item()


def test_order_of_updates_does_not_matter():
    errors = torch.rand(500)
    forward, backward = SumTree(500, 0.6, 1e-4), SumTree(500, 0.6, 1e-4)
    for k in range(500):
        forward.update(torch.tensor([k]), errors[k : k + 1])
        backward.update(torch.tensor([499 - k]), errors[499 - k : 500 - k])
    assert np.array_equal(forward.sums, backward.sums)
