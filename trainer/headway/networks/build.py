"""Networks from the spec: their weights are functions of the seed alone, the same on every rank."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from headway_api.algo_spec import Algo, Network
from torch import Tensor, nn

from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.errors import SpecError
from headway.networks.actor_critic import ActorCritic
from headway.networks.bodies import Body, cnn1d, gru, mlp
from headway.networks.distributions import make_distribution
from headway.networks.layers import HIDDEN, Orthogonal, Uniform, Weights
from headway.networks.q_network import QNetwork
from headway.networks.statistics import ObservationScale, ValueScale
from headway.networks.twin_critics import ActorTwinCritics, critic_layout

BodyBuilder = Callable[[Any, FeatureLayout, int, float, Weights], Body]
BODIES: Final[dict[str, BodyBuilder]] = {"mlp": mlp, "cnn1d": cnn1d, "gru": gru}
SMALL: Final = 0.01  # gain of a last layer whose first outputs are to be near zero

BY_POLICY: Final = ("ppo", "dagger")  # algorithms that learn a policy's probabilities
PolicyModule = ActorCritic | QNetwork | ActorTwinCritics
# A body by (layout, outputs, gain of the last layer).
MakeBody = Callable[[FeatureLayout, int, float], Body]


def build_network(
    network: Network, algo: Algo, layout: FeatureLayout, actions: ActionSpace, seed: int, precision: str = "fp32"
) -> PolicyModule:
    """Build the network that the spec's algorithm learns. Raises SpecError where actions are of the wrong kind."""
    kind, spec = network.chosen()
    begins = Orthogonal if algo.chosen()[0] in BY_POLICY else Uniform
    weights = begins(torch.Generator().manual_seed(seed))

    def body(layout: FeatureLayout, outputs: int, gain: float) -> Body:
        made = BODIES[kind](spec, layout, outputs, gain, weights)
        made.precision = precision
        return made

    return NETWORKS[algo.chosen()[0]](algo, body, layout, actions)


def _actor_critic(algo: Algo, body: MakeBody, layout: FeatureLayout, actions: ActionSpace) -> ActorCritic:
    """The policy's last layer begins near zero, so that the first actions are pure exploration."""
    ppo = algo.ppo
    return ActorCritic(
        body(layout, actions.size, SMALL),
        body(layout, 1, 1.0),
        make_distribution(actions, ppo.initial_log_std if ppo else -0.5),
        ObservationScale(layout.size) if ppo and ppo.normalize_observations else None,
        ValueScale() if ppo and ppo.normalize_values else None,
    )


def _q_network(algo: Algo, body: MakeBody, layout: FeatureLayout, actions: ActionSpace) -> QNetwork:
    """One output for each choice, and one more for the state's value if it is dueling."""
    kind, _ = algo.chosen()
    if not actions.discrete:
        fix = "it chooses among discrete actions, and this environment takes numbers: choose sac, td3 or ppo"
        raise SpecError(f"train.algo.{kind}", f"{actions.size} numbers", fix)
    dueling = algo.dqn is not None and algo.dqn.dueling
    return QNetwork(body(layout, actions.size + dueling, HIDDEN), dueling)


def _twin_critics(
    outputs: int, algo: Algo, body: MakeBody, layout: FeatureLayout, actions: ActionSpace
) -> PolicyModule:
    """`outputs`: of the policy for each action entry."""
    kind, _ = algo.chosen()
    if actions.discrete:
        fix = "it steers by numbers, and this environment takes one of several choices: choose dqn, pqn or ppo"
        raise SpecError(f"train.algo.{kind}", f"{actions.size} choices", fix)
    actor = body(layout, outputs * actions.size, HIDDEN)
    critics = [body(critic_layout(layout, actions.size), 1, HIDDEN) for _ in range(2)]
    return ActorTwinCritics(actor, (critics[0], critics[1]), actions.size)


Builder = Callable[[Algo, MakeBody, FeatureLayout, ActionSpace], PolicyModule]
NETWORKS: Final[dict[str, Builder]] = {
    "ppo": _actor_critic,
    "dagger": _actor_critic,
    "dqn": _q_network,
    "pqn": _q_network,
    "sac": partial(_twin_critics, 2),
    "td3": partial(_twin_critics, 1),
}


def load_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
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
