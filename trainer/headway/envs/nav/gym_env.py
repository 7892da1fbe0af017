"""One environment with Gymnasium's interface: `gymnasium.make("headway/Nav-v0", levels={"world": {"empty": {}}})`.

`preset="jaxnav"` gives a task by name instead.

A thin face of the vector environment with N = 1, registered when `headway.envs` is imported. The seed of a reset is the
number of the environment whose levels are played, so that `gym_vector.py` plays the same ones.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from headway_api.nav_spec import Levels, NavEnv
from headway_api.train_spec import TrainSpec
from numpy.typing import NDArray

from headway.envs import presets
from headway.envs.nav.arrays import POSE
from headway.envs.nav.gym_parts import environment_number, go_on, infos, reward_for, state_of, terminated_for
from headway.envs.nav.render import render
from headway.envs.nav.scenes import CELL_METERS
from headway.envs.nav.vector import Level, NavVectorEnv

Observation = dict[str, NDArray[np.float32]]
DEFAULT_LEVELS = {"world": {"clutter": {"fill": 0.1}}}


class NavGymEnv(gymnasium.Env[Observation, NDArray[np.float32] | np.int64]):
    """headway/Nav-v0. docs/environment.md describes observation, action and reward with frames and units."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(
        self,
        nav: dict[str, Any] | NavEnv | None = None,
        levels: dict[str, Any] | Levels | None = None,
        split: str = "train",
        render_mode: str | None = None,
        preset: str | None = None,
    ) -> None:
        """`nav` and `levels` as in a TrainingRun (`spec.train.env.nav`, `stages[].levels`), camelCase or models.

        `preset` names a task, `headway.envs.preset`: its environment and levels where `nav` and `levels` are not given.
        Raises pydantic.ValidationError for wrong fields, SpecError for a map that cannot be read, UserError for a
        preset that there is not.
        """
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode {render_mode!r}: choose None or 'rgb_array'")
        nav, levels = presets.filled(preset, nav, levels)
        stage = {"name": "levels", "levels": levels or DEFAULT_LEVELS}
        spec = TrainSpec.model_validate(
            {
                "totalSteps": 1,
                "numEnvs": 1,
                "env": {"nav": nav or {}},
                "algo": {"ppo": {"minibatchSize": 1}},
                "network": {"mlp": {}},
                "curriculum": {"stages": [stage]},
            }
        )
        self.render_mode = render_mode
        self.train_spec = spec
        self._vector = NavVectorEnv(spec, 1, split=split)
        self._begun = 0  # episodes of the present seed
        self._fresh = True  # no seed yet
        self._trail: list[tuple[float, float]] = []
        size = self._vector.actions.size
        discrete = self._vector.actions.discrete
        self.action_space = spaces.Discrete(size) if discrete else spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.observation_space = self._space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode: of `seed` the first, else the next of the present seed."""
        super().reset(seed=seed)
        if seed is not None or self._fresh:
            self._vector.number_from(environment_number(seed, self.np_random))
            self._begun, self._fresh = 0, False
        return self._begin(self._begun), {}

    def step(self, action: NDArray[np.float32] | np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advance by one step. `info` has `is_success`, `is_collision`, and what `compute_reward` needs."""
        before = self._trail[-1]
        step = self._vector.step(torch.as_tensor(np.asarray(action, self.action_space.dtype))[None])
        observation = _row(step.final_observation if len(step.final_rows) else step.observation)
        self._trail.append((float(observation["achieved_goal"][0]), float(observation["achieved_goal"][1])))
        told = infos(self._vector.nav, step, np.array([before], np.float32))
        info = {name: value[0] if value.ndim > 1 else value[0].item() for name, value in told.items()}
        return observation, float(step.reward), bool(step.terminated), bool(step.truncated), info

    def compute_reward(
        self, achieved_goal: NDArray[np.float32], desired_goal: NDArray[np.float32], info: Any
    ) -> float | NDArray[np.float64]:
        """Return what the step would have earned with another goal; for one step or B of them, as HER asks.

        `achieved_goal`, `desired_goal`: [2] or [B, 2]; `info`: the step's, or B of them.
        """
        return reward_for(self._vector.nav, achieved_goal, desired_goal, info)

    def compute_terminated(
        self, achieved_goal: NDArray[np.float32], desired_goal: NDArray[np.float32], info: Any
    ) -> bool | NDArray[np.bool_]:
        """Return whether the step would have ended the episode with another goal; see `compute_reward`."""
        return terminated_for(self._vector.nav, achieved_goal, desired_goal, info)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy of everything that the future depends on, mid-episode."""
        return state_of(self._vector) | {"begun": np.array(self._begun)}

    def set_state(self, state: dict[str, NDArray[Any]]) -> Observation:
        """Go on exactly where `get_state` was called; return what to act on next. Raises ValueError."""
        observation = _row(go_on(self._vector, state))
        self._begun, self._fresh = int(state["begun"]), False
        self._trail = [self._vector.level(0).robot[:2]]
        return observation

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Return the level and the robot's way as an image [height, width, 3]."""
        if self.render_mode is None:
            return None
        return np.asarray(render(self._vector.level(0), self._trail))

    @property
    def vector(self) -> NavVectorEnv:
        """The vector environment behind it, of one."""
        return self._vector

    def level(self) -> Level:
        """What the robot drives in at this moment."""
        return self._vector.level(0)

    def _begin(self, episode: int) -> Observation:
        observation = _row(self._vector.reset_to(episode))
        self._begun = episode + 1
        self._trail = [self._vector.level(0).robot[:2]]
        return observation

    def _space(self) -> spaces.Dict:
        """Bounds follow from the worlds' extents and the robot's limits."""
        nav, scenes = self._vector.nav, self._vector.arrays.scenes
        corner = np.stack([scenes["origin_x"], scenes["origin_y"]])  # [2, C]
        size = np.stack([scenes["width"], scenes["height"]]) * scenes["cell"]
        low = (corner.min(axis=1) - CELL_METERS).astype(np.float32)
        high = ((corner + size).max(axis=1) + CELL_METERS).astype(np.float32)
        scans = self._vector.arrays.observation.shape[-1] - POSE
        spare = 1.0 + nav.randomization.dynamics  # an episode's limits may lie above the nominal ones
        turn = spare * nav.robot.max_turn_rate
        least = np.concatenate([low, [-1.0, -1.0, spare * nav.robot.min_speed, -turn], np.zeros(scans)])
        most = np.concatenate(
            [high, [1.0, 1.0, spare * nav.robot.max_speed, turn], np.full(scans, nav.lidar.range_meters)]
        )
        place = spaces.Box(low, high, dtype=np.float32)
        rows = spaces.Box(least.astype(np.float32), most.astype(np.float32), dtype=np.float32)
        return spaces.Dict({"observation": rows, "achieved_goal": place, "desired_goal": place})


def _row(observation: dict[str, torch.Tensor]) -> Observation:
    return {name: tensor[0].numpy().copy() for name, tensor in observation.items()}
