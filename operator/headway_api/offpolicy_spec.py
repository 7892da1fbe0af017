"""Learning algorithms that learn from a replay, in a spec."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from headway_api.base import Contract, Float, Int, OneOf, RuleInt, described
from headway_api.replay_spec import Replay, batch_rule

LEARNING_STARTS: Final = 1_000


class Exploration(Contract):
    """A share that falls evenly from one value to another."""

    start: Float = described(1.0, "Share at the beginning.", ge=0.0, le=1.0)
    end: Float = described(0.05, "Share from `steps` on.", ge=0.0, le=1.0)
    steps: Int = described(100_000, "Environment steps over which it falls, over all ranks.", ge=0, le=10**12)


class OffPolicy(Contract):
    """What all algorithms with a replay share."""

    learning_rate: Float = described(3e-4, "Adam's step size.", gt=0.0, le=1.0)
    anneal_learning_rate: bool = described(False, "Lower the step size linearly to zero over totalSteps.")
    batch_size: RuleInt = described(256, "Transitions in one gradient step, over all ranks.", ge=1, le=4194304)
    gamma: Float = described(0.99, "Discount per step.", gt=0.0, le=1.0)
    learning_starts: RuleInt = described(
        LEARNING_STARTS, "Environment steps of random actions before the first gradient step, over all ranks.",
        ge=0, le=10**12,
    )  # fmt: skip
    train_every: Int = described(1, "Steps of each environment between two trainings.", ge=1, le=16384)
    gradient_steps: Int = described(1, "Gradient steps of each training.", ge=1, le=16384)
    update_steps: Int = described(
        5_000,
        "Environment steps, over all ranks, between two rows of metrics, at which a run can be saved, advanced and "
        "stopped; rounded up to a whole training.",
        ge=1,
        le=10**9,
    )
    max_grad_norm: Float = described(
        10.0, "Gradients are scaled down to this norm; 0 leaves them as they are.", ge=0.0, le=1000.0
    )


class HardTarget(Contract):
    """The target network is a copy, renewed now and then (Mnih et al. 2015)."""

    every_steps: Int = described(10_000, "Environment steps between two copies, over all ranks.", ge=1, le=10**9)


class PolyakTarget(Contract):
    """The target network follows at every gradient step (Lillicrap et al. 2016)."""

    tau: Float = described(0.005, "Share of the way that it goes.", gt=0.0, le=1.0)


class Target(OneOf):
    """How the target network follows: exactly one."""

    hard: HardTarget | None = Field(None, description="A copy now and then.")
    polyak: PolyakTarget | None = Field(None, description="A little at every gradient step.")


class Dqn(OffPolicy):
    """Q-learning with a deep network (Mnih et al. 2015), for discrete actions: one of n commands, as in env.nav."""

    batch_size: RuleInt = described(128, "Transitions in one gradient step, over all ranks.", ge=1, le=4194304)
    double: bool = described(
        True, "Let the online network choose the action whose value the target network tells (arXiv 1509.06461)."
    )
    dueling: bool = described(False, "Learn state values and advantages apart (arXiv 1511.06581).")
    exploration: Exploration = described(
        Exploration(), "Share of random actions; a stage of the curriculum may have its own: stages[].exploration."
    )
    target: Target = described(Target(hard=HardTarget()), "How the target network follows.")
    replay: Replay = described(Replay(), "What is learned from.")
    rules = (batch_rule("dqn"),)


class TwinCritics(OffPolicy):
    """What SAC and TD3 share."""

    max_grad_norm: Float = described(
        0.0, "Gradients are scaled down to this norm; 0 leaves them as they are.", ge=0.0, le=1000.0
    )
    tau: Float = described(
        0.005,
        "Share of the way that targets go: at every gradient step (sac), or at the policy's (td3).",
        gt=0.0,
        le=1.0,
    )
    policy_delay: Int = described(1, "Gradient steps of the critics for each of the policy.", ge=1, le=100)
    replay: Replay = described(Replay(), "What is learned from.")


class Sac(TwinCritics):
    """Soft actor-critic with twin critics and automatic temperature (Haarnoja et al. 2018, arXiv 1812.05905)."""

    temperature: Float = described(
        1.0, "Weight of the entropy at the beginning; kept if autoTemperature is off.", gt=0.0, le=1000.0
    )
    auto_temperature: bool = described(True, "Learn the temperature, so that the entropy meets targetEntropy.")
    target_entropy: Float | None = Field(
        None,
        ge=-1000.0,
        le=1000.0,
        description="What the entropy is to be; absent: minus the number of action entries.",
    )
    rules = (batch_rule("sac"),)


class Td3(TwinCritics):
    """Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, arXiv 1802.09477)."""

    policy_delay: Int = described(2, "Gradient steps of the critics for each of the policy.", ge=1, le=100)
    exploration: Exploration = described(
        Exploration(start=0.1, end=0.1, steps=0),
        "Standard deviation of the noise on actions, of entries in [-1, 1].",
    )
    target_noise: Float = described(
        0.2, "Standard deviation of the noise on the target policy's actions.", ge=0.0, le=2.0
    )
    target_noise_clip: Float = described(0.5, "That noise is cut off here.", ge=0.0, le=2.0)
    rules = (batch_rule("td3"),)


class Pqn(Contract):
    """Parallelised Q-network (Gallici et al. 2025, arXiv 2407.04811): Q(lambda), no replay, no target network.

    For many environments in parallel and discrete actions. Its networks are normalised: network.mlp.layerNorm.
    """

    learning_rate: Float = described(3e-4, "RAdam's step size.", gt=0.0, le=1.0)
    anneal_learning_rate: bool = described(False, "Lower the step size linearly to zero over totalSteps.")
    rollout_steps: RuleInt = described(32, "Steps of each environment between two updates.", ge=1, le=16384)
    minibatch_size: RuleInt = described(2048, "Transitions in one gradient step, over all ranks.", ge=1, le=4194304)
    epochs: Int = described(2, "Passes over each rollout.", ge=1, le=100)
    gamma: Float = described(0.99, "Discount per step.", gt=0.0, le=1.0)
    q_lambda: Float = described(0.65, "Lambda of the returns.", ge=0.0, le=1.0)
    exploration: Exploration = described(
        Exploration(), "Share of random actions; a stage of the curriculum may have its own: stages[].exploration."
    )
    max_grad_norm: Float = described(10.0, "Gradients are scaled down to this norm.", gt=0.0, le=1000.0)
