"""State that comes from a checkpoint: foreign data, checked before the kernel, which checks no index, works on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.envs.nav import arrays as a
from headway.envs.nav.crowd import FAR

SPARE = 1.001  # speeds are clamped in single precision


def check_values(state: dict[str, NDArray[Any]], stages: NDArray[np.void], params: a.Params) -> None:
    """Raise ValueError unless every number is one that an episode can have.

    `state` holds `robot`, `count`, `people`, `legs`, `last_action` and `observation` as in `Arrays`, of the right
    shapes and types.
    Whatever looks into a grid must be inside it, and stay there for the next substep.
    """
    robot, count, people = state["robot"], state["count"], state["people"]
    if (count < 0).any() or (count[:, a.STAGE] >= len(stages)).any() or (state["legs"] < 0).any():
        raise ValueError("environment state count or legs: holds a number that no episode has")
    for name in ("robot", "people", "last_action", "observation"):
        if not np.isfinite(state[name]).all():
            raise ValueError(f"environment state {name}: holds a value that is not finite")
    fastest = max(params.max_speed, -params.min_speed)
    if (
        (abs(robot[:, a.SPEED]) > SPARE * fastest).any()
        or (abs(state["last_action"]) > 1).any()
        or (abs(robot[:, a.TURN]) > SPARE * params.max_turn).any()
    ):
        raise ValueError("environment state robot: is faster than the robot can be")
    stage = stages[count[:, a.STAGE]]
    places = people[..., : a.TARGET_Y + 1]  # [N, P, 4]: where people are and go
    there = (np.arange(people.shape[1]) < stage["people"][:, None]) & (places != FAR).any(-1)  # [N, P]
    inside = _inside(places[..., :2], stage[:, None]) & _inside(places[..., 2:], stage[:, None])
    pose, goal = robot[:, [a.X, a.Y]], robot[:, [a.GOAL_X, a.GOAL_Y]]
    if not (inside | ~there).all() or not (_inside(pose, stage) & _inside(goal, stage)).all():
        raise ValueError("environment state: something stands outside the world of its stage")


def _inside(place: NDArray[np.float32], stage: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say of each place, [..., 2] in metres, whether it lies on its stage's grid."""
    column, row = ((place[..., i] - stage[f"origin_{axis}"]) / stage["cell"] for i, axis in enumerate("xy"))
    return (column >= 0) & (column < stage["width"]) & (row >= 0) & (row < stage["height"])
