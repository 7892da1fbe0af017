"""Learning algorithms, by their name in the spec."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.algos.dagger import DAgger
from headway.algos.ppo import PPO
from headway.algos.protocol import Algorithm
from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.networks import ActorCritic, build_actor_critic
from headway.parallel import Group

Experts = Callable[[str], Tensor]  # VectorEnv.expert
# What every algorithm is built from: the network, the layouts that it is for, and global environment indices [N].
Parts = tuple[ActorCritic, FeatureLayout, ActionSpace, Tensor]
Builder = Callable[[TrainSpec, Parts, Group, int, Experts], Algorithm]


def _ppo(spec: TrainSpec, parts: Parts, group: Group, threads: int, experts: Experts) -> Algorithm:
    assert spec.algo.ppo is not None
    return PPO(spec.algo.ppo, *parts, spec.seed, group, threads)


def _dagger(spec: TrainSpec, parts: Parts, group: Group, threads: int, experts: Experts) -> Algorithm:
    assert spec.algo.dagger is not None
    expert = partial(experts, spec.algo.dagger.expert)
    return DAgger(spec.algo.dagger, *parts, spec.num_envs, spec.seed, group, expert)


ALGORITHMS: Final[dict[str, Builder]] = {"ppo": _ppo, "dagger": _dagger}


def build_algorithm(
    spec: TrainSpec,
    layout: FeatureLayout,
    actions: ActionSpace,
    group: Group,
    device: torch.device,
    threads: int,
    experts: Experts,
) -> Algorithm:
    """Build the algorithm that the spec names, for this rank's share of the environments, with its CPU threads.

    `experts` is `VectorEnv.expert` of those environments: whom imitation asks.
    """
    kind, _ = spec.algo.chosen()
    network = build_actor_critic(spec.network, spec.algo, layout, actions, spec.seed).to(device)
    num_envs = spec.num_envs // group.world_size
    env_index = torch.arange(num_envs, device=device) + group.rank * num_envs
    return ALGORITHMS[kind](spec, (network, layout, actions, env_index), group, threads, experts)
