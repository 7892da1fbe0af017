"""The vector environment around the kernel: arrays that torch and numba share, stages, state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from headway_api.nav_spec import Footprint
from headway_api.train_spec import TrainSpec
from numpy.typing import NDArray
from torch import Tensor

from headway.envs.nav import arrays as a
from headway.envs.nav.backend import STATE, make_backend
from headway.envs.nav.crowd import FAR
from headway.envs.nav.features import Features
from headway.envs.nav.foreign import check_values, remember
from headway.envs.nav.judge import NavJudge
from headway.envs.nav.places import NO_ROUTE, add_files
from headway.envs.nav.planner import shortest_all
from headway.envs.nav.scenes import build_scenes
from headway.envs.nav.shapes import outlines
from headway.envs.nav.step import BEGIN, REBUILD, STEP, world_of
from headway.envs.planners.experts import EXPERTS, Experts
from headway.envs.protocol import ActionSpace, EpisodeEnds, NotFiniteActionError, Observation, Step
from headway.errors import SpecError

# Features [M, F] and where episodes begin, bool [M], to actions: `algos.protocol.Policy`.
Driver = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Level:
    """A level as it is at one moment, in metres."""

    occupied: NDArray[np.bool_]  # [H, W] solid cells, row 0 is the bottom
    discs: list[tuple[float, float, float]]  # x, y, radius
    polygons: list[NDArray[np.float64]]  # [sides, 2] each; of two: a line
    cell: float
    origin: tuple[float, float]  # of the grid's lower-left corner
    robot: tuple[float, float, float]  # x, y, heading
    footprint: Footprint
    scan: NDArray[np.float32]  # [B] what the lidar reports
    beam_angles: NDArray[np.float64]  # [B] from the heading, in radians
    goal: tuple[float, float]
    goal_radius: float
    people: NDArray[np.float32]  # [P, 2]
    others: NDArray[np.float32]  # [R, 3] x, y, heading of the other robots


class NavVectorEnv:
    """N environments of headway/Nav-v0. See `VectorEnv` for the contract of each method."""

    exact_state = True
    knows_success = True

    def __init__(
        self,
        spec: TrainSpec,
        num_envs: int,
        offset: int = 0,
        split: str = "train",
        threads: int = 1,
        level_stride: int = 0,
        device: str = "cpu",
    ) -> None:
        """`level_stride` 0 draws a new level for every episode of every environment; else environment i plays the
        level ids `offset + i`, then every `level_stride`-th after it, so that each id is played once.

        On a `device` of CUDA everything lies and happens there: actions are taken from there, and observations and a
        step's results lie there, but for `EpisodeEnds`, experts' actions, path lengths and `get_state`.

        Raises SpecError where a map cannot be read or a stage has no level with the goal distances that it asks for.
        """
        assert spec.env.nav is not None
        self.spec, self.nav, self.num_envs = spec, spec.env.nav, num_envs
        self.step_seconds = self.nav.step_seconds
        scenes = build_scenes(spec, split)
        self.params = a.make_params(spec, self.nav, offset, split, level_stride)
        self.arrays = a.allocate(num_envs, self.nav, scenes)
        add_files(self.arrays, scenes, spec)
        # Two numbers: speed from its least (-1) to its largest (1), turn rate from right (-1) to left (1).
        table = a.command_table(self.nav)
        self.actions = ActionSpace(2) if table is None else ActionSpace(len(table), discrete=True)
        self._backend = make_backend(self.arrays, threads, device)
        self._tensors = self._backend.tensors
        self._device = self._backend.device
        # Views, made once: what takes 4 us in a step counts.
        self._rows = [{"observation": rows, "achieved_goal": rows[:, :2]} for rows in self._tensors["observation"]]
        self._goal = self._tensors["robot"][:, a.GOAL_X : a.GOAL_Y + 1]
        self.observation_size, self.goal_size = self.arrays.observation.shape[-1], 2
        self._commands = None if table is None else torch.from_numpy(table).to(self._device)
        self._no_action = torch.zeros(1, 2, device=self._device)
        self._features = Features(self.nav)
        self.layout = self._features.layout
        self._experts = Experts(self.nav, self.arrays)
        self._stage = 0
        self._driver: Driver | None = None

    def reset(self) -> Observation:
        """Begin episode 0 in every environment."""
        return self.reset_to(0)

    def reset_to(self, episode: int | NDArray[np.int64]) -> Observation:
        """Begin episode number `episode` in every environment; [N]: each its own."""
        self._tensors["count"].zero_()
        self._tensors["count"][:, a.EPISODE] = torch.as_tensor(episode).to(self._device)
        self._turn_over()
        self._run(BEGIN)
        return self._observation()

    def skip_episodes(self, count: int) -> None:
        """Leave out so many numbers of episodes. Those under way are named by their levels, and stay what they are."""
        self._tensors["count"][:, a.EPISODE] += count

    def number_from(self, offset: int) -> None:
        """Environment i is number `offset + i` of all from the next reset on, and plays its levels."""
        self.params = self.params._replace(offset=offset)
        self._experts.forget()

    def step(self, action: Tensor) -> Step:
        """Advance every environment by one step. Raises ValueError for an action that is none.

        Numbers, float [N, 2], are taken in a discrete space too: planners command so.
        """
        command = self._command(action.detach())
        if command.shape != (self.num_envs, 2):  # the kernel checks no index
            rows = f"{self.num_envs} choices or " if self.actions.discrete else ""
            raise ValueError(f"the action is {list(action.shape)}: give {rows}[{self.num_envs}, 2]")
        self._ask_driver()
        self._turn_over()
        self._run(STEP, command)
        tensors = self._tensors
        outcome = tensors["outcome"].clone()
        terminated, truncated, _, _ = outcome.unbind(1)
        ended = terminated | truncated
        rows = ended.nonzero()[:, 0]
        final = tensors["final_observation"][rows]
        return Step(
            observation=self._observation(),
            reward=tensors["reward"].clone(),
            terminated=terminated,
            truncated=truncated,
            final_rows=rows,
            final_observation={
                "observation": final,
                "achieved_goal": final[:, :2],
                "desired_goal": tensors["final_goal"][rows],
            },
            episodes=self._ends(outcome.cpu(), ended.cpu()),
        )

    def _ends(self, outcome: Tensor, ended: Tensor) -> EpisodeEnds:
        """What ended, on the CPU, where it is counted; `outcome` [N, 4], `ended` [N]."""
        _, _, success, collision = outcome.unbind(1)
        numbers = self._tensors["ended"].to("cpu", copy=True)
        stage, length, _, _, slot = numbers.unbind(1)
        return EpisodeEnds(
            ended=ended,
            stage=stage,
            success=success,
            collision=collision,
            total_reward=self._tensors["final_reward"].to("cpu", copy=True),
            length=length,
            level=numbers[:, 2:4],
            slot=slot,
        )

    def drive_others(self, policy: Driver) -> None:
        """Let `policy` drive the other robots from the next reset or `set_state` on, where `others` is `self`.

        It is called once a step with features [N * R, F] of all other robots and with where they begin anew, bool
        [N * R], and returns their actions as a learner's. Without it, or with `others: goStraight`, the simple rule of
        `robots.go_straight` drives them.
        """
        if self.nav.others == "self" and self.arrays.others.shape[1] > 0:
            self._driver = policy
            self.params = self.params._replace(driven=1)

    def _ask_driver(self) -> None:
        """Get the other robots' actions for the coming step from the policy that drives them, if one does."""
        if self._driver is None:
            return
        tensors = self._tensors
        others = tensors["others"]
        rows = tensors["other_observation"].flatten(0, 1)
        goal = others[..., a.GOAL_X : a.GOAL_Y + 1].clone().flatten(0, 1)
        begins = (others[..., a.SINCE] == tensors["count"][:, None, a.STEP]).flatten()
        features = self._features({"observation": rows, "achieved_goal": rows[:, :2], "desired_goal": goal})
        with torch.no_grad():
            action = self._driver(features, begins).nan_to_num()  # a driver that has diverged is the learner's to tell
        tensors["other_action"].copy_(self._command(action).view_as(tensors["other_action"]))

    def _command(self, action: Tensor) -> Tensor:
        """Check an action and turn choices into numbers, float32 [N, 2] on the environment's device."""
        action = action.to(self._device)
        if self._commands is not None and action.ndim == 1:
            if len(action) and not bool(((action >= 0) & (action < len(self._commands))).all()):
                raise ValueError(f"the action holds a choice that is not among 0 to {len(self._commands) - 1}")
            return self._commands[action]
        # A sum is finite where all of it is, and takes a fraction of the time.
        if not math.isfinite(float(action.sum())) and not bool(torch.isfinite(action).all()):
            raise NotFiniteActionError("the action holds a value that is not finite: the policy has diverged")
        return action.to(torch.float32).contiguous()

    def set_stage(self, stage: int) -> None:
        """Episodes that begin from now on are of this stage, or replay an earlier one. Raises IndexError.

        Levels remembered of another stage are forgotten.
        """
        if not 0 <= stage < len(self.spec.curriculum.stages):
            raise IndexError(f"stage {stage}: there are {len(self.spec.curriculum.stages)}")
        if stage != self._stage:
            self.arrays = self.arrays._replace(remembered=self.arrays.remembered[:0])
        self._stage = stage

    def expert(self, name: str) -> Tensor:
        """What the planner of that name would do now: float32 [N, 2], or int64 [N], the command nearest to it.

        Raises SpecError where there is no such planner.
        """
        if name not in EXPERTS:
            raise SpecError("train.algo.dagger.expert", name, f"this environment has {', '.join(EXPERTS)}")
        self._backend.fetch()
        action = torch.from_numpy(self._experts.act(name))
        if self._commands is None:
            return action
        return torch.cdist(action, self._commands.cpu()).argmin(1)

    def remember_levels(self, levels: Tensor, weights: Tensor, share: float) -> None:
        """Let `share` of the fresh episodes of the stage play one of `levels` [R, 2] again, drawn by `weights` [R].

        The table is no part of `get_state`: who made it gives it again after `set_state` and `set_stage`.
        Raises ValueError for what names no level; it comes from a checkpoint.
        """
        self.params = self.params._replace(remember=np.float32(share))
        self.arrays = self.arrays._replace(remembered=remember(levels.numpy(), weights.numpy()))

    def features(self, observation: Observation) -> Tensor:
        """Network input, float32 [N, F]."""
        return self._features(observation)

    def get_state(self) -> dict[str, Tensor]:
        """Copy of everything that the future depends on; a few hundred bytes an environment."""
        state = {name: tensor.to("cpu", copy=True) for name, tensor in self._live().items()}
        return {**state, "stage": torch.tensor(self._stage)}

    def set_state(self, state: dict[str, Tensor]) -> Observation:
        """Go on exactly where `get_state` was called; return what to act on next.

        Raises ValueError if names, sizes or types differ, or if a value is none that an episode can have: the kernel
        checks no index, and a checkpoint is foreign data.
        """
        expected = self.get_state()
        for name, tensor in expected.items():
            given = state.get(name)
            if given is None or given.shape != tensor.shape or given.dtype != tensor.dtype:
                found = "nothing" if given is None else f"{given.dtype} {list(given.shape)}"
                raise ValueError(f"environment state {name}: {found} where {tensor.dtype} {list(tensor.shape)} belongs")
        if not 0 <= int(state["stage"]) < len(self.spec.curriculum.stages):
            raise ValueError(f"environment state stage: found {int(state['stage'])}: there is no such stage")
        check_values({name: state[name].numpy() for name in self._live()}, self.arrays.scenes, self.params)
        self.set_stage(int(state["stage"]))
        for name, tensor in self._live().items():
            tensor.copy_(state[name])
        self._run(REBUILD)
        self._experts.forget()
        return self._observation()

    def shortest_path_meters(self, begins: Tensor) -> Tensor:
        """Length of the A* path to the goal's rim where `begins` (bool [N]) is true; float64 [N], 1 mm elsewhere."""
        self._backend.fetch()
        lengths = np.zeros(self.num_envs, np.float64)
        shortest_all(self.params, self.arrays, begins.cpu().numpy(), lengths)
        # The path leads to the goal's centre, the robot need only come within the goal's radius.
        return torch.from_numpy(lengths).sub(self.nav.goal_radius_meters).clamp_min(1e-3)

    def judge(self) -> NavJudge:
        """What judges steps for other goals: alike in all stages, on the device of what it is asked about."""
        return NavJudge(self.nav)

    def close(self) -> None:
        """End the threads."""
        self._backend.close()

    def level(self, i: int) -> Level:
        """What environment i drives in at this moment, for pictures and tests."""
        self._backend.fetch()
        arrays, robot = self.arrays, self.arrays.robot[i]
        stage = arrays.scenes[arrays.count[i, a.SCENE]]
        people = arrays.people[i, : stage["people"], : a.PERSON_Y + 1]
        others = arrays.others[i, : stage["robots"], : a.HEADING + 1]
        cell, origin = float(stage["cell"]), (float(stage["origin_x"]), float(stage["origin_y"]))
        occupied, discs, polygons = outlines(world_of(arrays, stage, i), cell, origin)
        return Level(
            occupied=occupied,
            cell=cell,
            origin=origin,
            discs=discs,
            polygons=polygons,
            robot=(float(robot[a.X]), float(robot[a.Y]), float(robot[a.HEADING])),
            footprint=self.nav.robot.footprint,
            scan=arrays.observation[arrays.now[0], i, a.POSE : a.POSE + self.nav.lidar.beams].copy(),
            beam_angles=a.beam_angles(self.nav),
            goal=(float(robot[a.GOAL_X]), float(robot[a.GOAL_Y])),
            goal_radius=self.nav.goal_radius_meters,
            people=people[people[:, a.PERSON_X] > FAR].copy(),
            others=others[others[:, a.X] > FAR].copy(),
        )

    def _run(self, task: int, action: Tensor | None = None) -> None:
        """Do a task of the kernel for all environments. Raises SpecError where a level cannot be drawn."""
        given = self._no_action if action is None else action
        self._backend.run(task, self.params, self.arrays, given, self._stage)
        failed = self._tensors["failed"]
        if bool(failed.any()):
            env = int(failed.int().argmax())
            stage = self.spec.curriculum.stages[int(self._tensors["count"][env, a.STAGE])]
            if stage.levels.route is not None:
                raise SpecError(
                    f"train.curriculum.stages[{stage.name}].levels.route",
                    stage.levels.route.to_wire(),
                    f"no world drawn leaves it free: {NO_ROUTE[1]}, {NO_ROUTE[2]}, or {NO_ROUTE[3]}",
                )
            limits = [stage.levels.min_goal_meters, stage.levels.max_goal_meters]
            raise SpecError(
                f"train.curriculum.stages[{stage.name}].levels.minGoalMeters and maxGoalMeters",
                limits,
                "no connected start and goal that far apart were found in this world: widen the range or the world",
            )

    def _live(self) -> dict[str, Tensor]:
        """The arrays that the future depends on, by name, in the kernel's memory."""
        tensors = {name: self._tensors[name] for name in STATE}
        return {**tensors, "observation": self._tensors["observation"][self.arrays.now[0]]}

    def _turn_over(self) -> None:
        """Let the next observations go to the other buffer."""
        self.arrays.now[0] = 1 - self.arrays.now[0]

    def _observation(self) -> Observation:
        """This step's observations: the rows themselves, which the step after the next overwrites."""
        return {**self._rows[self.arrays.now[0]], "desired_goal": self._goal.clone()}
