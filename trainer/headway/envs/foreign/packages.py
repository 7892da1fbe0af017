"""Environments by id: which package brings them, and one message where it is missing or refuses its arguments."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces

from headway.errors import SpecError

ID_FIELD, KWARGS_FIELD = "train.env.gym.id", "train.env.gym.kwargs"

_ROBOTICS = "PointMaze|AntMaze|Fetch|HandReach|HandManipulate|Adroit|FrankaKitchen"
_MUJOCO = "Ant|HalfCheetah|Hopper|Humanoid|Inverted|Pusher|Reacher|Swimmer|Walker2d"
_HIGHWAY = "highway|merge|roundabout|parking|intersection|racetrack|exit|u-turn|two-way|lane-keeping"
# How ids begin -> (module that registers or carries them, what pip installs). The first that fits.
PACKAGES: Final[dict[str, tuple[str, str]]] = {
    r"headway/IrSim-": ("irsim", "ir-sim"),
    r"(MiniGrid|BabyAI)-": ("minigrid", "minigrid"),
    r"(LunarLander|BipedalWalker|CarRacing)": ("Box2D", "gymnasium[box2d]"),
    rf"({_ROBOTICS})": ("gymnasium_robotics", "gymnasium-robotics"),
    rf"({_MUJOCO})": ("mujoco", "gymnasium[mujoco]"),
    rf"({_HIGHWAY})-": ("highway_env", "highway-env"),
}


def _minigrid(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """See cells as one-hot vectors instead of numbers of kinds; the mission's text is left out."""
    from minigrid.wrappers import OneHotPartialObsWrapper

    env = OneHotPartialObsWrapper(env)
    cells = int(np.prod(env.observation_space["image"].shape))
    space = spaces.Dict({"cells": spaces.MultiBinary(cells), "direction": env.observation_space["direction"]})
    return gymnasium.wrappers.TransformObservation(
        env, lambda seen: {"cells": seen["image"].ravel(), "direction": seen["direction"]}, space
    )


# Module -> what its environments are wrapped in before their observations can be flattened.
WRAPPERS: Final[dict[str, Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]]]] = {"minigrid": _minigrid}


def make(name: str, kwargs: dict[str, Any], max_steps: int, field: str = KWARGS_FIELD) -> gymnasium.Env[Any, Any]:
    """Make an environment; `max_steps` 0 keeps its own limit. Raises SpecError: `field` for refused arguments."""
    module, pip = next((found for ids, found in PACKAGES.items() if re.match(ids, name)), ("", ""))
    limit = {"max_episode_steps": max_steps} if max_steps else {}
    try:
        if module:
            importlib.import_module(module)
        env = gymnasium.make(name, disable_env_checker=True, **limit, **kwargs)
    except gymnasium.error.UnregisteredEnv as error:
        raise SpecError(ID_FIELD, name, f"{_one_line(error)}: correct it, or name its module before a colon") from None
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        missing = pip or name.partition(":")[0]
        raise SpecError(ID_FIELD, name, f"needs {missing} ({_one_line(error)}): pip install '{missing}'") from None
    except SpecError:
        raise
    except Exception as error:  # whatever a constructor of somebody else's raises: it is about its arguments
        raise SpecError(field, kwargs, f"{name} refuses them: {type(error).__name__}: {_one_line(error)}") from None
    return WRAPPERS[module](env) if module in WRAPPERS else env


def stage_field(stage: str, kwargs: dict[str, Any]) -> str:
    """Where a stage's arguments stand: with the stage where it brings any, `kwargs`, of its own."""
    return f"train.curriculum.stages[{stage}].kwargs" if kwargs else KWARGS_FIELD


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
