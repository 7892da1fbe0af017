"""Between spaces of Gymnasium and flat rows of numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from headway.envs.foreign.packages import ID_FIELD
from headway.errors import SpecError

WIDEST = 1e6  # bounds of actions
GOAL_KEYS = ("observation", "achieved_goal", "desired_goal")


class Sizes(NamedTuple):
    """Lengths of an environment's flat rows."""

    observation: int
    goal: int  # of achieved_goal and of desired_goal; 0: the environment has no goals
    action: int
    discrete: bool


class Codec:
    """Flattens observations of an environment and scales actions to it. Raises SpecError for spaces that it cannot."""

    def __init__(self, env: gymnasium.Env[Any, Any], name: str) -> None:
        self._name = name
        seen, self._act = env.observation_space, env.action_space
        has_goal = isinstance(seen, spaces.Dict) and set(seen.spaces) == set(GOAL_KEYS)
        self._seen = [seen[key] for key in GOAL_KEYS] if has_goal else [seen]
        for space in self._seen:
            self._check(space)
        lengths = [spaces.flatdim(space) for space in self._seen]
        if has_goal and lengths[1] != lengths[2]:
            raise SpecError(ID_FIELD, name, "its achieved_goal and desired_goal differ in length: wrap it")
        size, discrete = self._action()
        self.sizes = Sizes(lengths[0], lengths[1] if has_goal else 0, size, discrete)

    def rows(self, observation: Any) -> list[NDArray[np.float32]]:
        """Return observation [O], achieved_goal [G] and desired_goal [G]; the latter empty without goals."""
        if self.sizes.goal:
            parts = [observation[key] for key in GOAL_KEYS]
            return [_flat(space, part) for space, part in zip(self._seen, parts, strict=True)]
        nothing = np.zeros(0, np.float32)
        return [_flat(self._seen[0], observation), nothing, nothing]

    def action(self, row: NDArray[Any]) -> Any:
        """From [-1, 1] to the space's own bounds, or from 0, 1, ... to its own first choice and on."""
        if isinstance(self._act, spaces.Discrete):
            return int(row[0]) + int(self._act.start)
        box = self._act
        share = (np.clip(row, -1.0, 1.0).reshape(box.shape) + 1.0) / 2.0
        return (box.low + share * (box.high - box.low)).astype(box.dtype)

    def _action(self) -> tuple[int, bool]:
        if isinstance(self._act, spaces.Discrete):
            return int(self._act.n), True
        if not isinstance(self._act, spaces.Box) or not np.issubdtype(self._act.dtype, np.floating):
            raise SpecError(ID_FIELD, self._name, f"its actions are {self._act}: only Box and Discrete can be learned")
        if not self._act.is_bounded():
            raise SpecError(ID_FIELD, self._name, f"its actions {self._act} have no bounds: wrap it in RescaleAction")
        if np.abs([self._act.low, self._act.high]).max() > WIDEST:  # no bounds but in name
            raise SpecError(ID_FIELD, self._name, f"its actions {self._act} are too wide: wrap it in RescaleAction")
        return int(np.prod(self._act.shape)), False

    def _check(self, space: spaces.Space[Any]) -> None:
        if isinstance(space, spaces.Dict | spaces.Tuple):
            for part in space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces:
                self._check(part)
        elif isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) > 1:
            raise SpecError(ID_FIELD, self._name, f"it shows images, {space.shape}: only vectors can be learned from")
        elif not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete):
            raise SpecError(ID_FIELD, self._name, f"it shows {space}: only numbers can be learned from: wrap it")


def _flat(space: spaces.Space[Any], value: Any) -> NDArray[np.float32]:
    return np.asarray(spaces.flatten(space, value), np.float32)
