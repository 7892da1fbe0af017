"""The memory that off-policy algorithms learn from, in a spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headway_api.base import Contract, Float, Int, Rule, RuleInt, described


class Prioritized(Contract):
    """Draw what surprised more often (Schaul et al. 2016, arXiv 1511.05952)."""

    alpha: Float = described(
        0.6, "How much surprise counts: a transition is drawn by |TD error|^alpha; 0 is uniform.", ge=0.0, le=1.0
    )
    beta: Float = described(
        0.4, "How much importance weights correct for it at the beginning; grows evenly to 1 at totalSteps.",
        ge=0.0, le=1.0,
    )  # fmt: skip
    epsilon: Float = described(
        1e-4, "Added to every |TD error|, so that everything is drawn at some time.", gt=0.0, le=1.0
    )


class Hindsight(Contract):
    """Learn from what was reached as if it had been wanted (Andrychowicz et al. 2017, arXiv 1707.01495).

    For environments with goals: env.nav, and environments of others that have compute_reward.
    """

    strategy: Literal["future", "final", "episode", "random"] = described(
        "future",
        "Where goals come from: what was reached later in the episode, at its end, anywhere in it, or anywhere in the "
        "replay.",
    )
    goals: Int = described(
        4, "Relabelled transitions for each one with its own goal: k / (k + 1) of what is drawn.", ge=1, le=100
    )


class Replay(Contract):
    """The newest transitions, on the device that learns."""

    capacity: RuleInt = described(
        1_000_000, "Transitions that are kept, over all ranks; the checkpoint holds them.", ge=1, le=100_000_000
    )
    n_steps: RuleInt = described(
        1,
        "Rewards that are summed before the value of what follows is asked; fewer where an episode ends.",
        ge=1,
        le=100,
    )
    prioritized: Prioritized | None = Field(
        None, description="Draw by surprise, with importance weights; absent: uniformly."
    )
    hindsight: Hindsight | None = Field(
        None, description="Relabel goals; absent: never. Needs an environment with goals."
    )
    storage: Literal["device", "disk"] = described(
        "device",
        "Where observations lie: in the memory of the device that learns, or in a memory-mapped scratch file beside "
        "the run's output, for those larger than memory.",
    )


def batch_rule(algo: str) -> Rule:
    """A batch is drawn from the replay, and training does not begin before one is there."""
    return Rule(
        cel="self.batchSize <= self.replay.capacity",
        holds=lambda m: m.batch_size <= m.replay.capacity,
        message=f"{algo}.batchSize must not exceed replay.capacity: lower it, or raise the capacity",
        field="batchSize",
    )
