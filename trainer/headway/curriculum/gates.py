"""What opens a gate and what closes one again: pure functions of integer counts.

Counts are integers, added up over ranks, so that any split over ranks decides alike. Rewards are summed in whole
millionths for the same reason: floating-point sums depend on their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from headway_api.curriculum_spec import Demotion, Gate
from torch import Tensor

from headway.evaluation.intervals import wilson_interval

MILLIONTHS = 1_000_000
# Beyond this an episode's total reward counts as this much: 100,000 of them still add up inside an int64.
LARGEST_REWARD = 1e7


def in_millionths(reward: Tensor) -> Tensor:
    """Total rewards in whole millionths, int64, at most `LARGEST_REWARD` either way; not a number is the least."""
    kept = torch.nan_to_num(reward.double(), nan=-LARGEST_REWARD).clamp(-LARGEST_REWARD, LARGEST_REWARD)
    return (kept * MILLIONTHS).round().long()


@dataclass(frozen=True)
class Counts:
    """What the windows of all ranks hold, summed."""

    successes: int
    episodes: int  # in the windows: at most gate.episodes
    in_stage: int  # all fresh ones that began and ended in the stage
    collisions: int = 0
    reward: int = 0  # millionths

    @property
    def success_rate(self) -> float:
        """Share of successes; 0 without episodes."""
        return self.successes / self.episodes if self.episodes else 0.0

    @property
    def collision_rate(self) -> float:
        """Share of collisions; 0 without episodes."""
        return self.collisions / self.episodes if self.episodes else 0.0

    @property
    def mean_reward(self) -> float:
        """Mean total reward of an episode; 0 without episodes. The quotient of two whole numbers, rounded once."""
        return self.reward / (self.episodes * MILLIONTHS) if self.episodes else 0.0

    def success_bounds(self, confidence: float) -> tuple[float, float]:
        """Wilson interval of the success rate."""
        return wilson_interval(self.successes, self.episodes, confidence)

    def collision_bounds(self, confidence: float) -> tuple[float, float]:
        """Wilson interval of the collision rate."""
        return wilson_interval(self.collisions, self.episodes, confidence)


def holds(gate: Gate, counts: Counts) -> bool:
    """Say whether the window is full and every criterion that is set holds."""
    return (
        counts.episodes >= gate.episodes
        and counts.success_bounds(gate.confidence)[0] >= gate.success_rate
        and counts.collision_bounds(gate.confidence)[1] <= gate.collision_rate
        and (gate.reward is None or counts.mean_reward >= gate.reward)
    )


def has_fallen(demotion: Demotion, gate: Gate, counts: Counts) -> bool:
    """Say whether the window is full and the success rate surely lies below what demotes."""
    return counts.episodes >= gate.episodes and counts.success_bounds(gate.confidence)[1] < demotion.success_rate


def metrics(gate: Gate, counts: Counts) -> dict[str, float]:
    """Return the gate's figures; rates and means only where there are episodes."""
    figures = {"curriculum/gate_episodes": float(counts.episodes)}
    if counts.episodes:
        figures |= {
            "curriculum/gate_success_rate": counts.success_rate,
            "curriculum/gate_collision_rate": counts.collision_rate,
            "curriculum/gate_reward": counts.mean_reward,
        }
    return figures | {
        "curriculum/gate_lower_bound": counts.success_bounds(gate.confidence)[0],
        "curriculum/gate_collision_bound": counts.collision_bounds(gate.confidence)[1],
    }
