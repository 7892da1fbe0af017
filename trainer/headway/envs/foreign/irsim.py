"""headway/IrSim-v0: the levels of headway/Nav-v0 driven in ir-sim (2.12), a second simulator that nobody here wrote.

Its kinematics, its lidar, its collisions and its arrival; our levels, action, observation and reward. So a policy that
was trained in ours can be tried there: what it loses is what it learned about our simulator and not about the task.
People choose where to walk as they do in ours; ir-sim moves them, sees them and looks who is hit.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np
import shapely
import yaml
from headway_api.nav_spec import Levels, NavEnv
from numpy.typing import NDArray
from pydantic.alias_generators import to_camel

from headway.envs.foreign.irsim_world import world_of
from headway.envs.foreign.walkers import Walkers
from headway.envs.nav.gym_env import NavGymEnv, Observation

SUBSTEP_SECONDS = 0.05  # ir-sim integrates by Euler's method
EXACT: Final = ("scan_noise_meters", "scan_dropout", "latency_steps", "slip", "dynamics")  # must be 0


class IrSimEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One robot in ir-sim. Action, observation, reward and `info` as of headway/Nav-v0."""

    def __init__(
        self,
        nav: dict[str, Any] | NavEnv | None = None,
        levels: dict[str, Any] | Levels | None = None,
        split: str = "train",
        preset: str | None = None,
    ) -> None:
        """Take the arguments of headway/Nav-v0. Raises ValueError for what ir-sim is not given here."""
        self._ours = NavGymEnv(nav, levels, split, preset=preset)
        spec = self._ours.train_spec
        assert spec.env.nav is not None and spec.curriculum.stages[0].levels is not None
        self._nav = spec.env.nav
        _refuse(self._nav, spec.curriculum.stages[0].levels)
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
        self._simulator.robot.sensors.clear()  # it would look after every substep: `_scan` does where it is read
        self._walkers = Walkers(self._ours.vector)
        people = len(self._level.people)
        self._people = self._simulator.obstacle_list[:people]
        self._standing = shapely.STRtree([one.geometry for one in self._simulator.obstacle_list[people:]])
        self._steps = 0
        self._scans = np.tile(self._scan(), (self._nav.scan_stack, 1))
        self._distance = self._goal_distance()
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Ask for a speed and a turn rate for `stepSeconds`."""
        robot, limits = self._simulator.robot, self._nav.robot
        share = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        speed = limits.min_speed + (share[0] + 1.0) / 2.0 * (limits.max_speed - limits.min_speed)
        walks = self._walkers.velocities([*robot.state[:3, 0], *robot.velocity[:2, 0]])
        commands = [np.array([speed, share[1] * limits.max_turn_rate]), *walks]
        for _ in range(self._substeps):
            self._simulator.step([command[:, None] for command in commands], list(range(len(commands))))
            if robot.collision_flag or robot.arrive_flag:
                break
        self._steps += 1
        self._scans = np.vstack((self._scan(), self._scans[:-1]))
        collision = bool(robot.collision_flag)
        success = bool(robot.arrive_flag) and not collision
        reward = self._reward(share, success, collision)
        truncated = not success and not collision and self._steps >= self._nav.max_steps
        info = {"is_success": success, "is_collision": collision}
        return self._observation(), reward, success or collision, truncated, info

    def close(self) -> None:
        """Nothing is open."""

    def _reward(self, action: NDArray[np.float64], success: bool, collision: bool) -> float:
        """Every term of `spec.train.env.nav.reward`."""
        terms, robot, before = self._nav.reward, self._simulator.robot, self._distance
        self._distance = self._goal_distance()
        reward = terms.step + terms.progress * (before - self._distance)
        reward += terms.goal * success + terms.collision * collision
        free = 0.0 if collision else self._free(robot.geometry, terms.proximity_meters)
        reward += terms.proximity * max(1.0 - free / terms.proximity_meters, 0.0)
        centre = shapely.Point(robot.state[:2, 0])
        reward += terms.near * (self._free(centre, 1.01 * terms.near_meters) <= terms.near_meters)
        if self._steps > 1:
            reward += terms.smoothness * float(np.square(action - self._action).sum())
        self._action = action
        return float(reward)

    def _free(self, body: Any, reach: float) -> float:
        """Distance in metres from a shape to the nearest obstacle or person; at least `reach` where none is nearer."""
        _, apart = self._standing.query_nearest(body, max_distance=reach, return_distance=True)
        people = shapely.distance(body, [person.geometry for person in self._people])
        return float(min(np.min(apart, initial=reach), np.min(people, initial=reach)))

    def _scan(self) -> NDArray[np.float64]:
        """Distances of our beams, right to left; ir-sim's full circle repeats its first beam at the end."""
        robot = self._simulator.robot
        robot.lidar.step(robot.state[:3])
        return np.array(robot.lidar.range_data[: self._nav.lidar.beams], np.float64)

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


def _refuse(nav: NavEnv, levels: Levels) -> None:
    if nav.actions.discrete is not None:
        raise ValueError("nav.actions.discrete: ir-sim is driven by continuous actions here")
    if levels.robots:
        raise ValueError("levels.robots must be 0: no other robot drives in ir-sim here")
    if noisy := [name for name in EXACT if getattr(nav.randomization, name)]:
        names = ", ".join(to_camel(name) for name in noisy)
        raise ValueError(f"nav.randomization: ir-sim's robot and lidar are exact here: set {names} to 0")
