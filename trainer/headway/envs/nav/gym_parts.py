"""What both Gymnasium faces of headway/Nav-v0 share: seeds, infos, rewards of other goals, state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from headway_api.nav_spec import NavEnv
from numpy.typing import NDArray
from torch import Tensor

from headway.envs.nav.judge import progress, reached
from headway.envs.nav.vector import NavVectorEnv
from headway.envs.protocol import Observation, Step

NUMBERS = 2**32  # of environments that differ


def environment_number(seed: int | None, generator: np.random.Generator) -> int:
    """Return the number of the environment that `reset(seed=...)` means; without a seed one is drawn."""
    return (seed if seed is not None else int(generator.integers(NUMBERS))) % NUMBERS


def infos(nav: NavEnv, step: Step, before: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return what each environment's `info` says of a step, a row each; `before` [N, 2]: where the robots were.

    `achieved_before` and `reward_besides_goal` (all terms but goal and progress) are what rewards of other goals need.
    """
    achieved, desired = (step.observation[name].numpy().copy() for name in ("achieved_goal", "desired_goal"))
    rows = step.final_rows.numpy()
    for array, name in ((achieved, "achieved_goal"), (desired, "desired_goal")):
        array[rows] = step.final_observation[name].numpy()
    success, collision = (facts.numpy().copy() for facts in (step.episodes.success, step.episodes.collision))
    of_goal = _progress(nav, before, achieved, desired) + nav.reward.goal * success
    return {
        "is_success": success,
        "is_collision": collision,
        "achieved_before": before.copy(),
        "reward_besides_goal": step.reward.numpy().astype(np.float64) - of_goal,
    }


def reward_for(nav: NavEnv, achieved: NDArray[Any], desired: NDArray[Any], info: Any) -> float | NDArray[np.float64]:
    """Return the reward of steps with other goals; float64 [B], or one number for one step."""
    before, besides, collision = (_told(info, k) for k in ("achieved_before", "reward_besides_goal", "is_collision"))
    arrived = _reached(nav, achieved, desired) & ~collision
    reward = besides + _progress(nav, before, achieved, desired) + nav.reward.goal * arrived
    return float(reward) if isinstance(info, Mapping) else reward


def terminated_for(nav: NavEnv, achieved: NDArray[Any], desired: NDArray[Any], info: Any) -> bool | NDArray[np.bool_]:
    """Return whether steps with other goals end their episodes; bool [B], or one for one step."""
    ended = _reached(nav, achieved, desired) | _told(info, "is_collision")
    return bool(ended) if isinstance(info, Mapping) else ended


def state_of(vector: NavVectorEnv) -> dict[str, NDArray[Any]]:
    """Return the state of a vector, and which environments it plays."""
    state = {name: tensor.numpy() for name, tensor in vector.get_state().items()}
    return state | {"number": np.array(vector.params.offset)}


def go_on(vector: NavVectorEnv, state: Mapping[str, NDArray[Any]]) -> Observation:
    """Restore `state_of`. Raises ValueError for a state of another environment."""
    if "number" not in state or not 0 <= int(state["number"]) < NUMBERS:
        raise ValueError("environment state number: it names no environment")
    vector.number_from(int(state["number"]))
    return vector.set_state({name: torch.from_numpy(np.asarray(state[name])) for name in vector.get_state()})


def _progress(nav: NavEnv, before: NDArray[Any], achieved: NDArray[Any], desired: NDArray[Any]) -> NDArray[np.float64]:
    return progress(nav, _wide(before), _wide(achieved), _wide(desired)).numpy()


def _reached(nav: NavEnv, achieved: NDArray[Any], desired: NDArray[Any]) -> NDArray[np.bool_]:
    return reached(nav, _wide(achieved), _wide(desired)).numpy()


def _wide(rows: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.asarray(rows, np.float64))


def _told(info: Any, name: str) -> NDArray[Any]:
    return np.asarray(info[name] if isinstance(info, Mapping) else [one[name] for one in info])
