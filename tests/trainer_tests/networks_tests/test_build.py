"""Networks of values, from the spec; those of policies' probabilities are in test_actor_critic.py."""

import math

import pytest
import torch
from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.errors import SpecError
from headway.networks import ActorCritic, ActorTwinCritics, QNetwork, build_network, load_weights
from headway_api.algo_spec import Algo, Network
from torch import nn
from trainer_tests.networks_tests.making import LAYOUT

CHOICES, NUMBERS = ActionSpace(5, discrete=True), ActionSpace(2)
BODIES = {"mlp": {"hidden": [6, 5]}, "cnn1d": {"channels": [3], "kernel": 3, "stride": 2, "hidden": [6]}}


def build(kind, actions, body="mlp", seed=0, network=None, layout=LAYOUT, **given):
    spec = Network.model_validate({body: network or BODIES[body]})
    return build_network(spec, Algo.model_validate({kind: given}), layout, actions, seed)


@pytest.mark.parametrize(
    ("kind", "actions", "made"),
    [
        ("dqn", CHOICES, QNetwork),
        ("pqn", CHOICES, QNetwork),
        ("sac", NUMBERS, ActorTwinCritics),
        ("td3", NUMBERS, ActorTwinCritics),
        ("ppo", NUMBERS, ActorCritic),
        ("dagger", CHOICES, ActorCritic),
    ],
)
@pytest.mark.parametrize("body", BODIES)
def test_every_algorithm_gets_its_network_with_any_body(kind, actions, made, body):
    network = build(kind, actions, body)
    assert isinstance(network, made)
    action, _ = network.greedy(torch.randn(3, LAYOUT.size), torch.zeros(3, network.memory_size))
    assert action.shape == ((3,) if actions.discrete else (3, 2))
    assert network.memory_size == 0


@pytest.mark.parametrize(
    ("kind", "actions", "given", "outputs"),
    [
        ("dqn", CHOICES, {}, 5),
        ("dqn", CHOICES, {"dueling": True}, 6),  # the state's value before them
        ("pqn", CHOICES, {}, 5),
        ("sac", NUMBERS, {}, 4),  # means and deviations
        ("td3", NUMBERS, {}, 2),
    ],
)
def test_the_last_layer_has_what_the_algorithm_asks(kind, actions, given, outputs):
    network = build(kind, actions, **given)
    body = network.body if actions.discrete else network.actor
    assert body.head.out_features == outputs
    if not actions.discrete:
        assert [critic.body.head.out_features for critic in network.critics] == [1, 1]
        assert [critic.body.layers[0].in_features for critic in network.critics] == [LAYOUT.size + 2] * 2


@pytest.mark.parametrize(
    ("kind", "actions", "message"),
    [
        ("dqn", NUMBERS, r"^train\.algo\.dqn: '2 numbers': .* discrete actions.*: choose sac, td3 or ppo"),
        ("pqn", NUMBERS, r"^train\.algo\.pqn: '2 numbers': .* discrete actions.*: choose sac, td3 or ppo"),
        ("sac", CHOICES, r"^train\.algo\.sac: '5 choices': it steers by numbers.*: choose dqn, pqn or ppo"),
        ("td3", CHOICES, r"^train\.algo\.td3: '5 choices': it steers by numbers.*: choose dqn, pqn or ppo"),
    ],
)
def test_actions_of_the_wrong_kind_are_refused_with_field_value_and_fix(kind, actions, message):
    with pytest.raises(SpecError, match=message):
        build(kind, actions)


@pytest.mark.parametrize(("kind", "actions"), [("dqn", CHOICES), ("sac", NUMBERS)])
@pytest.mark.parametrize("body", BODIES)
def test_weights_are_a_function_of_the_seed_alone(kind, actions, body):
    torch.manual_seed(1)
    first = build(kind, actions, body, seed=3).state_dict()
    torch.manual_seed(2)
    again, other = (build(kind, actions, body, seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(not torch.equal(first[name], other[name]) for name in first)


def test_networks_of_values_begin_as_torch_begins_by_itself():
    network = build("dqn", CHOICES, network={"hidden": [4096, 8]}, layout=FeatureLayout(plain=16))
    wide, narrow = network.body.layers[0], network.body.layers[2]
    for layer, bound in ((wide, 0.25), (narrow, 1 / 64), (network.body.head, 1 / math.sqrt(8))):  # 1 / sqrt(inputs)
        for tensor in (layer.weight, layer.bias):
            assert float(tensor.detach().abs().max()) <= bound
    for tensor in (wide.weight, wide.bias, narrow.weight):
        assert float(tensor.detach().abs().max()) > 0.95 * 1 / math.sqrt(16 if tensor is not narrow.weight else 4096)
        assert abs(float(tensor.detach().mean())) < 0.02


def test_the_two_critics_begin_apart():
    first, second = build("td3", NUMBERS).critics
    assert not torch.equal(first.body.head.weight, second.body.head.weight)


def test_hidden_layers_are_normalised_if_asked():
    network = build("pqn", CHOICES, network={"hidden": [8, 6], "layerNorm": True})
    kinds = [type(layer) for layer in network.body.layers]
    assert kinds == [nn.Linear, nn.LayerNorm, nn.ReLU] * 2
    features = torch.randn(4, LAYOUT.size)
    normal = network.body.layers[1](network.body.layers[0](features))
    torch.testing.assert_close(normal.mean(1), torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("here", "there", "message"),
    [
        (("dqn", CHOICES), ("sac", NUMBERS), r"body\.\S+ is missing there: give both runs the same kind"),
        (("dqn", CHOICES), ("dqn", ActionSpace(3, True)), r"body\.head\.\w+ is float32 \[3.*there and float32 \[5"),
        (("sac", NUMBERS), ("td3", NUMBERS), r"actor\.head\.\w+ is float32 \[2.*there and float32 \[4"),
    ],
)
def test_weights_of_another_kind_of_network_are_refused(here, there, message):
    with pytest.raises(ValueError, match=message):
        load_weights(build(*here), build(*there).state_dict())


@pytest.mark.parametrize(("one", "other", "actions"), [("dqn", "pqn", CHOICES), ("pqn", "dqn", CHOICES)])
def test_a_network_of_values_serves_whoever_learns_by_them(one, other, actions):
    mine, theirs = build(one, actions, seed=0), build(other, actions, seed=1)
    load_weights(mine, theirs.state_dict())
    features = torch.randn(3, LAYOUT.size)
    assert torch.equal(mine(features), theirs(features))
