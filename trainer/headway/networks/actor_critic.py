"""A policy and a value function. B rows, N environments, F features, H numbers of memory."""

from __future__ import annotations

from torch import Tensor, nn

from headway.networks.bodies import Body
from headway.networks.distributions import Categorical, Gaussian
from headway.networks.statistics import ObservationScale, ValueScale


class ActorCritic(nn.Module):
    """A policy and a value function that share nothing, so that neither's gradient disturbs the other."""

    def __init__(
        self,
        actor: Body,
        critic: Body,
        distribution: Gaussian | Categorical,
        observation_scale: ObservationScale | None = None,
        value_scale: ValueScale | None = None,
    ) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic
        self.distribution = distribution
        self.observation_scale = observation_scale
        self.value_scale = value_scale
        self.memory_size = actor.memory_size  # H, of either half

    def prepare(self, features: Tensor) -> Tensor:
        """Features [..., F] as both halves take them."""
        return features if self.observation_scale is None else self.observation_scale(features)

    def greedy(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """See PolicyNetwork.greedy."""
        output, memory = self.actor(inputs, memory)
        return self.distribution.mode(output), memory
