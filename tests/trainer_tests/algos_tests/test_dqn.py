import math

import pytest
import torch
from headway.algos.dqn import DQNLearner
from headway.parallel import Group
from trainer_tests.algos_tests.making import batch, q_table, spec_of

A, B = [1.0, 0.0], [0.0, 1.0]  # two states


def make(thinks=((0.0, 0.0, 0.0), (1.0, 5.0, 2.0)), target_thinks=((0.0, 0.0, 0.0), (10.0, 3.0, 20.0)), **given):
    """A learner of two states and three choices: what its networks say of them."""
    spec = spec_of("dqn", **({"maxGradNorm": 0} | given))
    learner = DQNLearner(spec, q_table(target_thinks), 3, torch.arange(4), seed=0, group=Group())
    learner.network.body.write(thinks)
    return learner


def one(reward=1.0, discount=0.5, weight=None, action=0):
    """One step from state A to state B."""
    return batch([A], [action], [reward], [discount], [B], weight)


@pytest.mark.parametrize(
    ("double", "wanted"),
    [(True, 1 + 0.5 * 3), (False, 1 + 0.5 * 20)],  # the target's value of the online's choice, or its own highest
)
def test_the_target_tells_the_value_and_double_lets_the_online_network_choose(double, wanted):
    assert make(double=double).learn(one(), 0).tolist() == pytest.approx([wanted])


@pytest.mark.parametrize(
    ("discount", "wanted"),
    [(0.9**3, 2 + 0.729 * 3), (0.9, 2 + 0.9 * 3), (0.0, 2.0)],  # three steps, one, and a termination
)
def test_what_follows_counts_by_the_discount_of_the_window(discount, wanted):
    assert make().learn(one(reward=2.0, discount=discount), 0).tolist() == pytest.approx([wanted])


def test_td_errors_are_what_was_wanted_less_what_was_thought():
    learner = make(thinks=((4.0, -1.0, 0.0), (1.0, 5.0, 2.0)))
    rows = batch([A, A], [0, 1], [0.0, 0.0], [0.5, 0.5], [B, B])
    assert learner.learn(rows, 0).tolist() == pytest.approx([1.5 - 4.0, 1.5 + 1.0])


@pytest.mark.parametrize(
    ("weight", "loss", "slopes"),
    [
        (None, (0.5 * 0.25 + (3.0 - 0.5)) / 2, [-0.5 / 2, 1.0 / 2]),  # Huber: a square below 1, a line above
        ([1.0, 0.5], (0.5 * 0.25 + 0.5 * (3.0 - 0.5)) / 2, [-0.5 / 2, 0.5 / 2]),
    ],
)
def test_the_loss_is_hubers_and_each_row_counts_by_its_weight(weight, loss, slopes):
    learner = make(thinks=((0.0, 3.0, 0.0), (0.0, 0.0, 0.0)))
    rows = batch([A, A], [0, 1], [0.5, 0.0], [0.0, 0.0], [B, B], weight)  # errors 0.5 and -3
    learner.learn(rows, 0)
    assert learner.totals[0].item() == pytest.approx(loss)
    assert learner.network.body.head.weight.grad[:2, 0].tolist() == pytest.approx(slopes)


def test_totals_are_loss_value_error_and_norm():
    learner = make(thinks=((0.0, 3.0, 0.0), (0.0, 0.0, 0.0)), maxGradNorm=100)
    learner.set_learning_rate(0.0)
    for step in range(2):
        learner.learn(batch([A, A], [0, 1], [0.5, 0.0], [0.0, 0.0], [B, B]), step)
    loss, value, error, norm = (learner.totals / 2).tolist()
    assert (loss, value, error) == pytest.approx((1.3125, 1.5, 1.75))
    assert norm == pytest.approx((0.25**2 + 0.5**2) ** 0.5)


def test_gradients_are_cut_to_their_norm():
    learner = make(maxGradNorm=0.125)
    learner.learn(one(), 0)
    assert learner.network.body.head.weight.grad.norm().item() == pytest.approx(0.125, rel=1e-4)


def test_the_best_choice_is_made_but_for_a_share_in_which_all_are_as_likely():
    learner = make(thinks=((7.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    noise = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000
    features = torch.tensor([A]).expand(3000, 2)
    chosen = learner.explore(features, noise, 0.3)
    assert chosen.bincount().tolist() == [2100 + 300, 300, 300]
    assert chosen[900:].unique().tolist() == [0]
    assert learner.explore(features, noise, 0.0).unique().tolist() == [0]
    assert learner.explore(features, noise, 1.0).bincount().tolist() == [1000] * 3
    assert learner.random(noise).bincount().tolist() == [1000] * 3


def test_noise_next_to_the_share_still_names_a_choice():
    learner = make()
    just_below = torch.tensor([math.nextafter(0.3, 0.0), math.nextafter(1.0, 0.0)], dtype=torch.float64)
    features = torch.tensor([A, A])
    for share in (0.3, 1.0, 0.0):
        assert learner.explore(features, just_below, share).max() <= 2
    assert learner.random(just_below).max() <= 2


def test_the_noise_of_an_environment_does_not_depend_on_its_rank():
    whole = make()
    part = DQNLearner(spec_of("dqn"), q_table([[0.0] * 3]), 3, torch.tensor([2, 3]), seed=0, group=Group())
    steps = torch.tensor([5, 6])
    assert torch.equal(whole.noise(steps)[:, 2:], part.noise(steps))


@pytest.mark.parametrize(
    ("before", "now", "renewed"),
    [(0, 99, False), (99, 100, True), (100, 101, False), (150, 199, False), (150, 450, True), (90, 110, True)],
)
def test_a_hard_target_is_renewed_where_its_steps_are_passed(before, now, renewed):
    learner = make(target={"hard": {"everySteps": 100}})
    learner.begin_training(now, before)
    assert torch.equal(learner.target.module.body.read(), learner.network.body.read()) is renewed


def test_a_hard_target_does_not_follow_between():
    learner = make()
    before = learner.target.value.clone()
    learner.learn(one(), 0)
    assert torch.equal(learner.target.value, before)


def test_a_polyak_target_follows_each_gradient_step_to_where_the_network_then_is():
    learner = make(target={"polyak": {"tau": 0.25}})
    before = learner.target.value.clone()
    learner.begin_training(10**9, 0)  # which renews none but hard ones
    assert torch.equal(learner.target.value, before)
    learner.learn(one(), 0)
    torch.testing.assert_close(learner.target.value, 0.75 * before + 0.25 * learner.gradient.flat.value.data)


def test_a_run_that_begins_with_other_weights_has_them_in_its_target_too():
    learner = make()
    learner.load_weights(q_table([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).state_dict())
    assert learner.target.module.body.read().tolist() == [[1, 2, 3], [4, 5, 6]]


def test_values_of_two_states_in_a_row_become_exact():
    """Choice 1 leads from A to B and from B to the end, which earns 1; choice 0 to A. Gamma is 0.5."""
    learner = make([[0.0] * 2] * 2, [[0.0] * 2] * 2, learningRate=0.05, target={"polyak": {"tau": 0.2}})
    rows = batch([A, A, B, B], [0, 1, 0, 1], [0.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.0], [A, B, A, B])
    for step in range(600):
        learner.learn(rows, step)
    exact = torch.tensor([[0.25, 0.5], [0.25, 1.0]])
    torch.testing.assert_close(learner.network.body.read(), exact, atol=1e-3, rtol=0)
