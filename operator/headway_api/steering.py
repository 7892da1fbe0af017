"""Fields that say how a run learns on from where it is, and not what it is: they may change between two of its steps.

A branch (`checkpoint.resume` with another run's checkpoint) may have others of them, and population-based training
perturbs them. All else, shapes, levels, seeds, must be as the checkpoint has it.
"""

from __future__ import annotations

from typing import Final

_PPO: Final = (
    "learningRate",
    "minibatchSize",
    "epochs",
    "gamma",
    "gaeLambda",
    "clipRange",
    "entropyCoef",
    "valueCoef",
    "maxGradNorm",
    "targetKl",
)
_REWARD: Final = (
    "goal",
    "collision",
    "step",
    "progress",
    "proximity",
    "proximityMeters",
    "near",
    "nearMeters",
    "smoothness",
)
STEERING: Final = frozenset(
    {*(f"train.algo.ppo.{name}" for name in _PPO), *(f"train.env.nav.reward.{name}" for name in _REWARD)}
)
