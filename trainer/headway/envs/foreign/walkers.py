"""People who choose where to walk as in headway/Nav-v0, while another simulator moves them and the robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.envs.nav import arrays as a
from headway.envs.nav.crowd import FAR, send_people, walk
from headway.envs.nav.draw import level_key, world_of
from headway.envs.nav.jit import kernel
from headway.envs.nav.vector import NavVectorEnv


class Walkers:
    """The people of environment 0 of `vector`, which itself is not stepped meanwhile."""

    def __init__(self, vector: NavVectorEnv) -> None:
        self._params, self._arrays = vector.params, vector.arrays

    def velocities(self, robot: Sequence[float]) -> NDArray[np.float64]:
        """Let them walk for a step; [P, 2] metres a second, of those who are there.

        `robot`: where it is now, for those who look: x, y, heading, speed, turn rate.
        """
        people = self._arrays.people[0]
        here = people[:, a.PERSON_X] > FAR
        before = people[here, : a.PERSON_Y + 1].astype(np.float64)
        self._arrays.robot[0, : a.TURN + 1] = robot
        walk_on(self._params, self._arrays, 0)
        return (people[here, : a.PERSON_Y + 1] - before) / self._params.step_seconds


@kernel(nogil=True)
def walk_on(params, arrays, i):
    """Let environment i's people walk for one step, its robot standing where `arrays.robot` says."""
    stage = arrays.scenes[arrays.count[i, a.SCENE]]
    world = world_of(arrays, stage, i)
    send_people(
        arrays.people[i], arrays.legs[i], arrays.robot[i], arrays.others[i], world, stage,
        level_key(params, arrays.count[i]), params.radius, params.step_seconds, arrays.scratch[i],
    )  # fmt: skip
    for _ in range(params.substeps):
        walk(arrays.people[i], world, stage, params.substep_seconds)
