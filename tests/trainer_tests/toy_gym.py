"""A Gymnasium environment for tests of foreign ones: it counts, and fails in every way that is asked for."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

ID = "trainer_tests.toy_gym:Toy-v0"  # Gymnasium imports what stands before the colon
JUDGING = "trainer_tests.toy_gym:Judging-v0"
BOX = spaces.Box(-np.inf, np.inf, (3,), np.float64)
TALL = spaces.Box(-100, 100, (3, 1), np.int64)
SPACES = {
    "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
    "text": spaces.Dict({"words": spaces.Text(8)}),
    "dict": spaces.Dict({"a": spaces.Discrete(3, start=1), "b": spaces.MultiBinary(2)}),
    "choice": spaces.Dict(
        {"observation": BOX, "achieved_goal": spaces.Discrete(3), "desired_goal": spaces.Discrete(3)}
    ),
    "tall": spaces.Dict({"observation": BOX} | dict.fromkeys(("achieved_goal", "desired_goal"), TALL)),
    "goal": spaces.Dict({key: BOX for key in ("observation", "achieved_goal", "desired_goal")}),
}
ACTIONS = {
    "box": spaces.Box(np.array([0.0, -4.0]), np.array([2.0, 4.0]), dtype=np.float64),
    "discrete": spaces.Discrete(3, start=5),
    "unbounded": spaces.Box(-np.inf, np.inf, (1,)),
    "wide": spaces.Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (1,)),
    "binary": spaces.MultiBinary(2),
}


class Toy(gymnasium.Env[Any, Any]):
    """Episodes last `length` steps and are truncated, or terminated where `wins`. It sees seed, step and length."""

    def __init__(
        self,
        length: int = 3,
        sees: str = "",
        acts: str = "box",
        wins: bool | None = None,
        fault: str = "",
        greets: str = "",
        pid: str = "",
    ) -> None:
        if greets:
            print(greets)
        if length < 1:
            raise ValueError(f"length {length} is no length")
        self.length, self.sees, self.wins, self.fault, self.pid = length, sees, wins, fault, pid
        self.steps = 0
        self.observation_space = SPACES.get(sees, BOX)
        self.action_space = ACTIONS[acts]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seed, self.count = seed, 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        if self.fault == "raise":
            raise ArithmeticError("the wheel came off")
        if self.fault == "die":
            os._exit(7)
        self.steps += 1
        while self.fault == "hang" and self.steps == 12:
            Path(self.pid).write_text(str(os.getpid()))
            time.sleep(1.0)
        self.count += 1
        over = self.count == self.length
        info = {} if self.wins is None else {"is_success": self.wins and over, "crashed": not self.wins and over}
        reward = math.nan if self.fault == "no reward" else float(np.sum(action))
        return self._observation(), reward, over and self.wins is not None, over and self.wins is None, info

    def _observation(self) -> Any:
        row = np.array([float(self.seed or 0), self.count, self.length])
        if self.fault == "no observation" and self.count:
            row[1] = math.inf
        if self.sees == "dict":
            return {"a": 1 + self.count % 3, "b": np.array([0, 1], np.int8)}
        return {"observation": row, "achieved_goal": row, "desired_goal": -row} if self.sees == "goal" else row


class Judging(Toy):
    """A toy with goals that can be judged: by the distance of their first entries, times `scale`, or as `judges` says.

    Within `radius` a goal ends the episode, which `ends` says for "batches" or for "one" row; without it nothing does.
    """

    made: ClassVar[list[Judging]] = []  # in this process, in order

    def __init__(self, scale: float = 1.0, judges: str = "batches", ends: str = "", radius: float = 0.5, **toy: Any):
        super().__init__(sees=toy.pop("sees", "goal"), **toy)
        self.scale, self.judges, self.radius, self.closed = scale, judges, radius, 0
        if ends:
            self.compute_terminated = {"batches": self._ended, "one": self._one_ended, "info": self._told_ended}[ends]
        self.made.append(self)

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        if self.sees == "tall":
            assert achieved.dtype == desired.dtype == np.int64
            achieved, desired = achieved[..., 0], desired[..., 0]
        if self.judges == "one":
            return -float(np.linalg.norm(achieved - desired))
        if self.judges == "column" and achieved.ndim > 1:  # of the right shape, for as many rows as a goal has entries
            return -self.scale * np.abs(achieved[0] - desired[0])
        if self.judges == "no batches" and achieved.ndim > 1:
            raise ValueError("one step at a time")
        if self.judges == "info":
            return info["bonus"]
        reward = -self.scale * np.abs(achieved[..., 0] - desired[..., 0])
        if self.judges == "late":  # fails at goals that no episode has
            if np.any(desired[..., 0] == 77.0):
                raise ArithmeticError("the ruler broke")
            reward = np.where(desired[..., 0] == 99.0, np.nan, reward)
        return reward

    def close(self) -> None:
        self.closed += 1

    def _observation(self) -> Any:
        seen = super()._observation()
        if self.sees != "tall":
            return seen
        column = seen.astype(np.int64)[:, None]
        return {"observation": seen, "achieved_goal": column, "desired_goal": -column}

    def _ended(self, achieved: Any, desired: Any, info: Any) -> Any:
        return np.abs(achieved[..., 0] - desired[..., 0]) <= self.radius

    def _one_ended(self, achieved: Any, desired: Any, info: Any) -> bool:
        return bool(np.abs(achieved - desired).flat[0] <= self.radius)

    def _told_ended(self, achieved: Any, desired: Any, info: Any) -> Any:
        return info["bonus"]


gymnasium.register("Toy-v0", entry_point=Toy)
gymnasium.register("Judging-v0", entry_point=Judging)
