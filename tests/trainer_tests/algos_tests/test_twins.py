"""What SAC and TD3 have in common, by both."""

import pytest
import torch
from headway.algos.sac import SACLearner
from headway.algos.td3 import TD3Learner
from headway.parallel import Group
from trainer_tests.algos_tests.making import batch, linear_twins, spec_of

LEARNERS = {"sac": SACLearner, "td3": TD3Learner}
ACTOR = {"sac": [[0.3, -1.0]], "td3": [[0.3]]}


@pytest.fixture(params=list(LEARNERS))
def kind(request):
    return request.param


def make(kind, first=(2.0, 1.0), second=(1.0, 4.0), index=(3, 4), threads=1, **given):
    """One feature, one action entry; `first` and `second`: the critics' weights of action and feature."""
    network = linear_twins(ACTOR[kind], first, second)
    return LEARNERS[kind](spec_of(kind, **given), network, torch.tensor(index), seed=0, group=Group(), threads=threads)


def ends(weight=None):
    """Two steps after which nothing follows, so that the reward is what is wanted."""
    return batch([[1.0], [2.0]], [[0.5], [-0.5]], [1.0, 2.0], [0.0, 0.0], [[1.0], [1.0]], weight)


def test_each_critic_learns_what_is_wanted_by_half_its_square_and_the_rows_weights(kind):
    # The first says 2 and 1 of the two rows: 1 too much, 1 too little. The second 4.5 and 7.5: 3.5 and 5.5 too much.
    for weight, by in ((None, (1.0, 1.0)), ([1.0, 0.5], (1.0, 0.5))):
        learner = make(kind, autoTemperature=False) if kind == "sac" else make(kind)
        errors = learner.learn(ends(weight), 1)
        assert errors.tolist() == pytest.approx([(1 + 3.5) / 2, (1 + 5.5) / 2])
        loss = 0.5 * (by[0] * (1 + 3.5**2) + by[1] * (1 + 5.5**2)) / 2
        assert learner.totals[:3].tolist() == pytest.approx([loss, (2 + 1 + 4.5 + 7.5) / 4, (2.25 + 3.25) / 2])
        for critic, (one, other) in zip(learner.network.critics, ((1, -1), (3.5, 5.5)), strict=True):
            slope = [(by[0] * one * 0.5 - by[1] * other * 0.5) / 2, (by[0] * one * 1 + by[1] * other * 2) / 2]
            assert critic.body.head.weight.grad[0].tolist() == pytest.approx(slope)


def test_the_smaller_target_is_believed_row_by_row(kind):
    learner = make(kind)
    for critic in learner.network.critics:
        critic.body.write([[9.0], [9.0]])  # the targets stay where they were
    features, action = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [1.0]])
    assert learner.target_value(features, action).tolist() == [3.0, 1.0]  # of 3 and 5, of 2 and 1


def test_first_actions_are_spread_evenly(kind):
    even = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    noise = torch.special.ndtri(even).float()[:, None]
    torch.testing.assert_close(make(kind).random(noise)[:, 0], (2 * even - 1).float(), atol=1e-5, rtol=0)


def test_the_noise_of_an_environment_does_not_depend_on_its_rank(kind):
    whole, part = make(kind, index=range(6)), make(kind, index=range(3, 6))
    steps = torch.tensor([8, 9])
    assert whole.noise(steps).shape == (2, 6, 1)
    assert torch.equal(whole.noise(steps)[:, 3:], part.noise(steps))


def test_two_lanes_do_what_one_does(kind):
    states = []
    for threads in (1, 2):
        learner = make(kind, threads=threads)
        rows = batch([[1.0], [2.0]], [[0.5], [-0.5]], [1.0, 2.0], [0.5, 0.5], [[3.0], [1.0]])
        for step in range(4):
            learner.learn(rows, step)
        states.append(learner.state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_gradients_are_cut_to_their_norm_and_0_leaves_them(kind):
    assert make(kind).critics.max_norm == 0
    for given, norms in ({"maxGradNorm": 0.125}, (0.125, 0.125)), ({}, (8.4, 2.0)):
        learner = make(kind, policyDelay=1, **given)
        learner.learn(ends(), 0)
        for part, norm in zip((learner.critics, learner.actor), norms, strict=True):
            found = part.flat.gradient.norm().item()
            assert found == (pytest.approx(norm, rel=1e-4) if given else pytest.approx(norm, 0.9))


def test_no_step_is_made_with_a_learning_rate_of_nothing(kind):
    learner = make(kind, policyDelay=1)
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    learner.set_learning_rate(0.0)
    learner.learn(ends(), 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.network.state_dict().items())
    learner.set_learning_rate(0.01)
    learner.learn(ends(), 1)
    assert not any(torch.equal(tensor, before[name]) for name, tensor in learner.network.state_dict().items())


def test_a_run_that_begins_with_other_weights_has_them_in_its_targets_too(kind):
    learner = make(kind)
    learner.load_weights(linear_twins([[0.7] * len(ACTOR[kind][0])], (5.0, 6.0), (7.0, 8.0)).state_dict())
    assert [critic.body.read()[:, 0].tolist() for critic in learner.target.module] == [[5, 6], [7, 8]]
    if kind == "td3":
        assert learner.target_actor.module.read().item() == pytest.approx(0.7)
