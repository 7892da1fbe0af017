"""When to go on to the next stage: pure state in, counts in, state and event out.

The gate asks for confidence: the Wilson lower bound of the success rate over the newest `gate.episodes` episodes that
began in the current stage (replays of earlier stages never count). The newest episodes of the whole vector would favour
short ones: right after a stage begins, quick crashes and quick successes end first and long episodes have not ended
yet. So each environment contributes an equal number of its own newest episodes (to within one), and the gate waits
until every one of them has. Counts are integers, summed over ranks once an update: any split over ranks gives the
same decision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from headway_api.curriculum_spec import Curriculum, Gate
from headway_api.progress import CurriculumProgress
from torch import Tensor

from headway.envs.protocol import EpisodeEnds
from headway.evaluation.intervals import wilson_interval


@dataclass(frozen=True)
class CurriculumState:
    """Everything that later decisions depend on, besides the windows of the environments."""

    stage: int = 0
    passed: bool = False  # the last stage's gate has passed; `stage` stays at the last one
    streak: int = 0  # updates in a row at which the gate held
    advanced_at: int = 0  # environment step at which the stage began


@dataclass(frozen=True)
class Counts:
    """What the windows of all ranks hold, summed."""

    successes: int
    episodes: int  # in the windows: at most gate.episodes
    in_stage: int  # all that began and ended in the stage


@dataclass(frozen=True)
class StagePassed:
    """A gate has opened."""

    stage: int
    name: str
    step: int
    success_rate: float
    lower_bound: float

    def __str__(self) -> str:
        rates = f"success {self.success_rate:.3f}, at least {self.lower_bound:.3f}"
        return f"stage {self.stage + 1}, {self.name}, passed at step {self.step}: {rates}"


def advance(
    spec: Curriculum, state: CurriculumState, counts: Counts, step: int
) -> tuple[CurriculumState, StagePassed | None]:
    """Decide after one update at environment step `step`; one stage at a time, never back."""
    if state.passed:
        return state, None
    gate = spec.stages[state.stage].gate
    bound = lower_bound(gate, counts)
    holds = counts.episodes >= gate.episodes and bound >= gate.success_rate
    streak = state.streak + 1 if holds else 0
    if streak < gate.updates:
        return replace(state, streak=streak), None
    rate = counts.successes / counts.episodes
    event = StagePassed(state.stage, spec.stages[state.stage].name, step, rate, bound)
    if state.stage + 1 == len(spec.stages):
        return replace(state, passed=True, streak=0), event
    return CurriculumState(stage=state.stage + 1, advanced_at=step), event


def progress(spec: Curriculum, state: CurriculumState, counts: Counts) -> CurriculumProgress:
    """Say where the curriculum stands, for people and `status`."""
    rate = {"success_rate": counts.successes / counts.episodes} if counts.episodes else {}  # left out, never null
    return CurriculumProgress(
        **rate,
        stage=state.stage + 1,
        stage_name=spec.stages[state.stage].name,
        stages=len(spec.stages),
        episodes_in_stage=counts.in_stage,
        advanced_at=state.advanced_at,
        passed=state.passed,
    )


def metrics(spec: Curriculum, stage: int, counts: Counts) -> dict[str, float]:
    """Return the gate's figures of `stage` as metrics."""
    rate = counts.successes / counts.episodes if counts.episodes else 0.0
    return {
        "curriculum/stage": float(stage + 1),
        "curriculum/gate_episodes": float(counts.episodes),
        "curriculum/gate_success_rate": rate,
        "curriculum/gate_lower_bound": lower_bound(spec.stages[stage].gate, counts),
    }


def lower_bound(gate: Gate, counts: Counts) -> float:
    """Lower end of the gate's Wilson interval of the success rate."""
    return wilson_interval(counts.successes, counts.episodes, gate.confidence)[0]


class GateWindow:
    """The newest outcomes of each of this rank's environments, in the current stage."""

    def __init__(self, total_envs: int, offset: int, num_envs: int) -> None:
        self.env_index = torch.arange(offset, offset + num_envs)  # [N] global
        self.total_envs = total_envs
        self.begin(stage=0, episodes=0)

    def begin(self, stage: int, episodes: int) -> None:
        """Forget all and count episodes of `stage`; the windows of all ranks hold `episodes` together."""
        self.stage = stage
        # Environment i keeps one more than environment j > i where the episodes do not divide evenly.
        self.quota = (episodes + self.total_envs - 1 - self.env_index) // self.total_envs  # [N]
        self.outcome = torch.zeros(len(self.env_index), -(-episodes // self.total_envs), dtype=torch.uint8)  # [N, K]
        self.ended = torch.zeros(len(self.env_index), dtype=torch.int64)  # [N] episodes of the stage so far

    def add(self, ends: EpisodeEnds) -> None:
        """Take in one step's ends: the successes of episodes that began in the stage."""
        rows = (ends.ended & (ends.stage == self.stage)).nonzero().squeeze(-1)
        kept = rows[self.quota[rows] > 0]
        self.outcome[kept, self.ended[kept] % self.quota[kept]] = ends.success[kept].to(torch.uint8)
        self.ended[rows] += 1

    def counts(self) -> Tensor:
        """This rank's share of `Counts`, int64 [3]: successes, episodes in the windows, episodes in the stage."""
        return torch.stack((self.outcome.sum(), torch.minimum(self.ended, self.quota).sum(), self.ended.sum()))

    def get_state(self) -> dict[str, Tensor]:
        """The windows, each tensor with one row for each environment."""
        return {"outcome": self.outcome, "ended": self.ended}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called, after `begin`. Raises ValueError if the tensors do not fit."""
        for name, tensor in self.get_state().items():
            if name not in state or state[name].shape != tensor.shape or state[name].dtype != tensor.dtype:
                raise ValueError(f"the gate's window {name!r} is missing or of another shape or type")
        if bool((state["outcome"] > 1).any()) or bool((state["ended"] < 0).any()):
            raise ValueError("the gate's window holds a number that no episode has")
        for name, tensor in self.get_state().items():
            tensor.copy_(state[name])
