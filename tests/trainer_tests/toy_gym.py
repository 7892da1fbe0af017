"""A Gymnasium environment for tests of foreign ones: it counts, and fails in every way that is asked for."""

from __future__ import annotations

import math
import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

ID = "trainer_tests.toy_gym:Toy-v0"  # Gymnasium imports what stands before the colon
BOX = spaces.Box(-np.inf, np.inf, (3,), np.float64)
SPACES = {
    "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
    "text": spaces.Dict({"words": spaces.Text(8)}),
    "dict": spaces.Dict({"a": spaces.Discrete(3, start=1), "b": spaces.MultiBinary(2)}),
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
        self, length: int = 3, sees: str = "", acts: str = "box", wins: bool | None = None, fault: str = ""
    ) -> None:
        if length < 1:
            raise ValueError(f"length {length} is no length")
        self.length, self.sees, self.wins, self.fault = length, sees, wins, fault
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


gymnasium.register("Toy-v0", entry_point=Toy)
