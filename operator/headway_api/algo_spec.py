"""Learning algorithms and networks in a spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from headway_api.base import Contract, Float, Int, OneOf, RuleInt, described
from headway_api.offpolicy_spec import Dqn, Pqn, Sac, Td3


class Ppo(Contract):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347)."""

    learning_rate: Float = described(3e-4, "Adam's step size.", gt=0.0, le=1.0)
    anneal_learning_rate: bool = described(False, "Lower the step size linearly to zero over totalSteps.")
    rollout_steps: RuleInt = described(64, "Steps of each environment between two updates.", ge=1, le=16384)
    minibatch_size: RuleInt = described(4096, "Transitions in one gradient step, over all ranks.", ge=1, le=4194304)
    epochs: Int = described(4, "Passes over each rollout.", ge=1, le=100)
    gamma: Float = described(0.99, "Discount per step.", gt=0.0, le=1.0)
    gae_lambda: Float = described(0.95, "Lambda of generalised advantage estimation.", ge=0.0, le=1.0)
    clip_range: Float = described(0.2, "Epsilon of the clipped objective.", gt=0.0, le=1.0)
    entropy_coef: Float = described(0.005, "Weight of the entropy bonus.", ge=0.0, le=1.0)
    value_coef: Float = described(0.5, "Weight of the value loss.", ge=0.0, le=10.0)
    max_grad_norm: Float = described(0.5, "Gradients are scaled down to this norm.", gt=0.0, le=1000.0)
    target_kl: Float = described(
        0.03,
        "An update stops early once the approximate KL divergence passes 1.5 times this; 0 never stops.",
        ge=0.0,
        le=10.0,
    )
    initial_log_std: Float = described(
        -0.5, "Logarithm of the exploration noise's standard deviation at the start; continuous actions only.",
        ge=-5.0, le=1.0,
    )  # fmt: skip
    normalize_observations: bool = described(
        False, "Shift and scale each input by its running mean and deviation, summed over ranks."
    )
    normalize_values: bool = described(
        False, "Learn values in units of the returns' running mean and deviation, summed over ranks."
    )


class Dagger(Contract):
    """Imitation of a planner by dataset aggregation (Ross et al. 2011, arXiv 1011.0686).

    The policy drives, the planner says at each step what it would have done. With expertSteps far beyond totalSteps the
    planner drives all along, which is behaviour cloning. Its checkpoint can begin a PPO run: initFrom.
    """

    expert: Literal["astar", "orca", "goStraight"] = described(
        "astar",
        "The planner that is imitated: the shortest way on the true map; the same, giving way to people by ORCA; or "
        "straight on to the goal.",
    )
    expert_steps: Int = described(
        200_000,
        "Environment steps over which the planner's share of the driving falls evenly from all to none.",
        ge=0,
        le=10**12,
    )
    learning_rate: Float = described(1e-3, "Adam's step size.", gt=0.0, le=1.0)
    rollout_steps: RuleInt = described(32, "Steps of each environment between two updates.", ge=1, le=16384)
    minibatch_size: RuleInt = described(2048, "Labelled steps in one gradient step, over all ranks.", ge=1, le=4194304)
    gradient_steps: Int = described(16, "Gradient steps between two rollouts.", ge=1, le=10000)
    capacity: Int = described(
        250_000, "Newest labelled steps that are kept, over all ranks; the checkpoint holds them.", ge=1, le=100_000_000
    )
    max_grad_norm: Float = described(0.5, "Gradients are scaled down to this norm.", gt=0.0, le=1000.0)


class Algo(OneOf):
    """The learning algorithm: exactly one."""

    ppo: Ppo | None = Field(None, description="Proximal policy optimisation.")
    dqn: Dqn | None = Field(None, description="Q-learning with a replay; discrete actions.")
    pqn: Pqn | None = Field(None, description="Q-learning without a replay; discrete actions, many environments.")
    sac: Sac | None = Field(None, description="Soft actor-critic; continuous actions.")
    td3: Td3 | None = Field(None, description="Twin delayed deterministic policy gradient; continuous actions.")
    dagger: Dagger | None = Field(None, description="Imitation of a planner.")


Width = Annotated[Int, Field(ge=1, le=4096)]
Activation = Literal["tanh", "relu", "elu"]


class Mlp(Contract):
    """Fully connected layers, separate for policy and value."""

    hidden: list[Width] = described([128, 128], "Width of each hidden layer.", min_length=1, max_length=6)
    activation: Activation = described("relu", "Nonlinearity after each hidden layer.")
    layer_norm: bool = described(False, "Normalise each hidden layer before its nonlinearity (arXiv 1607.06450).")


class Cnn1d(Contract):
    """One-dimensional convolutions along the beams, then fully connected layers; separate for policy and value.

    A full circle is padded with itself, so that the back is no edge. An environment without scans has no use for it.
    """

    channels: list[Width] = described([16, 32], "Channels of each convolution.", min_length=1, max_length=6)
    kernel: Int = described(5, "Beams that a convolution sees.", ge=1, le=31)
    stride: Int = described(2, "Beams between two of its outputs.", ge=1, le=8)
    hidden: list[Width] = described([128], "Width of each layer after them.", min_length=1, max_length=6)
    activation: Activation = described("relu", "Nonlinearity after each layer.")


class Gru(Contract):
    """A fully connected encoder and a gated recurrent unit, separate for policy and value: memory over an episode."""

    hidden: list[Width] = described([128], "Width of each layer of the encoder.", min_length=1, max_length=6)
    size: Width = described(128, "Size of the recurrent state.")
    activation: Activation = described("relu", "Nonlinearity after each layer of the encoder.")


class Network(OneOf):
    """The policy's network: exactly one kind."""

    mlp: Mlp | None = Field(None, description="Fully connected layers.")
    cnn1d: Cnn1d | None = Field(None, alias="cnn1d", description="Convolutions along the beams.")
    gru: Gru | None = Field(None, description="A recurrent network.")
