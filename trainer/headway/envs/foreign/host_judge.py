"""Steps judged for other goals by a foreign environment's own `compute_reward`, in this process, with NumPy.

The workers' environments are busy; this one is never stepped: reset twice, for goals to try `compute_reward` with, and
then only asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from headway.envs.foreign.packages import ID_FIELD
from headway.envs.foreign.pool import EnvironmentCrashError
from headway.errors import SpecError

Env = gymnasium.Env[Any, Any]
Rows = NDArray[Any]  # [B, ...] goals in the environment's own shape and type
# (achieved, wanted, reward float64 [B]) to whether the goal ends the episode, bool [B].
Ends = Callable[[Rows, Rows, NDArray[np.float64]], NDArray[np.bool_]]

# How ids begin -> whether a reward [B] is that of a goal that ends the episode, where no `compute_terminated` says so.
ARRIVALS: Final[dict[str, Callable[[Env, NDArray[np.float64]], NDArray[np.bool_]]]] = {
    # What highway-env's ParkingEnv._is_success says, without calling what is private.
    "parking-": lambda env, reward: reward > -env.unwrapped.config["success_goal_reward"],  # type: ignore[attr-defined]
}
WITHOUT: Final = "or leave hindsight out"


class HostJudge:
    """What one instance says by `compute_reward` and, where it has that, `compute_terminated`."""

    def __init__(self, env: Env, name: str) -> None:
        """Raises SpecError where `compute_reward` does not take many goals at once or asks for more than goals."""
        self._env, self._name = env, name
        seen = env.observation_space
        assert isinstance(seen, spaces.Dict)  # who has goals has a dictionary: see `Codec`
        self._spaces = seen["achieved_goal"], seen["desired_goal"]
        if not all(isinstance(space, spaces.Box) for space in self._spaces):
            fix = f"its goals are {self._spaces[1]}: only those of a Box can be judged: wrap it, {WITHOUT}"
            raise SpecError(ID_FIELD, name, fix)
        self._compute = env.get_wrapper_attr("compute_reward")
        tried = self._trial()
        if not self._takes_batches("compute_reward", *tried):
            raise self._takes_no_batches()
        self._ends, self.by_rows = self._find_ends(*tried)

    def __call__(self, before: Tensor, achieved: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """See `envs.protocol.Judge`; before [B, G] is not asked for.

        Raises EnvironmentCrashError if the environment raises, SpecError for a reward that is no finite number.
        """
        rows = self._rows(achieved, self._spaces[0]), self._rows(goal, self._spaces[1])
        with self._crashing("compute_reward"):
            reward = np.asarray(self._compute(*rows, _infos(len(goal))), np.float64)
        if reward.shape != (len(goal),):
            raise self._takes_no_batches()
        wrong = np.flatnonzero(~np.isfinite(reward.astype(np.float32)))
        if len(wrong):
            fix = f"its compute_reward gives {reward[wrong[0]]} for the goal {rows[1][wrong[0]].tolist()}: mend it"
            raise SpecError(ID_FIELD, self._name, fix)
        with self._crashing("compute_terminated"):
            ended = self._ends(*rows, reward)
        return torch.from_numpy(reward.astype(np.float32)).to(goal.device), torch.from_numpy(ended).to(goal.device)

    def close(self) -> None:
        """Close the environment; also a second time."""
        self._env.close()

    def _trial(self) -> tuple[Rows, Rows]:
        """Goals of two episodes, achieved and wanted ones: two steps on the way, and one that has arrived."""
        seen = [self._env.reset(seed=seed)[0] for seed in (0, 1)]
        achieved, wanted = ([one[key] for one in seen] for key in ("achieved_goal", "desired_goal"))
        return np.stack([*achieved, wanted[0]]), np.stack([*wanted, wanted[0]])

    def _takes_batches(self, what: str, achieved: Rows, wanted: Rows) -> bool:
        """Whether its function of that name gives for all rows at once what it gives one by one. Raises SpecError."""
        function = self._env.get_wrapper_attr(what)
        try:
            single = _singly(function, achieved, wanted)
        except Exception as error:  # somebody else's code: most likely it reads what a step's info says
            told = f"{type(error).__name__}: {error}"
            fix = f"its {what} needs more than goals ({told}): let it do with an empty info, {WITHOUT}"
            raise SpecError(ID_FIELD, self._name, fix) from None
        try:
            batch = np.asarray(function(achieved, wanted, _infos(len(wanted))), np.float64)
        except Exception:  # written for one step
            return False
        return batch.shape == single.shape and np.allclose(batch, single, rtol=1e-5, atol=1e-6, equal_nan=True)

    def _find_ends(self, achieved: Rows, wanted: Rows) -> tuple[Ends, bool]:
        """How to tell that a goal ends the episode, and whether that is asked a row at a time."""
        if self._env.has_wrapper_attr("compute_terminated"):
            ends = self._env.get_wrapper_attr("compute_terminated")
            if self._takes_batches("compute_terminated", achieved, wanted):
                return lambda a, w, _: np.asarray(ends(a, w, _infos(len(w))), np.bool_), False
            # PointMaze's takes one norm over all rows and gives one answer. A row of its own costs 3 us.
            return lambda a, w, _: _singly(ends, a, w) != 0, True
        arrived = next((rule for ids, rule in ARRIVALS.items() if re.match(ids, plain(self._name))), None)
        if arrived is None:
            return lambda a, w, _: np.zeros(len(w), np.bool_), False  # no goal ends its episodes
        return lambda a, w, reward: np.asarray(arrived(self._env, reward)), False

    def _rows(self, goals: Tensor, space: spaces.Space[Any]) -> Rows:
        """From flat rows [B, G] to the environment's own shape and type; as `spaces.flatten` made them."""
        assert space.shape is not None
        return goals.detach().cpu().numpy().astype(space.dtype).reshape(len(goals), *space.shape)

    def _takes_no_batches(self) -> SpecError:
        fix = "its compute_reward takes no batches (goals [B, G] to rewards [B]), so hindsight cannot be used with it: "
        return SpecError(ID_FIELD, self._name, f"{fix}mend it, {WITHOUT}")

    @contextmanager
    def _crashing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            summary = f"{type(error).__name__}: {error}"
            raise EnvironmentCrashError(
                f"{self._name}, asked about other goals: its {what} raises {summary}"
            ) from error


def plain(name: str) -> str:
    """An id without the module that registers it."""
    return name.rpartition(":")[2]


def _infos(count: int) -> list[dict[str, Any]]:
    """What Stable-Baselines3's HER gives as infos, which is what batches are written for; single steps get one."""
    return [{} for _ in range(count)]


def _singly(function: Callable[..., Any], achieved: Rows, wanted: Rows) -> NDArray[np.float64]:
    return np.array([function(*pair, {}) for pair in zip(achieved, wanted, strict=True)], np.float64)
