"""Networks for policies and values, built from the spec's `Network`. F features, A action entries, B rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from headway_api.algo_spec import Mlp, Network
from torch import Tensor, nn

ACTIVATIONS: Final[dict[str, type[nn.Module]]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


class ActorCritic(nn.Module):
    """A Gaussian policy and a value function that share nothing, so that neither's gradient disturbs the other."""

    def __init__(self, actor: nn.Module, critic: nn.Module, action_size: int, initial_log_std: float) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic
        self.log_std = nn.Parameter(torch.full((action_size,), initial_log_std))  # one for all states

    def mean(self, features: Tensor) -> Tensor:
        """Mean action [B, A] for features [B, F]; the environment clips actions to [-1, 1]."""
        return self.actor(features)

    def value(self, features: Tensor) -> Tensor:
        """Value [B] of features [B, F]."""
        return self.critic(features).squeeze(-1)


def gaussian_log_prob(noise: Tensor, log_std: Tensor) -> Tensor:
    """Log density [B] of `mean + exp(log_std) * noise`, for `noise` [B, A] in units of the standard deviation."""
    return -0.5 * noise.square().sum(-1) - log_std.sum() - 0.5 * math.log(2 * math.pi) * noise.shape[-1]


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Differential entropy of the Gaussian policy, the same in every state."""
    return log_std.sum() + 0.5 * math.log(2 * math.pi * math.e) * log_std.numel()


def _linear(inputs: int, outputs: int, gain: float, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _mlp(inputs: int, spec: Mlp, outputs: int, last_gain: float, generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in spec.hidden:
        layers += [_linear(inputs, width, math.sqrt(2), generator), ACTIVATIONS[spec.activation]()]
        inputs = width
    return nn.Sequential(*layers, _linear(inputs, outputs, last_gain, generator))


def mlp_actor_critic(spec: Mlp, feature_size: int, action_size: int, generator: torch.Generator) -> ActorCritic:
    """Build two separate stacks of fully connected layers with orthogonal weights (Andrychowicz et al. 2021, C.56-60).

    The policy's last layer begins near zero, so that the first actions are pure exploration.
    """
    actor = _mlp(feature_size, spec, action_size, 0.01, generator)
    critic = _mlp(feature_size, spec, 1, 1.0, generator)
    return ActorCritic(actor, critic, action_size, initial_log_std=-0.5)


NETWORKS: Final[dict[str, Callable[[Mlp, int, int, torch.Generator], ActorCritic]]] = {"mlp": mlp_actor_critic}


def build_actor_critic(network: Network, feature_size: int, action_size: int, seed: int) -> ActorCritic:
    """Build the network that the spec names; its weights are a function of the seed alone, the same on every rank."""
    kind, spec = network.chosen()
    return NETWORKS[kind](spec, feature_size, action_size, torch.Generator().manual_seed(seed))
