"""Networks for policies and values, built from the spec's `Network` for the spec's `Algo`."""

from headway.networks.actor_critic import ActorCritic
from headway.networks.bodies import Body
from headway.networks.build import build_network, load_weights
from headway.networks.distributions import Categorical, Distribution, Gaussian
from headway.networks.greedy import GreedyPolicy
from headway.networks.protocol import PolicyNetwork
from headway.networks.q_network import QNetwork
from headway.networks.statistics import ObservationScale, ValueScale
from headway.networks.twin_critics import ActorTwinCritics, squashed_sample

__all__ = [
    "ActorCritic",
    "ActorTwinCritics",
    "Body",
    "Categorical",
    "Distribution",
    "Gaussian",
    "GreedyPolicy",
    "ObservationScale",
    "PolicyNetwork",
    "QNetwork",
    "ValueScale",
    "build_network",
    "load_weights",
    "squashed_sample",
]
