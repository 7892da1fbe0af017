"""headway/IrSim-v0: the levels of headway/Nav-v0 driven in ir-sim (2.12), a second simulator that nobody here wrote.

Its kinematics, its lidar, its collisions and its arrival; our levels, action and observation layout. So a policy that
was trained in ours can be tried there: what it loses is what it learned about our simulator and not about the task.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import yaml
from headway_api.nav_spec import Levels, NavEnv
from numpy.typing import NDArray

from headway.envs.nav.gym_env import NavGymEnv, Observation
from headway.envs.nav.vector import Level

SUBSTEP_SECONDS = 0.05  # ir-sim integrates by Euler's method


class IrSimEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One robot in ir-sim. Action, observation and `info` as of headway/Nav-v0; of the reward, all but proximity."""

    def __init__(self, nav: dict[str, Any] | None = None, levels: dict[str, Any] | None = None) -> None:
        """`nav` and `levels` as of headway/Nav-v0. Raises ValueError for what ir-sim is not given here."""
        self._nav = NavEnv.model_validate(nav or {})
        _refuse(self._nav, Levels.model_validate(levels) if levels else None)
        self._ours = NavGymEnv(nav, levels)
        self.observation_space, self.action_space = self._ours.observation_space, self._ours.action_space
        self._substeps = max(1, round(self._nav.step_seconds / SUBSTEP_SECONDS))
        self._simulator: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Build the level that headway/Nav-v0 plays with this seed."""
        import irsim

        super().reset(seed=seed)
        self._ours.reset(seed=seed)
        self._level = self._ours.level()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:  # ir-sim reads worlds from files only
            yaml.safe_dump(world_of(self._level, self._nav, self._nav.step_seconds / self._substeps), file)
            file.flush()
            self._simulator = irsim.make(str(Path(file.name)), headless=True, log_level="ERROR")
        self._steps = 0
        self._scans = np.tile(self._scan(), (self._nav.scan_stack, 1))
        self._distance = self._goal_distance()
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Ask for a speed and a turn rate for `stepSeconds`."""
        robot, limits = self._simulator.robot, self._nav.robot
        share = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        speed = limits.min_speed + (share[0] + 1.0) / 2.0 * (limits.max_speed - limits.min_speed)
        for _ in range(self._substeps):
            self._simulator.step(np.array([[speed], [share[1] * limits.max_turn_rate]]))
            if robot.collision_flag or robot.arrive_flag:
                break
        self._steps += 1
        self._scans = np.vstack((self._scan(), self._scans[:-1]))
        collision = bool(robot.collision_flag)
        success = bool(robot.arrive_flag) and not collision
        terms, before = self._nav.reward, self._distance
        self._distance = self._goal_distance()
        reward = terms.step + terms.progress * (before - self._distance)
        reward += terms.goal * success + terms.collision * collision
        truncated = not success and not collision and self._steps >= self._nav.max_steps
        info = {"is_success": success, "is_collision": collision}
        return self._observation(), reward, success or collision, truncated, info

    def close(self) -> None:
        """Nothing is open."""

    def _scan(self) -> NDArray[np.float64]:
        """Distances of our beams, right to left; ir-sim's full circle repeats its first beam at the end."""
        return np.array(self._simulator.get_lidar_scan()["ranges"], np.float64)[: self._nav.lidar.beams]

    def _goal_distance(self) -> float:
        x, y = self._simulator.robot.state[:2, 0]
        return math.hypot(self._level.goal[0] - x, self._level.goal[1] - y)

    def _observation(self) -> Observation:
        x, y, heading = self._simulator.robot.state[:3, 0]
        speed, turn = self._simulator.robot.velocity[:2, 0]
        pose = [x, y, math.cos(heading), math.sin(heading), speed, turn]
        return {
            "observation": np.concatenate((pose, self._scans.ravel())).astype(np.float32),
            "achieved_goal": np.array([x, y], np.float32),
            "desired_goal": np.array(self._level.goal, np.float32),
        }


def world_of(level: Level, nav: NavEnv, step_seconds: float) -> dict[str, Any]:
    """Return a level as ir-sim's world file."""
    height, width = (side * level.cell for side in level.occupied.shape)
    full = nav.lidar.field_of_view_degrees == 360.0
    lidar = {
        "type": "lidar2d", "range_min": 0.0, "range_max": nav.lidar.range_meters,
        "angle_range": math.radians(nav.lidar.field_of_view_degrees), "number": nav.lidar.beams + full,
    }  # fmt: skip
    limits, disc, box = nav.robot, nav.robot.footprint.disc, nav.robot.footprint.rectangle
    robot = {
        "kinematics": {"name": "diff"}, "sensors": [lidar],
        "shape": {"name": "circle", "radius": disc.radius_meters} if disc
        else {"name": "rectangle", "length": box.length_meters, "width": box.width_meters},
        "state": list(level.robot), "goal": [*level.goal, 0.0], "goal_threshold": level.goal_radius,
        "vel_min": [limits.min_speed, -limits.max_turn_rate], "vel_max": [limits.max_speed, limits.max_turn_rate],
        "acce": [limits.max_acceleration, limits.max_turn_acceleration],
    }  # fmt: skip
    return {
        "world": {
            "height": height, "width": width, "offset": list(level.origin), "step_time": step_seconds,
            "sample_time": step_seconds, "collision_mode": "stop",
        },
        "robot": [robot],
        "obstacle": [_box(level, *rectangle) for rectangle in rectangles(level.occupied)],
    }  # fmt: skip


def rectangles(occupied: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Cover the occupied cells with rectangles (row, column, rows, columns) that do not overlap: few, not fewest."""
    left = occupied.copy()
    found = []
    for y, x in zip(*np.nonzero(occupied), strict=True):
        if not left[y, x]:
            continue
        across = int(np.argmin(np.append(left[y, x:], False)))
        along = int(np.argmin(np.append(left[y:, x : x + across].all(axis=1), False)))
        left[y : y + along, x : x + across] = False
        found.append((int(y), int(x), along, across))
    return found


def _box(level: Level, y: int, x: int, along: int, across: int) -> dict[str, Any]:
    centre = [level.origin[0] + (x + across / 2) * level.cell, level.origin[1] + (y + along / 2) * level.cell, 0.0]
    return {"shape": {"name": "rectangle", "length": across * level.cell, "width": along * level.cell}, "state": centre}


def _refuse(nav: NavEnv, levels: Levels | None) -> None:
    if nav.actions.discrete is not None:
        raise ValueError("nav.actions.discrete: ir-sim is driven by continuous actions here")
    if levels is not None and (levels.people or levels.robots):
        raise ValueError("levels.people and levels.robots must be 0: nobody else walks or drives in ir-sim here")
    if levels is not None and not (
        levels.world.empty or levels.world.clutter or levels.world.cells or levels.world.map
    ):
        raise ValueError("levels.world: ir-sim is given worlds of cells only: empty, clutter, cells or map")
