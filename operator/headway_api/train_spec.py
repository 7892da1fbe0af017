"""TrainSpec: everything that training depends on, and nothing that only a cluster needs.

Distances are metres, times seconds, angles degrees or radians as the name says. Environment counts, batches and
minibatches are totals over all ranks and must divide among them, so that a run means the same on one rank and on eight.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headway_api.algo_spec import Algo, Network
from headway_api.base import Contract, Int, OneOf, Rule, RuleInt, described
from headway_api.curriculum_spec import Curriculum
from headway_api.gym_spec import GymEnv
from headway_api.nav_spec import NavEnv


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
    total_steps: Int = Field(
        ge=1,
        le=10**12,
        description="Environment steps over all ranks; training ends at the first update boundary at or after it.",
    )
    num_envs: RuleInt = described(256, "Environments stepped in parallel, over all ranks.", ge=1, le=65536)
    env: Env = Field(description="The environment.")
    algo: Algo = Field(description="The learning algorithm.")
    network: Network = Field(description="The policy's network.")
    curriculum: Curriculum = Field(description="The levels to learn on, from easy to hard.")
    init_from: str = described(
        "",
        "Where the network's weights begin: a step-* folder, a best.safetensors or an output folder of another run "
        "with the same network; absolute, or relative to the trainer's working directory. Empty: at random.",
        max_length=512,
    )
    evaluation: Evaluation = described(Evaluation(), "Scoring on validation levels while training.")
    trackers: Trackers = described(Trackers(), "Where metrics go besides metrics.jsonl.")
    rules = (
        Rule(
            cel="!has(self.algo.ppo) || (self.numEnvs * self.algo.ppo.rolloutSteps) % self.algo.ppo.minibatchSize == 0",
            holds=lambda m: (
                m.algo.ppo is None or (m.num_envs * m.algo.ppo.rollout_steps) % m.algo.ppo.minibatch_size == 0
            ),
            message="algo.ppo.minibatchSize must divide numEnvs * rolloutSteps: choose a divisor",
            field="algo",
        ),
        Rule(
            cel="!has(self.algo.ppo) || !has(self.network.gru) || "
            "self.algo.ppo.minibatchSize % self.algo.ppo.rolloutSteps == 0",
            holds=lambda m: (
                m.algo.ppo is None or m.network.gru is None or m.algo.ppo.minibatch_size % m.algo.ppo.rollout_steps == 0
            ),
            message="with network.gru minibatches are whole environments: algo.ppo.minibatchSize must be a multiple of "
            "rolloutSteps",
            field="algo",
        ),
        Rule(
            cel="!has(self.algo.dagger) || !has(self.network.gru)",
            holds=lambda m: m.algo.dagger is None or m.network.gru is None,
            message="algo.dagger learns from single steps, which network.gru has no use for: choose mlp or cnn1d",
            field="network",
        ),
        Rule(
            cel="!has(self.env.nav) || self.env.nav.others != 'self' || !has(self.network.gru)",
            holds=lambda m: m.env.nav is None or m.env.nav.others != "self" or m.network.gru is None,
            message="env.nav.others: self needs a network without memory: choose mlp or cnn1d, or others: goStraight",
            field="network",
        ),
        Rule(
            cel="self.curriculum.stages.all(s, has(s.levels) == has(self.env.nav))",
            holds=lambda m: all((s.levels is not None) == (m.env.nav is not None) for s in m.curriculum.stages),
            message="with env.nav every stage of the curriculum has levels; with env.gym it has none",
            field="curriculum",
        ),
    )
