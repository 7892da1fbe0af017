"""The rows of benchmarks/zoo.py: tasks, what was published, and what each side trains with.

SB3's settings are rl-baselines3-zoo's own (hyperparams/*.yml at 22e3ff2). Ours are the same where our spec has words
for them, but that our step size falls to zero, so that the last policy is not a matter of luck; chosen on seeds from
101 on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Wire = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    env: str
    published: float  # mean return in the zoo's table, a single run
    steps: int
    algo: Wire  # of a TrainSpec
    hidden: tuple[int, ...]
    sb3: tuple[str, Wire] | None  # the class and its arguments; None: one run takes over half an hour
    envs: int = 1
    sb3_envs: int = 1
    kwargs: Wire = field(default_factory=dict)
    note: str = ""


def _exploration(steps: int, share: float, end: float) -> Wire:
    return {"start": 1.0, "end": end, "steps": round(steps * share)}


def _dqn(steps: int, share: float, end: float, target: int, capacity: int, **own: Any) -> Wire:
    """What the zoo's DQN rows have in words of ours."""
    return {
        "dqn": {
            "updateSteps": 2000, "annealLearningRate": True, "double": False, "replay": {"capacity": capacity},
            "exploration": _exploration(steps, share, end),
            "target": {"hard": {"everySteps": target}}, **own,
        }
    }  # fmt: skip


def _sb3_dqn(share: float, end: float, target: int, capacity: int, **own: Any) -> tuple[str, Wire]:
    return "DQN", {
        "exploration_fraction": share, "exploration_final_eps": end, "target_update_interval": target,
        "buffer_size": capacity, "policy_kwargs": {"net_arch": [256, 256]}, **own,
    }  # fmt: skip


def _sac(starts: int, rate: float, **own: Any) -> Wire:
    """SAC over eight environments: two gradient steps for eight environment steps, where the zoo makes eight."""
    common = {"batchSize": 256, "learningStarts": starts, "learningRate": rate, "gradientSteps": 2, "updateSteps": 4000}
    return {"sac": common | own}


def _alike(env: str, published: float, **about: Any) -> Row:
    """Acrobot and LunarLander, which the zoo gives the same settings."""
    ours = {"learningRate": 6.3e-4, "batchSize": 128, "learningStarts": 0, "trainEvery": 4, "gradientSteps": 4}
    theirs = {"learning_rate": 6.3e-4, "batch_size": 128, "learning_starts": 0, "gamma": 0.99, "train_freq": 4}
    return Row(
        env, published, 100_000, _dqn(100_000, 0.12, 0.1, 250, 50_000, **ours), (256, 256),
        _sb3_dqn(0.12, 0.1, 250, 50_000, gradient_steps=-1, **theirs), **about,
    )  # fmt: skip


HINDSIGHT: Final = {"hindsight": {"strategy": "future", "goals": 4}}

ROWS: Final[dict[str, Row]] = {
    "cartpole-dqn": Row(
        "CartPole-v1", 500.0, 50_000,
        _dqn(50_000, 0.16, 0.04, 10, 100_000, learningRate=2.3e-3, batchSize=64, learningStarts=1000, trainEvery=256,
             gradientSteps=128),
        (256, 256),
        _sb3_dqn(0.16, 0.04, 10, 100_000, learning_rate=2.3e-3, batch_size=64, learning_starts=1000, gamma=0.99,
                 train_freq=256, gradient_steps=128),
    ),
    "acrobot-dqn": _alike("Acrobot-v1", -76.6),
    "mountaincar-dqn": Row(
        "MountainCar-v0", -100.8, 120_000,
        _dqn(120_000, 0.2, 0.07, 600, 10_000, learningRate=4e-3, batchSize=128, learningStarts=1000, gamma=0.98,
             trainEvery=16, gradientSteps=8),
        (256, 256),
        _sb3_dqn(0.2, 0.07, 600, 10_000, learning_rate=4e-3, batch_size=128, learning_starts=1000, gamma=0.98,
                 train_freq=16, gradient_steps=8),
    ),
    "lunarlander-dqn": _alike("LunarLander-v3", 154.4, note="published on LunarLander-v2"),
    "lunarlander-ppo": Row(
        "LunarLander-v3", 242.1, 1_000_000,
        {"ppo": {"rolloutSteps": 1024, "minibatchSize": 64, "gaeLambda": 0.98, "gamma": 0.999, "epochs": 4,
                 "entropyCoef": 0.01, "targetKl": 0.0, "normalizeValues": True}},
        (64, 64),
        ("PPO", {"n_steps": 1024, "batch_size": 64, "gae_lambda": 0.98, "gamma": 0.999, "n_epochs": 4,
                 "ent_coef": 0.01}),
        envs=16, sb3_envs=16, note="published on LunarLander-v2",
    ),
    "pendulum-sac": Row(
        "Pendulum-v1", -157.0, 20_000,
        {"sac": {"learningRate": 1e-3, "learningStarts": 300, "updateSteps": 2000}},
        (256, 256),
        ("SAC", {"learning_rate": 1e-3}),
    ),
    "lunarlander-sac": Row(
        "LunarLanderContinuous-v3", 260.4, 500_000,
        _sac(10_000, 7.3e-4, tau=0.01, annealLearningRate=True), (400, 300), None, envs=8,
        note="published on LunarLanderContinuous-v2",
    ),
    "parking-her": Row(
        "parking-v0", -6.8, 100_000, _sac(1000, 1e-3, gamma=0.95, tau=0.05, replay=HINDSIGHT), (256, 256), None, envs=8,
        note="published without walls",
    ),
    "pointmaze-her": Row(
        "PointMaze_UMaze-v3", float("nan"), 100_000, _sac(1000, 1e-3, gamma=0.98, tau=0.05, replay=HINDSIGHT),
        (256, 256), None, envs=8, kwargs={"continuing_task": False},
    ),
    "pointmaze-sac": Row(
        "PointMaze_UMaze-v3", float("nan"), 100_000, _sac(1000, 1e-3, gamma=0.98, tau=0.05),
        (256, 256), None, envs=8, kwargs={"continuing_task": False}, note="without hindsight",
    ),
}  # fmt: skip
