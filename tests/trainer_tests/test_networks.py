import math

import pytest
import torch
from headway.networks import build_actor_critic, gaussian_entropy, gaussian_log_prob
from headway_api.algo_spec import Network
from torch.distributions import Normal


def network(seed=0, **changes):
    return build_actor_critic(Network.model_validate({"mlp": {"hidden": [6, 5]} | changes}), 4, 2, seed)


def test_log_prob_and_entropy_are_those_of_the_normal_distribution():
    log_std, mean = torch.tensor([-0.5, 0.3]), torch.tensor([[0.1, 0.2], [0.0, -1.0]])
    noise = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    reference = Normal(mean, log_std.exp())
    action = mean + log_std.exp() * noise
    # The density is of the action: sum over entries of log N(action | mean, std).
    torch.testing.assert_close(gaussian_log_prob(noise, log_std), reference.log_prob(action).sum(-1))
    torch.testing.assert_close(gaussian_entropy(log_std), reference.entropy()[0].sum())


def test_weights_are_a_function_of_the_seed_alone():
    torch.manual_seed(1)
    first = network(seed=3).state_dict()
    torch.manual_seed(2)
    again, other = network(seed=3).state_dict(), network(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["actor.0.weight"], other["actor.0.weight"])


def test_hidden_weights_are_orthogonal_and_the_first_actions_are_small():
    module = network()
    weight = module.actor[0].weight  # [6, 4]: its columns are orthogonal, of length sqrt(2)
    torch.testing.assert_close(weight.T @ weight, 2 * torch.eye(4))
    assert float(module.mean(torch.randn(10, 4)).detach().abs().max()) < 0.1


def test_shapes_and_separate_trunks():
    module = network(activation="elu")
    features = torch.zeros(7, 4)
    assert module.mean(features).shape == (7, 2)
    assert module.value(features).shape == (7,)
    actor = {id(p) for p in module.actor.parameters()}
    assert actor.isdisjoint(id(p) for p in module.critic.parameters())
    assert [type(layer).__name__ for layer in module.actor] == ["Linear", "ELU", "Linear", "ELU", "Linear"]


@pytest.mark.parametrize(("name", "value"), [("tanh", math.tanh(1.0)), ("relu", 1.0), ("elu", 1.0)])
def test_activations_by_name(name, value):
    assert float(network(activation=name).actor[1](torch.tensor(1.0))) == pytest.approx(value)
