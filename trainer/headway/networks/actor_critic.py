"""A policy and a value function from the spec. B rows, N environments, F features, H numbers of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from headway_api.algo_spec import Algo, Network
from torch import Tensor, nn

from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.networks.bodies import Body, cnn1d, gru, mlp
from headway.networks.distributions import Categorical, Gaussian, make_distribution
from headway.networks.statistics import ObservationScale, ValueScale

Builder = Callable[[Any, FeatureLayout, int, float, torch.Generator], Body]
NETWORKS: Final[dict[str, Builder]] = {"mlp": mlp, "cnn1d": cnn1d, "gru": gru}


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


class GreedyPolicy:
    """Acts without exploring: algos.protocol.Policy. Takes features of any device, answers there."""

    def __init__(self, network: ActorCritic) -> None:
        self._network = network
        self._memory = torch.zeros(0, 0)

    @torch.no_grad()
    def __call__(self, features: Tensor, begins: Tensor) -> Tensor:
        """Likeliest actions for features [N, F]; memory is cleared where `begins` (bool [N]) is true."""
        network = self._network
        device = next(network.parameters()).device
        inputs = network.prepare(features.to(device))
        if len(self._memory) != len(features):
            self._memory = inputs.new_zeros(len(features), network.memory_size)
        memory = self._memory.masked_fill(begins.to(device)[:, None], 0.0)
        output, self._memory = network.actor(inputs, memory)
        return network.distribution.mode(output).to(features.device)


def build_actor_critic(
    network: Network, algo: Algo, layout: FeatureLayout, actions: ActionSpace, seed: int
) -> ActorCritic:
    """Build the network that the spec names; its weights are a function of the seed alone, the same on every rank.

    The policy's last layer begins near zero, so that the first actions are pure exploration.
    """
    kind, spec = network.chosen()
    generator = torch.Generator().manual_seed(seed)
    actor = NETWORKS[kind](spec, layout, actions.size, 0.01, generator)
    critic = NETWORKS[kind](spec, layout, 1, 1.0, generator)
    ppo = algo.ppo
    return ActorCritic(
        actor,
        critic,
        make_distribution(actions, ppo.initial_log_std if ppo else -0.5),
        ObservationScale(layout.size) if ppo and ppo.normalize_observations else None,
        ValueScale() if ppo and ppo.normalize_values else None,
    )


def load_weights(network: ActorCritic, weights: dict[str, Tensor]) -> None:
    """Copy another network's weights and statistics. Raises ValueError that says what differs, and where to mend it.

    The units of values may be missing: then they are this network's own beginning.
    """
    mine = network.state_dict()
    for name in mine.keys() - weights.keys():
        if name.startswith("observation_scale."):
            raise ValueError("its observations are not normalised: set algo.ppo.normalizeObservations to false")
        if not name.startswith("value_scale."):
            raise ValueError(f"{name} is missing there: give both runs the same kind of network and actions")
    for name, tensor in weights.items():
        if name.startswith("value_scale.") and name not in mine:
            raise ValueError("its values are normalised: set algo.ppo.normalizeValues to true")
        if name.startswith("observation_scale.") and name not in mine:
            raise ValueError("its observations are normalised: set algo.ppo.normalizeObservations to true")
        if name not in mine:
            raise ValueError(f"{name} is not known here: give both runs the same kind of network and actions")
        if tensor.shape != mine[name].shape or tensor.dtype != mine[name].dtype:
            there, here = (f"{t.dtype} {[*t.shape]}".removeprefix("torch.") for t in (tensor, mine[name]))
            fix = "give both runs the same network, lidar, scanStack and actions"
            raise ValueError(f"{name} is {there} there and {here} here: {fix}")
    for name in mine.keys() & weights.keys():
        mine[name].copy_(weights[name])
