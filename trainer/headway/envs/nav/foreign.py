"""State that comes from a checkpoint: foreign data, checked before the kernel, which checks no index, works on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.envs.nav import arrays as a
from headway.envs.nav.crowd import FAR

FASTEST_PERSON = 3.0  # m/s: 1.3 times the largest peopleSpeed, and spare
LARGEST_SUM = 2**40  # of the weights of remembered levels
LONGEST_EPISODE = 10_000  # steps, the largest maxSteps
SPARE = 1.001  # speeds are clamped in single precision


def check_values(state: dict[str, NDArray[Any]], scenes: NDArray[np.void], params: a.Params) -> None:
    """Raise ValueError unless every number is one that an episode can have.

    `state` holds what `NavVectorEnv.get_state` names as in `Arrays`, of the right shapes and types.
    Whatever looks into a grid must be inside it, and stay there for the next substep.
    """
    robot, count, people = state["robot"], state["count"], state["people"]
    least = np.where(np.arange(count.shape[1]) == a.SLOT, -1, 0)
    if (
        (count < least).any()
        or (count[:, a.SCENE] >= len(scenes)).any()
        or min(state["legs"].min(initial=0), state["trips"].min(initial=0)) < 0
    ):
        raise ValueError("environment state count or legs: holds a number that no episode has")
    for name in ("robot", "people", "last_action", "pending", "others", "other_observation", "observation"):
        if not np.isfinite(state[name]).all():
            raise ValueError(f"environment state {name}: holds a value that is not finite")
    spare = SPARE * (1.0 + params.dynamics)
    fastest = max(params.max_speed, -params.min_speed)
    if (
        (abs(robot[:, a.SPEED]) > spare * fastest).any()
        or (abs(state["last_action"]) > 1).any()
        or (abs(state["pending"]) > 1).any()
        or (abs(robot[:, a.TURN]) > spare * params.max_turn).any()
    ):
        raise ValueError("environment state robot: is faster than the robot can be")
    stage = scenes[count[:, a.SCENE]]
    if (stage["stage"] != count[:, a.STAGE]).any():
        raise ValueError("environment state count: holds a scene of another stage")
    _check_others(state, stage, fastest * spare, params.max_turn * spare)
    places = people[..., : a.TARGET_Y + 1]  # [N, P, 4]: where people are and go
    there = (np.arange(people.shape[1]) < stage["people"][:, None]) & (places != FAR).any(-1)  # [N, P]
    inside = _inside(places[..., :2], stage[:, None]) & _inside(places[..., 2:], stage[:, None])
    if (abs(people[..., a.PERSON_SPEED : a.PERSON_VY + 1]) > FASTEST_PERSON).any():
        raise ValueError("environment state people: someone is faster than a person can be")
    pose, goal = robot[:, [a.X, a.Y]], robot[:, [a.GOAL_X, a.GOAL_Y]]
    if not (inside | ~there).all() or not (_inside(pose, stage) & _inside(goal, stage)).all():
        raise ValueError("environment state: something stands outside the world of its stage")


def _check_others(state: dict[str, NDArray[Any]], stage: NDArray[np.void], speed: float, turn: float) -> None:
    """Raise ValueError unless the other robots are inside their worlds and no faster than robots can be."""
    others = state["others"]  # [N, R, 12]
    there = (np.arange(others.shape[1]) < stage["robots"][:, None]) & (others[..., a.X] != FAR)  # [N, R]
    inside = _inside(others[..., [a.X, a.Y]], stage[:, None]) & _inside(
        others[..., [a.GOAL_X, a.GOAL_Y]], stage[:, None]
    )
    slow = (abs(others[..., a.SPEED]) <= speed) & (abs(others[..., a.TURN]) <= turn)
    if not ((inside & slow) | ~there).all() or (abs(others[..., a.SINCE]) > LONGEST_EPISODE).any():
        raise ValueError("environment state others: a robot is outside the world of its stage or too fast")


def remember(levels: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """The table of remembered levels, [R, 3], of levels [R, 2] and weights [R]; empty where all weights are 0."""
    if levels.shape != (len(weights), 2) or (levels < 0).any() or (weights < 0).any():
        raise ValueError("remembered levels: holds a number that no level has")
    if weights.sum(dtype=np.float64) > LARGEST_SUM:
        raise ValueError("remembered levels: the weights are too large")
    sums = np.cumsum(weights, dtype=np.int64)
    if len(sums) == 0 or sums[-1] == 0:
        return np.zeros((0, 3), np.int64)
    return np.concatenate([levels.astype(np.int64), sums[:, None]], axis=1)


def _inside(place: NDArray[np.float32], stage: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say of each place, [..., 2] in metres, whether it lies on its stage's grid."""
    column, row = ((place[..., i] - stage[f"origin_{axis}"]) / stage["cell"] for i, axis in enumerate("xy"))
    return (column >= 0) & (column < stage["width"]) & (row >= 0) & (row < stage["height"])
