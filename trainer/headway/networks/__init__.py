"""Networks for policies and values, built from the spec's `Network`."""

from headway.networks.actor_critic import ActorCritic, GreedyPolicy, build_actor_critic, load_weights
from headway.networks.bodies import Body
from headway.networks.distributions import Categorical, Distribution, Gaussian
from headway.networks.statistics import ObservationScale, ValueScale

__all__ = [
    "ActorCritic",
    "Body",
    "Categorical",
    "Distribution",
    "Gaussian",
    "GreedyPolicy",
    "ObservationScale",
    "ValueScale",
    "build_actor_critic",
    "load_weights",
]
