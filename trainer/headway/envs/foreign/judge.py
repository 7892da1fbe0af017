"""Which judge a foreign environment has for its steps, `envs.protocol.Judge`: its own `compute_reward`, or ours."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, Final

from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.envs.foreign.features import IRSIM, robot_of
from headway.envs.foreign.host_judge import HostJudge, plain
from headway.envs.foreign.packages import make, stage_field
from headway.envs.nav.judge import NavJudge
from headway.envs.protocol import Judge
from headway.errors import SpecError

log = logging.getLogger("headway")

OURS: Final = (IRSIM, "headway/Nav-v0")  # their own `compute_reward`, where there is one, asks for a step's info


class StageJudge:
    """The judge of the stage that `set_stage` names. See `envs.protocol.Judge`."""

    def __init__(self, judges: Sequence[Judge], stage: int) -> None:
        """`judges`: one for each stage; stages may share theirs."""
        self._judges, self._stage = judges, stage

    def set_stage(self, stage: int) -> None:
        """Judge as this stage does from now on."""
        self._stage = stage

    def __call__(self, before: Tensor, achieved: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward float32 [B] and termination bool [B]; `before`, `achieved`, `goal` float32 [B, G]."""
        return self._judges[self._stage](before, achieved, goal)

    def close(self) -> None:
        """Close the environments that are asked."""
        for judge in self._judges:
            if isinstance(judge, HostJudge):
                judge.close()


def make_judge(spec: TrainSpec, stage: int) -> StageJudge | None:
    """Make what judges steps of `spec.env.gym`; None: it computes no rewards.

    All stages are made and tried now, so that none is refused in the middle of a run; equal arguments share one.
    Raises SpecError where it cannot be used for many goals at once.
    """
    assert spec.env.gym is not None
    gym, stages = spec.env.gym, spec.curriculum.stages
    arguments = [gym.kwargs | one.kwargs for one in stages]
    if plain(gym.id) in OURS:
        return StageJudge([NavJudge(robot_of(kwargs)) for kwargs in arguments], stage)
    made: list[HostJudge] = []
    for k, kwargs in enumerate(arguments):
        same = arguments.index(kwargs)
        judge = made[same] if same < k else _ask(gym.id, kwargs, stage_field(stages[k].name, stages[k].kwargs))
        if judge is None:
            return None
        made.append(judge)
    by_rows = ", its compute_terminated a row at a time" if made[0].by_rows else ""
    log.info("%s: rewards of relabelled goals are computed on the host by its own compute_reward%s", gym.id, by_rows)
    return StageJudge(made, stage)


def _ask(name: str, kwargs: dict[str, Any], field: str) -> HostJudge | None:
    with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):  # as silent as in a worker
        env = make(name, kwargs, 0, field)
    if not env.has_wrapper_attr("compute_reward"):
        env.close()
        return None
    try:
        return HostJudge(env, name)
    except SpecError:
        env.close()
        raise
