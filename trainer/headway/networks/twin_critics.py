"""A policy of numbers and two critics of it, for SAC and TD3. B rows, F features, A action entries."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.envs.protocol import FeatureLayout
from headway.networks.bodies import Body

LOG_STD_RANGE = (-20.0, 2.0)  # as in the authors' own code


class Critic(nn.Module):
    """Q(s, a); the action stands before the features, among the plain ones."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Values [B]."""
        inputs = torch.cat((action, features), 1)
        return self.body(inputs, inputs.new_zeros(len(inputs), 0))[0].squeeze(-1)


def critic_layout(layout: FeatureLayout, actions: int) -> FeatureLayout:
    """The layout of a critic's inputs."""
    return replace(layout, plain=layout.plain + actions)


class ActorTwinCritics(nn.Module):
    """The policy's body has A outputs (TD3), or means and log deviations, 2 A (SAC)."""

    memory_size = 0

    def __init__(self, actor: Body, critics: tuple[Body, Body], size: int) -> None:
        super().__init__()
        self.actor = actor
        self.critics = nn.ModuleList([Critic(body) for body in critics])
        self.size = size  # A

    def prepare(self, features: Tensor) -> Tensor:
        """Features [..., F] as they are."""
        return features

    def output(self, features: Tensor) -> Tensor:
        """What the policy's body says, [B, A] or [B, 2 A]."""
        return self.actor(features, features.new_zeros(len(features), 0))[0]

    def greedy(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """See PolicyNetwork.greedy."""
        return self.output(inputs)[:, : self.size].tanh(), memory


def squashed_sample(output: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions [B, A] in (-1, 1) and their log densities [B], of means and log deviations [B, 2 A].

    tanh of a normal sample; the density by the change of variables (Haarnoja et al. 2018, appendix C), in a form that
    does not lose digits: log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x)).
    """
    mean, log_std = output.chunk(2, 1)
    log_std = log_std.clamp(*LOG_STD_RANGE)
    x = torch.addcmul(mean, log_std.exp(), noise)
    normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    slope = 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))
    return x.tanh(), (normal - slope).sum(1)
