"""One environment with Gymnasium's interface: `gymnasium.make("headway/Nav-v0", levels={"world": {"empty": {}}})`.

A thin face of the vector environment with N = 1, registered when `headway.envs` is imported.
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

from headway.envs.nav.arrays import POSE
from headway.envs.nav.render import render
from headway.envs.nav.scenes import CELL_METERS
from headway.envs.nav.vector import NavVectorEnv

Observation = dict[str, NDArray[np.float32]]
DEFAULT_LEVELS = {"world": {"clutter": {"fill": 0.1}}}


class NavGymEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """headway/Nav-v0. docs/environment.md describes observation, action and reward with frames and units."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(
        self,
        nav: dict[str, Any] | NavEnv | None = None,
        levels: dict[str, Any] | Levels | None = None,
        split: str = "train",
        render_mode: str | None = None,
    ) -> None:
        """`nav` and `levels` as in a TrainingRun (`spec.train.env.nav`, `stages[].levels`), camelCase or models.

        Raises pydantic.ValidationError for wrong fields, SpecError for a map that cannot be read.
        """
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode {render_mode!r}: choose None or 'rgb_array'")
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
        self._vector = NavVectorEnv(spec, 1, split=split)
        self._episode = 0
        self._trail: list[tuple[float, float]] = []
        self.action_space = spaces.Box(-1.0, 1.0, (self._vector.actions.size,), np.float32)
        self.observation_space = self._space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode: of `seed` the first, else the next of the present seed."""
        fresh = self._np_random is None
        super().reset(seed=seed)
        if seed is not None or fresh:
            self._vector.seed(int(self.np_random.integers(2**31)))
            self._episode = 0
        observation = self._vector.reset_to(self._episode)
        self._episode += 1
        self._trail = [self._vector.level(0).robot[:2]]
        return _row(observation), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advance by one step. `info` says `is_success` and `is_collision`."""
        step = self._vector.step(torch.as_tensor(np.asarray(action, np.float32))[None])
        observation = _row(step.final_observation if len(step.final_rows) else step.observation)
        self._trail.append((float(observation["achieved_goal"][0]), float(observation["achieved_goal"][1])))
        info = {"is_success": bool(step.episodes.success), "is_collision": bool(step.episodes.collision)}
        return observation, float(step.reward), bool(step.terminated), bool(step.truncated), info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Return the level and the robot's way as an image [height, width, 3]."""
        if self.render_mode is None:
            return None
        return np.asarray(render(self._vector.level(0), self._trail))

    def _space(self) -> spaces.Dict:
        """Bounds follow from the worlds' extents and the robot's limits."""
        nav, scenes = self._vector.nav, self._vector.arrays.scenes
        corner = np.stack([scenes["origin_x"], scenes["origin_y"]])  # [2, C]
        size = np.stack([scenes["width"], scenes["height"]]) * scenes["cell"]
        low = (corner.min(axis=1) - CELL_METERS).astype(np.float32)
        high = ((corner + size).max(axis=1) + CELL_METERS).astype(np.float32)
        scans = self._vector.arrays.observation.shape[1] - POSE
        turn = nav.robot.max_turn_rate
        least = np.concatenate([low, [-1.0, -1.0, nav.robot.min_speed, -turn], np.zeros(scans)])
        most = np.concatenate([high, [1.0, 1.0, nav.robot.max_speed, turn], np.full(scans, nav.lidar.range_meters)])
        place = spaces.Box(low, high, dtype=np.float32)
        rows = spaces.Box(least.astype(np.float32), most.astype(np.float32), dtype=np.float32)
        return spaces.Dict({"observation": rows, "achieved_goal": place, "desired_goal": place})


def _row(observation: dict[str, torch.Tensor]) -> Observation:
    return {name: tensor[0].numpy() for name, tensor in observation.items()}
