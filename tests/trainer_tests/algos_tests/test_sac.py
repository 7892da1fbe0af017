import copy
import math

import pytest
import torch
from headway.algos.sac import SACLearner
from headway.networks import squashed_sample
from headway.parallel import Group
from headway.replay.draws import POLICY, TARGET, normals
from trainer_tests.algos_tests.making import bandit, batch, linear_twins, spec_of

CPU = torch.device("cpu")


def make(policy=(0.3, -1.0), first=(2.0, 1.0), second=(1.0, 4.0), **given):
    """One feature, one action entry: `policy` are mean and log deviation of each unit of the feature."""
    network = linear_twins([list(policy)], first, second)
    return SACLearner(spec_of("sac", **given), network, torch.tensor([3]), seed=0, group=Group(), threads=1)


def steps(rows=1, discount=0.5):
    return batch([[1.0]] * rows, [[0.0]] * rows, [2.0] * rows, [discount] * rows, [[1.0]] * rows)


def test_targets_by_hand():
    learner = make(temperature=0.25)
    for critic in learner.network.critics:
        critic.body.write([[0.0], [0.0]])  # so errors are the targets
    (found,) = learner.learn(steps(), 7).tolist()
    noise = normals(0, 3, 7, 1, 1, TARGET, CPU).item()
    action = math.tanh(0.3 + math.exp(-1.0) * noise)
    density = -0.5 * noise**2 + 1.0 - 0.5 * math.log(2 * math.pi) - math.log(1 - action**2)
    assert found == pytest.approx(2 + 0.5 * (min(2 * action + 1, action + 4) - 0.25 * density), rel=1e-5)


def test_after_a_termination_neither_value_nor_entropy_follows():
    learner = make()
    for critic in learner.network.critics:
        critic.body.write([[0.0], [0.0]])
    assert learner.learn(steps(discount=0.0), 0).tolist() == [2.0]


def test_the_policy_goes_where_the_smaller_critic_and_its_entropy_grow():
    learner = make(first=(2.0, 1.0), second=(-1.0, -1.0), temperature=0.5, maxGradNorm=0)
    rows = batch([[1.0], [-1.0]], [[0.1], [0.2]], [0.0, 0.0], [0.5, 0.5], [[1.0], [1.0]])
    actor = copy.deepcopy(learner.network.actor)
    learner.learn(rows, 5)
    noise = normals(0, 3, 5, 2, 1, POLICY, CPU)
    action, log_prob = squashed_sample(actor(rows.features, None)[0], noise)
    first, second = (critic(rows.features, action) for critic in learner.network.critics)  # they learned before it
    assert (first < second).tolist() == [False, True]  # each is the smaller once
    (slope,) = torch.autograd.grad((0.5 * log_prob - torch.minimum(first, second)).mean(), actor.head.weight)
    torch.testing.assert_close(learner.network.actor.head.weight.grad, slope)
    assert not torch.equal(learner.network.actor.head.weight, actor.head.weight)


@pytest.mark.parametrize(
    ("log_std", "given", "goes"),
    [
        (-5.0, {}, 1),  # entropy about 1.4 - 5, less than minus one entry
        (0.0, {}, -1),  # about 0.5: more
        (-5.0, {"targetEntropy": -10.0}, -1),
        (0.0, {"targetEntropy": 0.69}, 1),  # log 2 is the most there is
        (0.0, {"autoTemperature": False}, 0),
    ],
)
def test_the_temperature_rises_where_there_is_less_entropy_than_wanted(log_std, given, goes):
    learner = make((0.0, log_std), learningRate=0.01, temperature=2.0, **given)
    learner.learn(steps(rows=64), 0)  # Adam's first step is as long as its rate
    assert learner.log_temperature.item() == pytest.approx(math.log(2.0) + goes * 0.01, abs=1e-5)


def test_the_entropy_wanted_is_minus_the_number_of_entries():
    network = linear_twins([[0.0] * 6], (0.0,) * 4, (0.0,) * 4, size=3)
    learner = SACLearner(spec_of("sac"), network, torch.tensor([0]), seed=0, group=Group(), threads=1)
    assert learner.target_entropy == -3


@pytest.mark.parametrize(("delay", "learns"), [(1, [0, 1, 2, 3]), (3, [0, 3])])
def test_policy_and_temperature_learn_each_so_many_steps_and_critics_at_all(delay, learns):
    learner = make(policyDelay=delay)
    moved = {"actor": [], "critics": [], "temperature": []}
    for step in range(4):
        before = {
            name: optimiser.param_groups[0]["params"][0].clone() for name, optimiser in learner.optimisers.items()
        }
        learner.learn(steps(), step)
        for name, value in before.items():
            if not torch.equal(value, learner.optimisers[name].param_groups[0]["params"][0]):
                moved[name].append(step)
    assert moved == {"actor": learns, "critics": [0, 1, 2, 3], "temperature": learns}


def test_targets_follow_at_every_gradient_step():
    learner = make(tau=0.25, policyDelay=10)
    for step in (1, 2):  # no steps of the policy
        before = learner.target.value.clone()
        learner.learn(steps(), step)
        torch.testing.assert_close(learner.target.value, 0.75 * before + 0.25 * learner.critics.flat.value.data)


def test_metrics_of_the_policy_are_means_though_it_learns_less_often():
    learner = make(policyDelay=2, temperature=4.0)
    learner.set_learning_rate(0.0)
    for step in range(4):
        learner.learn(steps(rows=8), step)
    _, _, _, loss, entropy, temperature = (learner.totals / 4).tolist()
    assert temperature == pytest.approx(4.0)
    expected = []
    for step in (0, 2):
        action, log_prob = squashed_sample(torch.tensor([[0.3, -1.0]] * 8), normals(0, 3, step, 8, 1, POLICY, CPU))
        value = torch.minimum(2 * action + 1, action + 4).mean().item()
        expected.append((4.0 * log_prob.mean().item() - value, -log_prob.mean().item()))
    assert loss == pytest.approx(sum(one for one, _ in expected) / 2, rel=1e-5)
    assert entropy == pytest.approx(sum(other for _, other in expected) / 2, rel=1e-5)


def test_it_explores_by_its_own_policy():
    learner = make()
    features, noise = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0]])
    expected = [math.tanh(0.3), math.tanh(0.6 + math.exp(-2.0))]
    assert learner.explore(features, noise, 0.0)[:, 0].tolist() == pytest.approx(expected)


def test_a_bandits_best_action_is_found_with_the_entropy_that_is_wanted():
    spec = spec_of("sac", learningRate=0.05, targetEntropy=-1.5)
    learner = bandit(SACLearner, spec, 2, best=0.4, steps=300)
    for critic in learner.network.critics:
        assert critic.body.head.weight[0].tolist() == pytest.approx([-1.0, 0.8, -0.16], abs=1e-3)
    best, _ = learner.network.greedy(torch.ones(1, 1), torch.zeros(1, 0))
    assert best.item() == pytest.approx(0.4, abs=0.03)
    assert learner.totals[4].item() / 100 == pytest.approx(-1.5, abs=0.2)
