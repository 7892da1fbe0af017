"""Policies that nobody trained, to set a learned one beside. They may look behind the observation; a policy may not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.envs.nav import arrays as a
from headway.envs.nav.vector import NavVectorEnv
from headway.envs.planners.body import Body, body_of
from headway.envs.planners.dwa import TUNED, Tuning, dwa_all, new_memory
from headway.envs.planners.potential import potential_all
from headway.envs.planners.vfh import SECTORS, vfh_all
from headway.envs.protocol import Observation

MAP_METERS, MAP_MARGIN = 20.0, 4.0  # how far from an episode's beginning a planner's own map reaches, and beyond a goal
# What evaluation drives: the action for the environment's present observation; bool [N] says where an episode begins
# with it, so that whoever remembers something forgets it there.
Actor = Callable[[NavVectorEnv, Observation, Tensor], Tensor]


def trained(policy: Callable[[Tensor, Tensor], Tensor]) -> Actor:
    """Wrap a policy of features [N, F] and of where episodes begin, bool [N], such as `Algorithm.policy()`."""

    def act(env: NavVectorEnv, observation: Observation, begins: Tensor) -> Tensor:
        with torch.no_grad():
            return policy(env.features(observation), begins)

    return act


class Expert:
    """A planner that knows the truth: `NavVectorEnv.expert`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, env: NavVectorEnv, observation: Observation, begins: Tensor) -> Tensor:
        """Actions [N, 2]."""
        return env.expert(self._name)


class _FromScan(ABC):
    """What planners share that see what a policy sees, and nothing else: pose, velocities, scan and goal."""

    _env: NavVectorEnv | None = None

    def __call__(self, env: NavVectorEnv, observation: Observation, begins: Tensor) -> Tensor:
        """Actions [N, 2]."""
        if self._env is not env:
            self._env = env
            self.begin(env, body_of(env.nav))
        action = np.zeros((env.num_envs, 2), np.float32)
        self.fresh = env.arrays.count[:, a.STEP] == 0  # bool [N]
        self.act(observation["observation"].numpy(), observation["desired_goal"].numpy(), action)
        return torch.from_numpy(action)

    def begin(self, env: NavVectorEnv, body: Body) -> None:
        """Get ready for other environments."""
        self.body, self.beams = body, np.ascontiguousarray(env.arrays.beams.T, np.float64)

    @abstractmethod
    def act(self, rows: NDArray[np.float32], goals: NDArray[np.float32], action: NDArray[np.float32]) -> None:
        """Write `action` [N, 2] for observations `rows` [N, O] and `goals` [N, 2]."""


class PotentialField(_FromScan):
    """Khatib 1986: the goal attracts, obstacles repel. It stands still where the two are equal."""

    def act(self, rows: NDArray[np.float32], goals: NDArray[np.float32], action: NDArray[np.float32]) -> None:
        """See `_FromScan.act`."""
        potential_all(self.body, self.beams, rows, goals, action)


class VfhPlus(_FromScan):
    """VFH+, Ulrich and Borenstein 1998: the cheapest opening of a polar histogram."""

    def begin(self, env: NavVectorEnv, body: Body) -> None:
        """Forget the last directions."""
        super().begin(env, body)
        self._previous = np.zeros(env.num_envs)
        self._blocked = np.zeros((env.num_envs, SECTORS), np.bool_)

    def act(self, rows: NDArray[np.float32], goals: NDArray[np.float32], action: NDArray[np.float32]) -> None:
        """See `_FromScan.act`."""
        vfh_all(self.body, self.beams, rows, goals, self.fresh, self._previous, self._blocked, action)


class Dwa(_FromScan):
    """The dynamic window approach, Fox et al. 1997, with the true footprint."""

    def __init__(self, tuning: Tuning = TUNED) -> None:
        self.tuning = tuning

    def begin(self, env: NavVectorEnv, body: Body) -> None:
        """Make room for maps as large as the farthest goal asks for."""
        super().begin(env, body)
        farthest = max(stage.levels.max_goal_meters for stage in env.spec.curriculum.stages if stage.levels)
        reach = min(farthest, MAP_METERS) + MAP_MARGIN
        self._memory = new_memory(env.num_envs, len(self.beams), reach)

    def act(self, rows: NDArray[np.float32], goals: NDArray[np.float32], action: NDArray[np.float32]) -> None:
        """See `_FromScan.act`."""
        dwa_all(self.body, self.tuning, self.beams, rows, goals, self.fresh, self._memory, action)


BASELINES: dict[str, Callable[[], Actor]] = {
    "go-straight": lambda: Expert("goStraight"),  # what it cannot do shows how much of a level is more than its goal
    "potential-field": PotentialField,
    "vfh": VfhPlus,
    "dwa": Dwa,
    "astar": lambda: Expert("astar"),  # what full knowledge of a level, but not of people's plans, is worth
    "orca": lambda: Expert("orca"),  # the same, and where people go
}
