import math

import pytest
import torch
from headway.algos.td3 import TD3Learner
from headway.parallel import Group
from headway.replay.draws import TARGET, normals
from trainer_tests.algos_tests.making import bandit, batch, linear_twins, spec_of

CPU = torch.device("cpu")


def make(policy=0.3, first=(2.0, 1.0), second=(1.0, 4.0), **given):
    """One feature, one action entry, weights alone."""
    network = linear_twins([[policy]], first, second)
    return TD3Learner(spec_of("td3", **given), network, torch.tensor([3]), seed=0, group=Group(), threads=1)


def steps(rows=1, discount=0.5):
    return batch([[1.0]] * rows, [[0.0]] * rows, [2.0] * rows, [discount] * rows, [[1.0]] * rows)


def wanted(learner, rows=1, step=7, discount=0.5):
    """What the targets say, with critics that say 0."""
    for critic in learner.network.critics:
        critic.body.write([[0.0], [0.0]])
    return learner.learn(steps(rows, discount), step)


def test_targets_by_hand():
    learner = make(targetNoise=0)
    learner.network.actor.write([[-5.0]])  # the target's policy is asked, not this one
    (found,) = wanted(learner).tolist()
    action = math.tanh(0.3)
    assert found == pytest.approx(2 + 0.5 * min(2 * action + 1, action + 4))
    assert wanted(make(), discount=0.0).tolist() == [2.0]


@pytest.mark.parametrize(
    ("policy", "deviation", "clip"),
    [(0.3, 0.2, 0.5), (0.3, 2.0, 0.1), (3.0, 2.0, 2.0), (-3.0, 2.0, 2.0), (0.3, 0.2, 0.0)],
)
def test_the_targets_action_is_smoothed_by_noise_that_is_cut_off(policy, deviation, clip):
    found = wanted(make(policy, targetNoise=deviation, targetNoiseClip=clip), rows=32)
    noise = (deviation * normals(0, 3, 7, 32, 1, TARGET, CPU)[:, 0]).clamp(-clip, clip)
    action = (math.tanh(policy) + noise).clamp(-1, 1)  # and stays an action
    torch.testing.assert_close(found, (2 + 0.5 * torch.minimum(2 * action + 1, action + 4)).abs())
    assert (noise.abs() <= clip).all()


@pytest.mark.parametrize(("delay", "learns"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3]), (3, [2])])
def test_policy_and_targets_move_each_so_many_steps_and_critics_at_all(delay, learns):
    learner = make(policyDelay=delay)
    values = {
        "actor": learner.actor.flat.value, "critics": learner.critics.flat.value,
        "target": learner.target.value, "target actor": learner.target_actor.value,
    }  # fmt: skip
    moved = {name: [] for name in values}
    for step in range(5):
        before = {name: value.clone() for name, value in values.items()}
        learner.learn(steps(), step)
        for name, value in values.items():
            if not torch.equal(value, before[name]):
                moved[name].append(step)
    everywhere = [0, 1, 2, 3, 4]
    assert moved == {"actor": learns, "critics": everywhere, "target": learns, "target actor": learns}


def test_targets_follow_to_where_the_networks_then_are():
    learner = make(tau=0.25, policyDelay=1)
    before = learner.target.value.clone(), learner.target_actor.value.clone()
    learner.learn(steps(), 0)
    torch.testing.assert_close(learner.target.value, 0.75 * before[0] + 0.25 * learner.critics.flat.value.data)
    torch.testing.assert_close(learner.target_actor.value, 0.75 * before[1] + 0.25 * learner.actor.flat.value.data)


def test_the_policy_climbs_the_first_critic():
    learner = make(first=(2.0, 1.0), second=(-9.0, -9.0), policyDelay=1)
    learner.learn(steps(), 0)
    slope = learner.network.critics[0].body.read()[0].item()  # of its value by the action, after its own step
    assert learner.network.actor.head.weight.grad.item() == pytest.approx(-slope * (1 - math.tanh(0.3) ** 2), rel=1e-5)
    assert learner.network.actor.read().item() > 0.3


def test_metrics_of_the_policy_are_means_though_it_learns_less_often():
    learner = make()
    learner.set_learning_rate(0.0)
    for step in range(4):
        learner.learn(steps(), step)
    assert learner.totals[3].item() / 4 == pytest.approx(-(2 * math.tanh(0.3) + 1))


def test_exploring_adds_noise_of_the_share_and_stays_within_bounds():
    learner = make()
    features, noise = torch.tensor([[1.0], [1.0], [2.0]]), torch.tensor([[1.0], [-50.0], [50.0]])
    found = learner.explore(features, noise, 0.25)[:, 0].tolist()
    assert found == pytest.approx([math.tanh(0.3) + 0.25, -1.0, 1.0])
    assert learner.explore(features, noise, 0.0)[0].item() == pytest.approx(math.tanh(0.3))


def test_a_bandits_best_action_is_found():
    learner = bandit(TD3Learner, spec_of("td3", learningRate=0.05), 1, best=-0.6, steps=300)
    for critic in learner.network.critics:
        assert critic.body.head.weight[0].tolist() == pytest.approx([-1.0, -1.2, -0.36], abs=1e-3)
    best, _ = learner.network.greedy(torch.ones(1, 1), torch.zeros(1, 0))
    assert best.item() == pytest.approx(-0.6, abs=0.01)
