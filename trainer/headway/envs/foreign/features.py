"""What a network sees of a foreign environment's observation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from headway_api.curriculum_spec import Stage
from headway_api.gym_spec import GymEnv
from headway_api.nav_spec import NavEnv
from torch import Tensor

from headway.envs.foreign.spaces import Sizes
from headway.envs.nav.features import Features
from headway.envs.presets import filled
from headway.envs.protocol import FeatureLayout, Observation
from headway.errors import SpecError

IRSIM = "headway/IrSim-v0"
ROBOT = {"nav", "preset"}  # its arguments that say what a row means


class Featurise(Protocol):
    """A pure function of the rows given."""

    layout: FeatureLayout
    step_seconds: float  # simulated time between two decisions; NaN: nobody knows

    def __call__(self, observation: Observation) -> Tensor:
        """Float32 [N, F]."""
        ...


class Plain:
    """All entries in a row: the observation, and where there are goals the one reached and the one wanted."""

    step_seconds = math.nan

    def __init__(self, sizes: Sizes) -> None:
        self.layout = FeatureLayout(plain=sizes.observation + 2 * sizes.goal)

    def __call__(self, observation: Observation) -> Tensor:
        """Float32 [N, O + 2 G]."""
        return torch.cat([observation[name] for name in ("observation", "achieved_goal", "desired_goal")], dim=1)


def make_features(spec: GymEnv, stages: Sequence[Stage], sizes: Sizes) -> Featurise:
    """Of headway/IrSim-v0 a policy sees what it sees of headway/Nav-v0; of all others plain rows.

    Raises SpecError where a stage would change the robot: what a number in a row means is the same in all stages.
    """
    if spec.id == IRSIM:
        for stage in stages:
            if ROBOT & stage.kwargs.keys():
                fix = "nav and preset are for all stages: move them to train.env.gym.kwargs"
                raise SpecError(f"train.curriculum.stages[{stage.name}].kwargs", stage.kwargs, fix)
        return Features(robot_of(spec.kwargs))
    return Plain(sizes)


def robot_of(kwargs: Mapping[str, Any]) -> NavEnv:
    """What the arguments of one of our own environments say of robot, lidar and rewards."""
    nav, _ = filled(kwargs.get("preset"), kwargs.get("nav"), None)
    return NavEnv.model_validate(nav or {})
