"""Policies that nobody trained, to set a learned one beside. They may look behind the observation; a policy may not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from headway.envs.nav.planner import MAX_WAYPOINTS, go_straight_all, pursue_all
from headway.envs.nav.vector import NavVectorEnv
from headway.envs.protocol import Observation

# What evaluation drives: actions float32 [N, A] for the environment's present observation.
Actor = Callable[[NavVectorEnv, Observation], Tensor]


def trained(policy: Callable[[Tensor], Tensor]) -> Actor:
    """Wrap a function from features [N, F] to actions [N, A], such as `Algorithm.policy`."""

    def act(env: NavVectorEnv, observation: Observation) -> Tensor:
        with torch.no_grad():
            return policy(env.features(observation))

    return act


class GoStraight:
    """Turn to the goal and drive. What it cannot do shows how much of a level is more than its goal."""

    def __call__(self, env: NavVectorEnv, observation: Observation) -> Tensor:
        """Actions [N, 2]."""
        action = np.zeros((env.num_envs, 2), np.float32)
        go_straight_all(env.params, env.arrays, action)
        return torch.from_numpy(action)


class AstarPursuit:
    """A* on the true map and pure pursuit: what full knowledge of a level, but not of people's plans, is worth."""

    def __init__(self) -> None:
        self._paths = np.zeros((0, MAX_WAYPOINTS, 2), np.float32)

    def __call__(self, env: NavVectorEnv, observation: Observation) -> Tensor:
        """Actions [N, 2]. Plans anew in every environment whose episode has just begun."""
        if len(self._paths) != env.num_envs:
            self._paths = np.zeros((env.num_envs, MAX_WAYPOINTS, 2), np.float32)
            self._waypoints = np.zeros(env.num_envs, np.int64)
            self._at = np.zeros(env.num_envs, np.int64)
        action = np.zeros((env.num_envs, 2), np.float32)
        pursue_all(env.params, env.arrays, self._paths, self._waypoints, self._at, action)
        return torch.from_numpy(action)


BASELINES: dict[str, Callable[[], Actor]] = {"go-straight": GoStraight, "astar": AstarPursuit}
