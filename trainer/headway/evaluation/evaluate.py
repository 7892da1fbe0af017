"""Score a policy: every level of a split once, by level id, on any number of ranks, touching no training state."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import torch
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.envs import registry
from headway.envs.protocol import HasOthers, VectorEnv
from headway.evaluation.baselines import Actor
from headway.evaluation.intervals import wilson_interval

# Columns of the table of results, one row a level.
PLAYED, SUCCESS, COLLISION, SECONDS, TRAVELLED, SHORTEST, REWARD, JUDGED = range(8)


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
    spl: float  # success weighted by path length against the A* path (Anderson et al. 2018, arXiv 1807.06757), or NaN
    reward: float = math.nan  # mean total reward of an episode
    judged: bool = True  # whether the environment says what success is; else all three rates mean nothing

    def to_wire(self) -> dict[str, object]:
        """Plain numbers for JSON."""
        rates = {name: getattr(self, name) for name in ("success", "collision", "timeout")}
        return {
            "levels": self.levels,
            **{name: self._rate_to_wire(rate) for name, rate in rates.items()},
            "meanSeconds": _or_none(self.mean_seconds),
            "spl": _or_none(self.spl),
            "reward": _or_none(self.reward),
        }

    def _rate_to_wire(self, rate: Rate) -> dict[str, object] | None:
        return {"rate": rate.value, "interval": list(rate.interval)} if self.judged else None


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


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
    others: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Play this rank's share of the levels; float64 [levels, 8], zero where another rank plays."""
    slots = min(num_envs, math.ceil(levels / world))
    # Replays of earlier stages belong to training: here every level is of the stage that is asked for.
    alone = spec.curriculum.model_copy(update={"replay": 0.0})
    env = registry.make_vector_env(
        spec.model_copy(update={"curriculum": alone}), slots, rank * slots, split, threads, level_stride=slots * world
    )
    if others is not None and isinstance(env, HasOthers):
        env.drive_others(others)
    env.set_stage(stage)
    with closing(env):
        return _drive(actor, env, levels, rank * slots, slots * world, on_finished)


def _drive(
    actor: Actor, env: VectorEnv, levels: int, first: int, stride: int, on_finished: Callable[[int], None]
) -> Tensor:
    """Play the levels `first` to `first + num_envs - 1`, and every `stride`-th after each; see `play`."""
    slots = env.num_envs
    table = torch.zeros((levels, 8), dtype=torch.float64)
    level = first + torch.arange(slots)
    observation = env.reset()
    travelled = torch.zeros(slots, dtype=torch.float64)
    shortest = env.shortest_path_meters(level < levels)
    ended = torch.ones(slots, dtype=torch.bool)
    while bool((level < levels).any()):
        before = observation["achieved_goal"]
        step = env.step(actor(env, observation, ended))
        after = step.observation["achieved_goal"].clone()
        after[step.final_rows] = step.final_observation["achieved_goal"]
        travelled += torch.linalg.vector_norm(after - before, dim=1)
        ended = step.episodes.ended
        rows = ended & (level < levels)
        if bool(rows.any()):
            table[level[rows], PLAYED] = 1.0
            table[level[rows], SUCCESS] = step.episodes.success[rows].double()
            table[level[rows], COLLISION] = step.episodes.collision[rows].double()
            table[level[rows], SECONDS] = step.episodes.length[rows].double() * env.step_seconds
            table[level[rows], TRAVELLED] = travelled[rows]
            table[level[rows], SHORTEST] = shortest[rows]
            table[level[rows], REWARD] = step.episodes.total_reward[rows].double()
            table[level[rows], JUDGED] = float(env.knows_success)
            on_finished(int(rows.sum()))
        level = level + ended * stride
        travelled[ended] = 0.0
        shortest = torch.where(ended, env.shortest_path_meters(ended & (level < levels)), shortest)
        observation = step.observation
    return table


def summarise(table: Tensor) -> Scores:
    """Turn the whole table into scores. Raises ValueError if a level was not played exactly once."""
    if not bool((table[:, PLAYED] == 1.0).all()):
        raise ValueError("some levels were not played exactly once")
    levels = len(table)
    success = table[:, SUCCESS] > 0
    wins, hits = int(success.sum()), int(table[:, COLLISION].sum())
    weight = table[:, SHORTEST] / torch.maximum(table[:, SHORTEST], table[:, TRAVELLED])
    return Scores(
        levels=levels,
        success=Rate(wins, levels),
        collision=Rate(hits, levels),
        timeout=Rate(levels - wins - hits, levels),
        mean_seconds=float(table[success, SECONDS].mean()) if wins else math.nan,
        spl=float((success * weight).mean()),
        reward=float(table[:, REWARD].mean()),
        judged=bool((table[:, JUDGED] == 1.0).any()),
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
    others: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Scores:
    """Play levels 0 to `levels - 1` of `split` in stage `stage`, each once; the same scores on every rank.

    The result does not depend on `num_envs`, `world_size` or `threads`. With several ranks all must call this, and
    `sum_over_ranks` must add a float64 tensor up over them (`Group.sum_`). `on_finished` is told how many of this
    rank's levels have ended, each time that some have. `others`: the policy that drives other robots, where the spec
    lets the policy itself do it; without it a simple rule does.
    """
    table = play(actor, spec, stage, split, levels, num_envs, rank, world_size, threads, on_finished, others)
    return summarise(sum_over_ranks(table))
