"""TrainSpec: everything that training depends on, and nothing that only a cluster needs.

Distances are metres, times seconds, angles degrees or radians as the name says. Environment counts, batches and
minibatches are totals over all ranks and must divide among them, so that a run means the same on one rank and on eight.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from headway_api.algo_spec import Algo, Network
from headway_api.base import Contract, Int, OneOf, RuleInt, auto_or_whole, described
from headway_api.curriculum_spec import Curriculum
from headway_api.gym_spec import GymEnv
from headway_api.nav_spec import NavEnv
from headway_api.self_play_spec import SelfPlay
from headway_api.train_rules import RULES

MicroBatch = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=0, le=4194304)],
    BeforeValidator(auto_or_whole(0, 4194304)),
    Field(json_schema_extra={"x-headway-form": "micro-batch"}),
]


class Env(OneOf):
    """The environment: exactly one kind."""

    nav: NavEnv | None = Field(None, description="headway/Nav-v0, the built-in navigation environment.")
    gym: GymEnv | None = Field(None, description="A Gymnasium environment of another package.")


class Evaluation(Contract):
    """Scoring on validation levels while training. It touches no training state."""

    every_steps: Int = described(0, "Environment steps between two evaluations; 0 never evaluates.", ge=0, le=10**12)
    levels: Int = described(200, "Validation levels of the stage, each played once.", ge=1, le=100000)
    stage: Literal["current", "last"] = described(
        "current",
        "Whose levels are played: of the stage that is being learned, or always of the last. Studies compare runs by "
        "the last.",
    )


class TensorBoard(Contract):
    """Event files in the run's output folder, under tensorboard/."""


class Trackers(Contract):
    """Where metrics go besides metrics.jsonl, which is always written."""

    tensorboard: TensorBoard | None = Field(None, description="Write TensorBoard event files.")


class TrainSpec(Contract):
    """What to train. The same on a laptop and on a cluster."""

    seed: Int = described(0, "Seed of everything random. Same seed, same metrics.", ge=0, le=2**31 - 1)
    total_steps: RuleInt = Field(
        ge=1,
        le=10**12,
        description="Environment steps over all ranks; training ends at the first update boundary at or after it.",
    )
    num_envs: RuleInt = described(256, "Environments stepped in parallel, over all ranks.", ge=1, le=65536)
    env: Env = Field(description="The environment.")
    algo: Algo = Field(description="The learning algorithm.")
    network: Network = Field(description="The policy's network.")
    curriculum: Curriculum = Field(description="The levels to learn on, from easy to hard.")
    precision: Literal["fp32", "bf16", "fp16"] = described(
        "fp32",
        "Of the matrix products in networks, while learning and exploring; weights, losses and optimisers stay fp32. "
        "fp16 is for GPUs without bf16: its losses are scaled, and steps that overflow are left out and counted.",
    )
    micro_batch: MicroBatch = described(
        0,
        "Rows of a rank's share of a minibatch or batch that go through the networks at a time; gradients add up, so "
        "batch and steps stay the same. 0, or the share and more: all at once. auto: found by trying, once a run.",
    )
    deterministic: bool = described(
        False,
        "On a GPU, use only kernels whose results do not depend on the order of its threads: slower, and a resumed run "
        "is exact there too. On a CPU they are all so.",
    )
    init_from: str = described(
        "",
        "Where the network's weights begin: a step-* folder, a best.safetensors or an output folder of another run "
        "with the same network; absolute, or relative to the trainer's working directory. Empty: at random.",
        max_length=512,
    )
    on_divergence: Literal["stop", "rollBack"] = described(
        "stop",
        "What a run does whose losses, gradients or weights are no numbers any more, or absurd ones: it stops, or "
        "rolls back to its newest checkpoint, at most three times, and draws other random numbers from there on.",
    )
    self_play: SelfPlay | None = Field(
        None, description="Past policies drive the other robots; absent: the present policy does, with others: self."
    )
    evaluation: Evaluation = described(Evaluation(), "Scoring on validation levels while training.")
    trackers: Trackers = described(Trackers(), "Where metrics go besides metrics.jsonl.")
    rules = RULES
