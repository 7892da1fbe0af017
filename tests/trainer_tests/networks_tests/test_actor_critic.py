import math

import pytest
import torch
from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.errors import SpecError
from headway.networks import GreedyPolicy, load_weights
from trainer_tests.networks_tests.making import network

KINDS = {
    "mlp": {"hidden": [6, 5]},
    "cnn1d": {"channels": [3, 4], "kernel": 3, "stride": 2, "hidden": [6]},
    "gru": {"hidden": [6], "size": 5},
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_a_function_of_the_seed_alone(kind):
    torch.manual_seed(1)
    first = network(kind, seed=3, **KINDS[kind]).state_dict()
    torch.manual_seed(2)
    again, other = (network(kind, seed=seed, **KINDS[kind]).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["actor.head.weight"], other["actor.head.weight"])


def test_hidden_weights_are_orthogonal_and_the_first_actions_are_small():
    module = network(layout=FeatureLayout(plain=4))
    weight = module.actor.layers[0].weight  # [6, 4]: its columns are orthogonal, of length sqrt(2)
    torch.testing.assert_close(weight.T @ weight, 2 * torch.eye(4))
    output, _ = module.actor(torch.randn(10, 4), torch.zeros(10, 0))
    assert float(output.detach().abs().max()) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_both_halves_have_their_shapes_and_share_nothing(kind):
    module = network(kind, **KINDS[kind])
    memory = torch.zeros(7, module.memory_size)
    output, after = module.actor(torch.randn(7, 20), memory)
    assert output.shape == (7, 2) and after.shape == memory.shape
    assert module.critic(torch.randn(7, 20), memory)[0].shape == (7, 1)
    actor = {id(p) for p in module.actor.parameters()}
    assert actor.isdisjoint(id(p) for p in module.critic.parameters())
    assert module.memory_size == (5 if kind == "gru" else 0)


@pytest.mark.parametrize(("name", "value"), [("tanh", math.tanh(1.0)), ("relu", 1.0), ("elu", 1.0)])
def test_activations_by_name(name, value):
    layer = network(hidden=[6], activation=name).actor.layers[1]
    assert float(layer(torch.tensor(1.0))) == pytest.approx(value)


def test_the_fast_tanh_and_its_gradient_are_those_of_tanh():
    layer = network(hidden=[6], activation="tanh").actor.layers[1]
    x = torch.linspace(-12, 12, 999, requires_grad=True)
    torch.testing.assert_close(layer(x), torch.tanh(x), atol=1e-6, rtol=0)
    (mine,) = torch.autograd.grad(layer(x).sum(), x)
    torch.testing.assert_close(mine, 1 - torch.tanh(x.detach()) ** 2, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_is_the_steps_one_after_the_other_with_memory_cleared_where_episodes_begin(kind):
    module = network(kind, **KINDS[kind])
    features = torch.randn(5, 3, 20, generator=torch.Generator().manual_seed(0))
    begins = torch.zeros(5, 3, dtype=torch.bool)
    begins[0, 0] = begins[2, 1] = begins[3, 1] = begins[4, 2] = True
    memory = torch.randn(3, module.memory_size, generator=torch.Generator().manual_seed(1))
    outputs, memories = module.actor.sequence(features, memory, begins)
    for t in range(5):
        output, memory = module.actor(features[t], memory.masked_fill(begins[t][:, None], 0.0))
        torch.testing.assert_close(outputs[t], output)
        torch.testing.assert_close(memories[t], memory)


def test_nothing_of_an_episode_is_remembered_in_the_next():
    policy = GreedyPolicy(network("gru", **KINDS["gru"]))
    features = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
    everywhere, nowhere = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)
    first = policy(features, everywhere)
    second = policy(features, nowhere)
    assert not torch.equal(first, second)
    policy(torch.randn(2, 20), nowhere)
    mixed = policy(features, torch.tensor([True, False]))
    assert torch.equal(mixed[0], first[0]) and not torch.equal(mixed[1], first[1])


def test_turning_a_full_circle_by_a_stride_turns_what_the_convolution_gives():
    spec = {"channels": [3], "kernel": 5, "stride": 2, "hidden": [6]}
    layout = FeatureLayout(plain=1, channels=1, beams=8, circular=True)
    convolutions = network("cnn1d", layout, **spec).actor.layers[0].convolutions
    scan = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0))
    turned = convolutions(scan.roll(2, dims=-1))
    torch.testing.assert_close(turned, convolutions(scan).roll(1, dims=-1))
    open_ended = network("cnn1d", FeatureLayout(1, 1, 8), **spec).actor.layers[0].convolutions
    assert not torch.allclose(open_ended(scan.roll(2, dims=-1)), open_ended(scan).roll(1, dims=-1))


@pytest.mark.parametrize("beams", [1, 5, 8, 37])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_convolutions_fit_any_number_of_beams(beams, stride):
    layout = FeatureLayout(plain=3, channels=2, beams=beams, circular=True)
    module = network("cnn1d", layout, channels=[2, 2], kernel=2, stride=stride, hidden=[4])
    assert module.actor(torch.zeros(2, layout.size), torch.zeros(2, 0))[0].shape == (2, 2)


def test_convolutions_without_enough_beams_are_refused_with_field_and_fix():
    with pytest.raises(SpecError, match=r"train\.network\.cnn1d: .* no scans: choose mlp"):
        network("cnn1d", FeatureLayout(plain=4), **KINDS["cnn1d"])
    with pytest.raises(SpecError, match=r"cnn1d\.kernel: 9: convolution 3 sees 2 beams"):
        network("cnn1d", channels=[2, 2, 2], kernel=9, stride=2, hidden=[4])


def test_weights_of_another_network_are_taken_over_with_their_statistics():
    source = network(seed=1, ppo={"normalizeObservations": True})
    source.observation_scale.see(torch.randn(9, 20), lambda sums: sums)
    mine = network(seed=2, ppo={"normalizeObservations": True, "normalizeValues": True})
    load_weights(mine, source.state_dict())
    features = torch.randn(3, 20)
    nothing = torch.zeros(3, 0)
    torch.testing.assert_close(
        mine.actor(mine.prepare(features), nothing)[0], source.actor(source.prepare(features), nothing)[0]
    )


@pytest.mark.parametrize(
    ("here", "there", "message"),
    [
        ({}, {"hidden": [7, 5]}, r"actor\.layers\.0\.weight is float32 \[7, 20\] there and float32 \[6, 20\] here"),
        ({}, {"actions": ActionSpace(3, discrete=True)}, r"distribution\.log_std is missing there"),
        ({}, {"ppo": {"normalizeObservations": True}}, r"set algo\.ppo\.normalizeObservations to true"),
        ({"ppo": {"normalizeObservations": True}}, {}, r"set algo\.ppo\.normalizeObservations to false"),
        ({}, {"ppo": {"normalizeValues": True}}, r"set algo\.ppo\.normalizeValues to true"),
    ],
)
def test_what_does_not_fit_is_told_with_both_shapes_or_the_setting(here, there, message):
    with pytest.raises(ValueError, match=message):
        load_weights(network(**here), network(**there).state_dict())
