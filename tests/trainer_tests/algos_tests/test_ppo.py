from dataclasses import replace

import pytest
import torch
from headway import randomness
from headway.algos.divergence import DivergenceError
from headway.algos.ppo import PPO
from headway.envs.protocol import ActionSpace, EpisodeEnds, FeatureLayout, Step, Transition
from headway.networks import build_network
from headway.parallel import Group, Lanes
from headway_api.algo_spec import Algo, Network
from trainer_tests.line_env import LineEnv

LAYOUT = FeatureLayout(plain=2)
GRU = {"gru": {"hidden": [8], "size": 6}}


def make(num_envs=4, offset=0, seed=0, network=None, actions=None, threads=1, **changes):
    given = {"rolloutSteps": 3, "minibatchSize": num_envs * 3, "epochs": 1} | changes
    algo, actions = Algo.model_validate({"ppo": given}), actions or ActionSpace(1)
    built = build_network(Network.model_validate(network or {"mlp": {"hidden": [8]}}), algo, LAYOUT, actions, seed)
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
        ppo.observe(Transition({}, features, action, result, features, env.features))
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
        ppo.observe(
            Transition(
                {}, features, action, step(2, truncated=[1] if t == 1 else [], terminated=[0]), features, featurise
            )
        )
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
    policy_loss, kl, outside, _, _ = ppo.gradient.flat.extra.tolist()
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
    assert ppo.gradient.optimiser.param_groups[0]["lr"] == 0.0025


def test_a_loss_that_is_not_finite_ends_training_and_is_named():
    ppo = make()
    next_features = fill(ppo, LineEnv(4), 3)
    ppo.rollout.reward[0, 0] = float("nan")
    with pytest.raises(DivergenceError, match=r"^loss/policy is nan at gradient step 1$") as raised:
        ppo.update(next_features, 1.0)
    assert raised.value.at_hand["target"].isnan().any()


def test_a_gradient_that_is_not_finite_ends_training_before_it_can_be_saved():
    ppo = make()
    next_features = fill(ppo, LineEnv(4), 3)
    ppo.network.distribution.log_std.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergenceError, match=r"^ppo/gradient_norm is (inf|nan)$"):
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


class Choices(LineEnv):
    """LineEnv with three choices: back, stay, forth."""

    actions = ActionSpace(3, discrete=True)

    def step(self, action):
        assert action.dtype == torch.int64
        return super().step((action - 1).float()[:, None])


def test_choices_are_learned_too():
    ppo = make(num_envs=32, actions=Choices.actions, learningRate=0.01, rolloutSteps=8, epochs=4, minibatchSize=256)
    env, rewards = Choices(32), []
    for _ in range(25):
        ppo.update(fill(ppo, env, 8), 1.0)
        rewards.append(float(ppo.rollout.reward.mean()))
    assert rewards[-1] > rewards[0] + 0.05
    features = torch.tensor([[0.8, 1.0], [-0.8, 1.0]])
    assert ppo.policy()(features, torch.ones(2, dtype=torch.bool)).tolist() == [0, 2]


def test_two_lanes_do_what_one_does():
    serial, parallel = make(threads=1), make(threads=2)
    for ppo in (serial, parallel):
        ppo.update(fill(ppo, LineEnv(4), 3), 1.0)
    one, other = serial.get_state(), parallel.get_state()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_goes_wrong_in_a_lane_comes_out():
    def fail():
        raise ValueError("here")

    for threads in (1, 2):
        with pytest.raises(ValueError, match="here"):
            Lanes(threads).run(lambda: 1, fail)


def test_values_are_learned_in_units_of_their_targets_and_mean_the_same():
    ppo = make(normalizeValues=True)
    features = fill(ppo, LineEnv(4), 3)
    ppo.rollout.reward.mul_(100).sub_(300)
    with torch.no_grad():
        before, _, _ = ppo._values(ppo.rollout.features, features)
    target = ppo._batch(features).target
    assert abs(float(target.mean())) < 1e-5 and float(target.std(unbiased=False)) == pytest.approx(1.0, abs=1e-5)
    with torch.no_grad():
        after, _, _ = ppo._values(ppo.rollout.features, features)
    torch.testing.assert_close(after, before, atol=1e-2, rtol=1e-3)


def test_observations_are_scaled_by_what_earlier_rollouts_have_seen():
    ppo = make(normalizeObservations=True)
    fill(ppo, LineEnv(4), 3)
    seen = ppo.rollout.features.flatten(0, 1).clone()
    ppo.update(seen[:4], 1.0)
    scale = ppo.network.observation_scale
    assert float(scale.count) == 12
    torch.testing.assert_close(scale.mean, seen.double().mean(0))
    ppo.policy()(seen, torch.ones(12, dtype=torch.bool))
    assert float(scale.count) == 12  # acting without exploring learns nothing
    state = ppo.get_state()
    assert torch.equal(state["network.observation_scale.mean"], scale.mean)


class Cue:
    """Shows +1 or -1 once, then nothing for two steps; who acts with its sign at the end gets 1."""

    def __init__(self, num_envs):
        self.num_envs, self.t, self.episode = num_envs, 0, 0
        self.begin()

    def begin(self):
        words = randomness.philox(tuple(map(torch.tensor, (self.episode, 0, 0, 0))), (1, 1))
        self.cue = ((words[0] >> torch.arange(self.num_envs)) & 1).float() * 2 - 1
        self.episode += 1
        self.t = 0

    def features(self):
        shown = self.cue if self.t == 0 else torch.zeros(self.num_envs)
        return torch.stack((shown, torch.full((self.num_envs,), self.t / 2)), dim=1)

    def step(self, action):
        last = self.t == 2
        result = step(self.num_envs, terminated=range(self.num_envs) if last else ())
        reward = ((action[:, 0] * self.cue) > 0).float() if last else torch.zeros(self.num_envs)
        self.t += 1
        if last:
            self.begin()
        return replace(result, reward=reward)


def play_cues(ppo, updates):
    env, reward = Cue(ppo.env_index.numel()), 0.0
    for _ in range(updates):
        while not ppo.ready():
            features = env.features()
            action = ppo.act(features, ppo.updates * 6 + ppo.rollout.filled)
            ppo.observe(
                Transition(
                    {}, features, action, env.step(action), features, lambda observation: observation["observation"]
                )
            )
        reward = float(ppo.rollout.reward.mean()) * 3
        ppo.update(env.features(), 1.0)
    return reward


@pytest.mark.slow
def test_memory_carries_a_cue_to_where_it_counts_and_without_it_nobody_knows():
    given = {"rolloutSteps": 6, "minibatchSize": 96, "learningRate": 0.01, "epochs": 4, "initialLogStd": -1.0}
    assert play_cues(make(num_envs=32, network=GRU, **given), 40) > 0.9
    assert play_cues(make(num_envs=32, **given), 20) < 0.75


def test_with_memory_the_first_minibatch_finds_the_policy_that_acted():
    ppo = make(num_envs=4, network=GRU, rolloutSteps=6, minibatchSize=24)
    env = LineEnv(4)
    for k in range(3):  # episodes begin within rollouts, and go on over their ends
        next_features = fill(ppo, env, 6) if k == 0 else collect(ppo, env, 6)
        if k < 2:
            ppo.update(next_features, 1.0)
    assert bool(ppo.rollout.begins.any())
    batch = ppo._batch(next_features)
    ppo._backward(batch, torch.arange(4))
    policy_loss, kl, *_ = ppo.gradient.flat.extra.tolist()
    assert policy_loss == pytest.approx(-float(batch.advantage.mean()), abs=1e-6)
    assert kl == pytest.approx(0.0, abs=1e-6)


def collect(ppo, env, steps):
    observation = env._observation()
    for t in range(steps):
        features = env.features(observation)
        action = ppo.act(features, 100 * ppo.updates + t)
        result = env.step(action)
        ppo.observe(Transition({}, features, action, result, features, env.features))
        observation = result.observation
    return env.features(observation)


def test_with_memory_a_cut_episode_is_valued_by_what_was_seen_until_then():
    ppo = make(num_envs=2, network=GRU, rolloutSteps=3, minibatchSize=6)
    rows = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0))
    for t in range(3):
        action = ppo.act(rows[t], t)
        ppo.observe(
            Transition(
                {}, rows[t], action, step(2, truncated=[1] if t == 1 else []), rows[t], lambda o: o["observation"]
            )
        )
    target = ppo._batch(torch.zeros(2, 2)).target.T  # [T, N]
    memory = torch.zeros(1, 6)
    with torch.no_grad():
        for t in range(2):
            _, memory = ppo.network.critic(rows[t, 1:], memory)
        final, _ = ppo.network.critic(torch.full((1, 2), 7.0), memory)
    assert target[1, 1].item() == pytest.approx(1 + ppo.spec.gamma * final.item(), rel=1e-5)


def test_memory_goes_on_exactly_from_its_state():
    env = LineEnv(4)
    first = make(network=GRU, rolloutSteps=6, minibatchSize=24)
    first.update(fill(first, env, 6), 1.0)
    second = make(network=GRU, rolloutSteps=6, minibatchSize=24)
    second.set_state({name: tensor.clone() for name, tensor in first.get_state().items()})
    second.set_env_state({name: tensor.clone() for name, tensor in first.get_env_state().items()})
    other = LineEnv(4)
    other.set_state({name: tensor.clone() for name, tensor in env.get_state().items()})
    for ppo, world in ((first, env), (second, other)):
        ppo.update(collect(ppo, world, 6), 1.0)
    one, two = first.get_state() | first.get_env_state(), second.get_state() | second.get_env_state()
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(ValueError, match="actor_memory is"):
        second.set_env_state(first.get_env_state() | {"actor_memory": torch.zeros(3, 6)})
