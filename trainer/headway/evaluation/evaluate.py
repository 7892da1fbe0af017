"""Score a policy: every level of a split once, by level id, on any number of ranks, touching no training state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.envs.nav.vector import NavVectorEnv
from headway.evaluation.baselines import Actor
from headway.evaluation.intervals import wilson_interval

# Columns of the table of results, one row a level.
PLAYED, SUCCESS, COLLISION, STEPS, TRAVELLED, SHORTEST = range(6)


@dataclass(frozen=True)
class Rate:
    """A share of the levels with its 95 % Wilson interval."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return wilson_interval(self.count, self.of)


@dataclass(frozen=True)
class Scores:
    """How a policy did on a set of levels."""

    levels: int
    success: Rate
    collision: Rate
    timeout: Rate
    mean_seconds: float  # of the successful episodes; NaN without one
    spl: float  # success weighted by path length against the A* path (Anderson et al. 2018, arXiv 1807.06757)

    def to_wire(self) -> dict[str, object]:
        """Plain numbers for JSON."""
        rates = {name: getattr(self, name) for name in ("success", "collision", "timeout")}
        return {
            "levels": self.levels,
            **{name: {"rate": r.value, "interval": list(r.interval)} for name, r in rates.items()},
            "meanSeconds": None if math.isnan(self.mean_seconds) else self.mean_seconds,
            "spl": self.spl,
        }


def play(
    actor: Actor,
    spec: TrainSpec,
    stage: int,
    split: str,
    levels: int,
    num_envs: int,
    rank: int,
    world: int,
    threads: int,
    on_finished: Callable[[int], None] = lambda levels: None,
) -> Tensor:
    """Play this rank's share of the levels; float64 [levels, 6], zero where another rank plays."""
    slots = min(num_envs, math.ceil(levels / world))
    # Replays of earlier stages belong to training: here every level is of the stage that is asked for.
    alone = spec.curriculum.model_copy(update={"replay": 0.0})
    env = NavVectorEnv(
        spec.model_copy(update={"curriculum": alone}), slots, rank * slots, split, threads, level_stride=slots * world
    )
    env.set_stage(stage)
    table = torch.zeros((levels, 6), dtype=torch.float64)
    level = rank * slots + torch.arange(slots)
    observation = env.reset()
    travelled = torch.zeros(slots, dtype=torch.float64)
    shortest = env.shortest_path_meters(level < levels)
    while bool((level < levels).any()):
        before = observation["achieved_goal"]
        step = env.step(actor(env, observation))
        after = step.observation["achieved_goal"].clone()
        after[step.final_rows] = step.final_observation["achieved_goal"]
        travelled += torch.linalg.vector_norm(after - before, dim=1)
        ended = step.episodes.ended
        rows = ended & (level < levels)
        if bool(rows.any()):
            table[level[rows], PLAYED] = 1.0
            table[level[rows], SUCCESS] = step.episodes.success[rows].double()
            table[level[rows], COLLISION] = step.episodes.collision[rows].double()
            table[level[rows], STEPS] = step.episodes.length[rows].double()
            table[level[rows], TRAVELLED] = travelled[rows]
            table[level[rows], SHORTEST] = shortest[rows]
            on_finished(int(rows.sum()))
        level = level + ended * (slots * world)
        travelled[ended] = 0.0
        shortest = torch.where(ended, env.shortest_path_meters(ended & (level < levels)), shortest)
        observation = step.observation
    return table


def summarise(table: Tensor, step_seconds: float, goal_radius: float) -> Scores:
    """Turn the whole table into scores. Raises ValueError if a level was not played exactly once."""
    if not bool((table[:, PLAYED] == 1.0).all()):
        raise ValueError("some levels were not played exactly once")
    levels = len(table)
    success = table[:, SUCCESS] > 0
    wins, hits = int(success.sum()), int(table[:, COLLISION].sum())
    # The A* path leads to the goal's centre, the robot need only come within the goal's radius.
    shortest = (table[:, SHORTEST] - goal_radius).clamp_min(1e-3)
    weight = shortest / torch.maximum(shortest, table[:, TRAVELLED])
    return Scores(
        levels=levels,
        success=Rate(wins, levels),
        collision=Rate(hits, levels),
        timeout=Rate(levels - wins - hits, levels),
        mean_seconds=float(table[success, STEPS].mean()) * step_seconds if wins else math.nan,
        spl=float((success * weight).mean()),
    )


def evaluate(
    actor: Actor,
    spec: TrainSpec,
    stage: int,
    split: str,
    levels: int,
    *,
    num_envs: int = 128,
    rank: int = 0,
    world_size: int = 1,
    threads: int = 1,
    sum_over_ranks: Callable[[Tensor], Tensor] = lambda table: table,
    on_finished: Callable[[int], None] = lambda levels: None,
) -> Scores:
    """Play levels 0 to `levels - 1` of `split` in stage `stage`, each once; the same scores on every rank.

    The result does not depend on `num_envs`, `world_size` or `threads`. With several ranks all must call this, and
    `sum_over_ranks` must add a float64 tensor up over them (`Group.sum_`). `on_finished` is told how many of this
    rank's levels have ended, each time that some have.
    """
    assert spec.env.nav is not None
    table = play(actor, spec, stage, split, levels, num_envs, rank, world_size, threads, on_finished)
    nav = spec.env.nav
    return summarise(sum_over_ranks(table), nav.step_seconds, nav.goal_radius_meters)
