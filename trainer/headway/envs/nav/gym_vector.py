"""N environments with Gymnasium's interface: `gymnasium.make_vec("headway/Nav-v0", num_envs=256)`.

Step by step the same as N single ones in Gymnasium's `SyncVectorEnv` with AutoresetMode.SAME_STEP, in one kernel call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from headway_api.nav_spec import Levels, NavEnv
from numpy.typing import NDArray

from headway.envs.nav.arrays import EPISODE
from headway.envs.nav.gym_env import NavGymEnv, Observation
from headway.envs.nav.gym_parts import environment_number, go_on, infos, state_of
from headway.envs.nav.render import render
from headway.envs.nav.vector import NavVectorEnv


class NavGymVectorEnv(VectorEnv[Observation, NDArray[Any], NDArray[Any]]):
    """headway/Nav-v0, N at a time. Arguments as those of the single environment."""

    def __init__(
        self,
        num_envs: int = 1,
        nav: dict[str, Any] | NavEnv | None = None,
        levels: dict[str, Any] | Levels | None = None,
        split: str = "train",
        render_mode: str | None = None,
        threads: int = 1,
        preset: str | None = None,
    ) -> None:
        """Raises as the single environment does."""
        single = NavGymEnv(nav, levels, split, render_mode, preset)
        self.metadata = {**single.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.render_mode = render_mode
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = single.observation_space, single.action_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        self.action_space = batch_space(single.action_space, num_envs)
        self._vector = NavVectorEnv(single.train_spec, num_envs, split=split, threads=threads)
        self._fresh = True

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in every environment: of `seed`, `seed + 1`, ... the first, else each one's next.

        Raises ValueError for seeds that do not follow one another, and for a reset of some environments only: they
        reset themselves.
        """
        if options and "reset_mask" in options:
            raise ValueError("options['reset_mask']: environments reset themselves in the step that ends an episode")
        first = seed if seed is None or isinstance(seed, int) else int(seed[0])
        if isinstance(seed, Sequence) and list(seed) != list(range(int(seed[0]), int(seed[0]) + self.num_envs)):
            raise ValueError(f"seed {list(seed)}: give one number: environment i gets it plus i")
        super().reset(seed=first)
        following = self._vector.arrays.count[:, EPISODE] + 1
        if first is not None or self._fresh:
            self._vector.number_from(environment_number(first, self.np_random))
            following[:] = 0
        self._fresh = False
        observation = self._vector.reset_to(following)
        self._achieved = observation["achieved_goal"].numpy().copy()
        return _arrays(observation), {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance all; where an episode ends the next begins, and its last observation is in `final_obs`."""
        step = self._vector.step(torch.as_tensor(np.asarray(actions, self.single_action_space.dtype)))
        told = infos(self._vector.nav, step, self._achieved)
        observation = _arrays(step.observation)
        self._achieved = observation["achieved_goal"].copy()
        ended = step.episodes.ended.numpy().copy()
        info = _masked(told, ~ended)
        if ended.any():
            last = np.full(self.num_envs, None, dtype=object)
            for k, row in enumerate(step.final_rows.tolist()):
                last[row] = {name: tensor[k].numpy().copy() for name, tensor in step.final_observation.items()}
            info |= {"final_obs": last, "_final_obs": ended.copy()}
            info |= {"final_info": _masked(told, ended), "_final_info": ended.copy()}
        terminated, truncated = step.terminated.numpy().copy(), step.truncated.numpy().copy()
        return observation, step.reward.numpy().astype(np.float64), terminated, truncated, info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return every level with its robot as an image [height, width, 3]."""
        if self.render_mode is None:
            return None
        return tuple(np.asarray(render(self._vector.level(i))) for i in range(self.num_envs))

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy of everything that the future depends on, mid-episode."""
        return state_of(self._vector)

    def set_state(self, state: dict[str, NDArray[Any]]) -> Observation:
        """Go on exactly where `get_state` was called; return what to act on next. Raises ValueError."""
        observation = _arrays(go_on(self._vector, state))
        self._fresh = False
        self._achieved = observation["achieved_goal"].copy()
        return observation


def _arrays(observation: dict[str, torch.Tensor]) -> Observation:
    return {name: tensor.numpy().copy() for name, tensor in observation.items()}


def _masked(told: dict[str, NDArray[Any]], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Gymnasium's form: values of the environments in `rows`, 0 elsewhere, and for each the mask of who has it."""
    if not rows.any():
        return {}
    out: dict[str, Any] = {}
    for name, value in told.items():
        out[name] = np.where(rows.reshape(-1, *[1] * (value.ndim - 1)), value, np.zeros((), value.dtype))
        out[f"_{name}"] = rows.copy()
    return out
