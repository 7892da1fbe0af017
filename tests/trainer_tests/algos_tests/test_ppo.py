import pytest
import torch
from headway.algos.ppo import PPO
from headway.envs.protocol import ActionSpace, EpisodeEnds, FeatureLayout, Step
from headway.errors import SpecError
from headway.networks import build_actor_critic
from headway.parallel import Group
from headway_api.algo_spec import Algo, Network
from trainer_tests.line_env import LineEnv

LAYOUT = FeatureLayout(plain=2)
GRU = {"gru": {"hidden": [8], "size": 6}}


def make(num_envs=4, offset=0, seed=0, network=None, actions=None, threads=1, **changes):
    given = {"rolloutSteps": 3, "minibatchSize": num_envs * 3, "epochs": 1} | changes
    algo, actions = Algo.model_validate({"ppo": given}), actions or ActionSpace(1)
    built = build_actor_critic(Network.model_validate(network or {"mlp": {"hidden": [8]}}), algo, LAYOUT, actions, seed)
    index = torch.arange(num_envs) + offset
    return PPO(algo.ppo, built, LAYOUT, actions, index, seed, Group(), threads)


def value_of(ppo, features):
    return ppo.network.critic(features, torch.zeros(len(features), 0))[0].squeeze(-1)


def step(n, truncated=(), terminated=(), final=7.0):
    def mask(rows):
        flags = torch.zeros(n, dtype=torch.bool)
        flags[list(rows)] = True
        return flags

    nothing = torch.zeros(n, dtype=torch.int64)
    cut, over = mask(truncated), mask(terminated)
    ends = EpisodeEnds(cut | over, nothing, over, over, torch.zeros(n), nothing, torch.zeros(n, 2).long(), nothing)
    rows = (cut | over).nonzero().squeeze(-1)
    last = {"observation": torch.full((len(rows), 2), final)}
    return Step({"observation": torch.zeros(n, 2)}, torch.ones(n), over, cut, rows, last, ends)


def fill(ppo, env, steps):
    observation = env.reset()
    for t in range(steps):
        features = env.features(observation)
        action = ppo.act(features, t)
        result = env.step(action)
        ppo.observe(features, action, result, env.features)
        observation = result.observation
    return env.features(observation)


def test_the_noise_of_an_environment_does_not_depend_on_its_rank():
    whole, part = make(num_envs=6), make(num_envs=3, offset=3)
    features = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(whole.act(features, 0)[3:], part.act(features[3:], 0))


def test_a_truncated_step_is_valued_by_its_own_final_observation():
    ppo = make(num_envs=2)
    seen = []

    def featurise(observation):
        seen.append(observation["observation"])
        return observation["observation"]

    features = torch.zeros(2, 2)
    for t in range(3):
        action = ppo.act(features, t)
        ppo.observe(features, action, step(2, truncated=[1] if t == 1 else [], terminated=[0]), featurise)
    assert [tuple(s.shape) for s in seen] == [(1, 2)]  # only the truncated row is asked for
    target = ppo._batch(features).target.view(3, 2)
    final_value = value_of(ppo, torch.full((1, 2), 7.0)).item()
    assert target[1, 1].item() == pytest.approx(1 + ppo.spec.gamma * final_value, rel=1e-5)
    assert target[:, 0].tolist() == pytest.approx([1.0, 1.0, 1.0])  # terminated: the reward alone


def test_advantages_are_normalised_over_the_whole_rollout():
    ppo = make()
    next_features = fill(ppo, LineEnv(4), 3)
    advantage = ppo._batch(next_features).advantage
    assert abs(float(advantage.mean())) < 1e-6
    assert float(advantage.std(unbiased=False)) == pytest.approx(1.0, abs=1e-4)


def test_at_the_first_minibatch_the_policy_is_the_one_that_acted():
    ppo = make()
    batch = ppo._batch(fill(ppo, LineEnv(4), 3))
    ppo._backward(batch, torch.arange(len(batch.action)))
    policy_loss, kl, outside, _, _ = ppo.flat.extra.tolist()
    assert policy_loss == pytest.approx(-float(batch.advantage.mean()), abs=1e-6)  # all ratios are 1
    assert kl == pytest.approx(0.0, abs=1e-6)
    assert outside == 0.0


def test_an_update_stops_before_a_step_once_the_policy_has_moved_too_far():
    eager, careful = (make(epochs=50, learningRate=0.05, targetKl=target) for target in (0.0, 0.01))
    for ppo in (eager, careful):
        metrics = ppo.update(fill(ppo, LineEnv(4), 3), 1.0)
    assert eager.updates == careful.updates == 1
    assert 1 <= metrics["ppo/gradient_steps"] < 50
    assert metrics["ppo/approx_kl"] <= 0.015


def test_the_learning_rate_falls_with_what_is_left():
    ppo = make(annealLearningRate=True, learningRate=0.01)
    metrics = ppo.update(fill(ppo, LineEnv(4), 3), 0.25)
    assert metrics["ppo/learning_rate"] == 0.0025
    assert ppo.optimiser.param_groups[0]["lr"] == 0.0025


def test_a_loss_that_is_not_finite_ends_training_with_field_and_update_named():
    ppo = make()
    next_features = fill(ppo, LineEnv(4), 3)
    ppo.rollout.reward[0, 0] = float("nan")
    with pytest.raises(
        SpecError, match=r"^train\.algo\.ppo\.learningRate: 0\.0003: the loss of update 0 is not finite"
    ):
        ppo.update(next_features, 1.0)


def test_a_gradient_that_is_not_finite_ends_training_before_it_can_be_saved():
    ppo = make()
    next_features = fill(ppo, LineEnv(4), 3)
    ppo.network.distribution.log_std.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(SpecError, match="the gradient of update 0 is not finite"):
        ppo.update(next_features, 1.0)


def test_state_goes_on_exactly_and_refuses_what_does_not_fit():
    first, second = make(seed=0), make(seed=1)
    env = LineEnv(4)
    first.update(fill(first, env, 3), 1.0)
    second.set_state({name: tensor.clone() for name, tensor in first.get_state().items()})
    for ppo in (first, second):
        ppo.seed = 0
        ppo.update(fill(ppo, LineEnv(4), 3), 1.0)
    one, other = first.get_state(), second.get_state()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert int(one["updates"]) == 2
    with pytest.raises(ValueError, match=r"network\.distribution\.log_std"):
        second.set_state({name: t for name, t in one.items() if name != "network.distribution.log_std"})
    with pytest.raises(ValueError, match=r"network\.distribution\.log_std is torch\.float64"):
        second.set_state(one | {"network.distribution.log_std": one["network.distribution.log_std"].double()})
