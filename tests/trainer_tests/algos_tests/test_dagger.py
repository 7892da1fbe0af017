import pytest
import torch
from headway.algos.dagger import DAgger
from headway.algos.divergence import DivergenceError
from headway.envs.protocol import ActionSpace, FeatureLayout, Transition
from headway.networks import build_network
from headway.parallel import Group
from headway_api.algo_spec import Algo, Network
from trainer_tests.line_env import LineEnv

LAYOUT = FeatureLayout(plain=2)


def make(env, num_envs=4, offset=0, actions=None, expert=None, **changes):
    given = {"rolloutSteps": 3, "minibatchSize": 8, "gradientSteps": 4, "capacity": 24, "expertSteps": 0} | changes
    algo, actions = Algo.model_validate({"dagger": given}), actions or ActionSpace(1)
    network = build_network(Network.model_validate({"mlp": {"hidden": [16]}}), algo, LAYOUT, actions, 0)
    index = torch.arange(num_envs) + offset
    expert = expert or (lambda: env.expert("line"))
    return DAgger(algo.dagger, network, LAYOUT, actions, index, num_envs, 0, Group(), expert)


def rollout(dagger, env, observation, first=0):
    """One rollout; returns the observation after it and who acted as the expert would, bool [T, N]."""
    alike = []
    for t in range(dagger.spec.rollout_steps):
        features, advice = env.features(observation), env.expert("line")
        action = dagger.act(features, first + t)
        alike.append((action == advice).all(1))
        step = env.step(action)
        dagger.observe(Transition(observation, features, action, step, env.features(step.observation), env.features))
        observation = step.observation
    return observation, torch.stack(alike)


def test_the_experts_share_falls_evenly_over_all_environments_steps():
    dagger = make(LineEnv(4), expertSteps=400)
    assert [dagger.share(k) for k in (0, 25, 50, 100, 500)] == [1.0, 0.75, 0.5, 0.0, 0.0]
    assert make(LineEnv(4)).share(0) == 0.0


def test_the_expert_drives_in_its_share_of_the_steps():
    env = LineEnv(512)
    dagger = make(env, num_envs=512, capacity=4096, expertSteps=512 * 100, rolloutSteps=50, minibatchSize=64)
    _, alike = rollout(dagger, env, env.reset(), first=25)  # from three quarters to one quarter
    assert alike[:10].float().mean() == pytest.approx(0.705, abs=0.03)
    assert alike[-10:].float().mean() == pytest.approx(0.305, abs=0.03)


def test_who_drives_does_not_depend_on_the_split_over_ranks():
    env = LineEnv(6)
    features = env.features(env.reset())
    whole = make(env, num_envs=6, expertSteps=10**6).act(features, 10**4)
    part = make(env, num_envs=3, offset=3, expertSteps=5 * 10**5, expert=lambda: env.expert("line")[3:])
    torch.testing.assert_close(whole[3:], part.act(features[3:], 10**4))


def test_the_newest_steps_are_kept_with_the_experts_advice_whoever_drove():
    env = LineEnv(4)
    dagger, observation = make(env), env.reset()  # room for 6 steps of each environment
    for update in range(3):
        observation, _ = rollout(dagger, env, observation, first=3 * update)
        metrics = dagger.update(env.features(observation), 1.0)
    assert metrics["dagger/labelled_steps"] == 24.0
    assert torch.equal(dagger.advice[..., 0], -torch.sign(dagger.features[..., 0]))
    assert (dagger.features[..., 1] == 1.0).all()


def test_it_learns_to_do_what_the_expert_does():
    env = LineEnv(16)
    dagger = make(env, 16, learningRate=0.01, minibatchSize=32, capacity=1600, gradientSteps=20)
    observation = env.reset()
    losses = []
    for update in range(20):
        observation, _ = rollout(dagger, env, observation, first=3 * update)
        losses.append(dagger.update(env.features(observation), 1.0)["loss/imitation"])
    assert losses[-1] < 0.2 * losses[0]
    position = torch.tensor([-0.4, -0.2, 0.2, 0.4])
    action = dagger.policy()(torch.stack((position, torch.ones(4)), 1), torch.ones(4, dtype=torch.bool))
    assert (action[:, 0] * -torch.sign(position) > 0.5).all()


def test_choices_are_learned_by_cross_entropy():
    env = LineEnv(4)
    choice = lambda: (env.expert("line")[:, 0] > 0).long()  # noqa: E731
    dagger = make(env, actions=ActionSpace(2, discrete=True), expert=choice, learningRate=0.02, gradientSteps=200)
    observation = env.reset()
    for t in range(3):
        action = dagger.act(env.features(observation), t)
        step = env.step(action[:, None] * 2.0 - 1.0)
        features = env.features(observation)
        dagger.observe(Transition(observation, features, action, step, env.features(step.observation), env.features))
        observation = step.observation
    assert dagger.update(env.features(observation), 1.0)["loss/imitation"] < 0.5  # ln 2 is knowing nothing
    features = dagger.features[:, :3].flatten(0, 1)
    begins = torch.ones(len(features), dtype=torch.bool)
    assert torch.equal(dagger.policy()(features, begins), dagger.advice[:, :3].flatten())


def test_the_value_function_is_left_as_it_is():
    env = LineEnv(4)
    dagger = make(env)
    before = {name: tensor.clone() for name, tensor in dagger.network.critic.state_dict().items()}
    observation, _ = rollout(dagger, env, env.reset())
    dagger.update(env.features(observation), 1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in dagger.network.critic.state_dict().items())


def test_a_loss_that_is_not_finite_ends_training_and_is_named():
    env = LineEnv(4)
    dagger = make(env)
    observation, _ = rollout(dagger, env, env.reset())
    dagger.advice[0, 0] = float("nan")
    with pytest.raises(DivergenceError, match=r"^loss/imitation is nan$"):
        dagger.update(env.features(observation), 1.0)


def test_counters_that_contradict_the_spec_are_refused():
    env = LineEnv(4)
    dagger = make(env)
    state = {name: tensor.clone() for name, tensor in dagger.get_state().items()} | {"steps": torch.tensor(7)}
    with pytest.raises(ValueError, match="steps 7 and updates 0 contradict rolloutSteps 3"):
        dagger.set_state(state)
