"""Planners that know the truth, by their name in the spec: what imitation learns from (`VectorEnv.expert`).

Each is a function of the environments' present state: nothing that it keeps is needed to go on after a resume.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from headway_api.nav_spec import NavEnv
from numpy.typing import NDArray

from headway.envs.nav.arrays import Arrays
from headway.envs.planners.body import body_of
from headway.envs.planners.reciprocal import orca_all
from headway.envs.planners.shortest import go_straight_all, shortest_way_all


class Experts:
    """Experts of the environments whose arrays these are."""

    def __init__(self, nav: NavEnv, arrays: Arrays) -> None:
        self._body = body_of(nav)
        self._arrays = arrays
        cells = int((arrays.scenes["height"] * arrays.scenes["width"]).max())
        self._cells = cells
        self._cost = np.zeros(0, np.float32)
        self._toward = np.zeros((0, 0), np.uint8)
        self._known = np.zeros((0, 4))

    def act(self, name: str) -> NDArray[np.float32]:
        """What the expert of that name would do now, [N, 2]. Raises KeyError where there is none."""
        action = np.zeros((len(self._arrays.robot), 2), np.float32)
        EXPERTS[name](self, action)
        return action

    def forget(self) -> None:
        """Make all ways anew: the levels may be others."""
        self._known[:] = -1.0

    def astar(self, action: NDArray[np.float32]) -> None:
        """Follow the shortest way. Keeps one byte a cell for each environment."""
        shortest_way_all(self._body, self._arrays, *self._ways(len(action)), action)

    def orca(self, action: NDArray[np.float32]) -> None:
        """Follow the shortest way and give way to people and other robots."""
        orca_all(self._body, self._arrays, *self._ways(len(action)), action)

    def go_straight(self, action: NDArray[np.float32]) -> None:
        """Turn to the goal and drive."""
        go_straight_all(self._body, self._arrays, action)

    def _ways(self, num_envs: int) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]]:
        """Scratch, ways, and which level each is for: made when first asked for."""
        if len(self._known) == 0:
            self._cost = np.zeros(self._cells, np.float32)
            self._toward = np.zeros((num_envs, self._cells), np.uint8)
            self._known = np.full((num_envs, 4), -1.0)
        return self._cost, self._toward, self._known


EXPERTS: Final[dict[str, Callable[[Experts, NDArray[np.float32]], None]]] = {
    "astar": Experts.astar,
    "goStraight": Experts.go_straight,
    "orca": Experts.orca,
}
