"""Fields that say how a run learns on from where it is, and not what it is: they may change between two of its steps.

A branch (`checkpoint.resume` with another run's checkpoint) may have others of them, and population-based training
perturbs them. All else, shapes, levels, seeds, must be as the checkpoint has it.
"""

from __future__ import annotations

from collections.abc import Iterator
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
_OFF_POLICY: Final = ("learningRate", "batchSize", "gamma", "gradientSteps", "maxGradNorm")
_PRIORITIZED: Final = ("alpha", "beta", "epsilon")
_EXPLORATION: Final = ("start", "end", "steps")
_OWN: Final = {
    "ppo": _PPO,
    "pqn": ("learningRate", "minibatchSize", "epochs", "gamma", "qLambda", "maxGradNorm"),
    "dqn": (*_OFF_POLICY, "target.polyak.tau", "target.hard.everySteps"),
    "sac": (*_OFF_POLICY, "tau", "policyDelay", "targetEntropy"),
    "td3": (*_OFF_POLICY, "tau", "policyDelay", "targetNoise", "targetNoiseClip"),
}


def _paths() -> Iterator[str]:
    for algo, names in _OWN.items():
        yield from (f"train.algo.{algo}.{name}" for name in names)
    for algo in ("dqn", "pqn", "td3"):
        yield from (f"train.algo.{algo}.exploration.{name}" for name in _EXPLORATION)
    for algo in ("dqn", "sac", "td3"):
        yield from (f"train.algo.{algo}.replay.prioritized.{name}" for name in _PRIORITIZED)
    yield from (f"train.env.nav.reward.{name}" for name in _REWARD)


STEERING: Final = frozenset(_paths())
