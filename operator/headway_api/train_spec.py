"""TrainSpec: everything that training depends on, and nothing that only a cluster needs.

Distances are metres, times seconds, angles degrees or radians as the name says. Environment counts, batches and
minibatches are totals over all ranks and must divide among them, so that a run means the same on one rank and on eight.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from headway_api.base import Contract, Float, Int, OneOf, Rule, RuleInt, described


class Robot(Contract):
    """A differential-drive robot with a round footprint."""

    radius_meters: Float = described(0.25, "Radius of the footprint disc in metres.", ge=0.05, le=2.0)
    max_speed: Float = described(1.0, "Largest forward speed in m/s; the robot does not reverse.", ge=0.05, le=10.0)
    max_turn_rate: Float = described(1.5, "Largest turn rate in rad/s, either way.", ge=0.05, le=10.0)
    max_acceleration: Float = described(2.0, "Largest change of speed in m/s^2.", ge=0.05, le=50.0)
    max_turn_acceleration: Float = described(6.0, "Largest change of turn rate in rad/s^2.", ge=0.05, le=100.0)


class Lidar(Contract):
    """A planar range scanner at the robot's centre."""

    beams: Int = described(36, "Number of beams, evenly spread over the field of view.", ge=4, le=1080)
    field_of_view_degrees: Float = described(
        360.0, "Angle that the beams cover, centred on the heading, in degrees.", ge=30.0, le=360.0
    )
    range_meters: Float = described(5.0, "Farthest distance that a beam reports, in metres.", ge=0.5, le=50.0)


class Reward(Contract):
    """Terms of the reward, summed at each step.

    Of the order of one: PPO clips one gradient norm for policy and value, and large returns would take it all.
    """

    goal: Float = described(2.0, "Added once, when the robot reaches the goal.", ge=0.0, le=1000.0)
    collision: Float = described(-2.0, "Added once, when the robot hits something.", ge=-1000.0, le=0.0)
    step: Float = described(-0.005, "Added at every step; makes the policy hurry.", ge=-10.0, le=0.0)
    progress: Float = described(0.2, "Per metre that the straight distance to the goal shrinks.", ge=0.0, le=100.0)
    proximity: Float = described(
        -0.02,
        "Per step, scaled from 0 at 0.3 m between footprint and obstacle to its full value at contact.",
        ge=-10.0,
        le=0.0,
    )


class Empty(Contract):
    """A walled square without obstacles."""

    size_meters: Float = described(10.0, "Inner length of a side in metres.", ge=4.0, le=30.0)


class Clutter(Contract):
    """A walled square with random blocks, bars and walls with gaps; start and goal are always connected."""

    size_meters: Float = described(10.0, "Inner length of a side in metres.", ge=4.0, le=30.0)
    fill: Float = described(
        0.15,
        "Share of the area that obstacles cover, before passages too narrow for the robot are accounted for.",
        ge=0.0,
        le=0.4,
    )
    walls: Int = described(0, "Interior walls across the square, each with one or two gaps.", ge=0, le=8)


class Map(Contract):
    """An occupancy map in the format of ROS map_server."""

    yaml: str = Field(
        min_length=1,
        max_length=512,
        description="Path of the map's .yaml file: absolute, or relative to the working directory of the trainer.",
    )


class World(OneOf):
    """Where levels come from: exactly one kind."""

    empty: Empty | None = Field(None, description="A walled square without obstacles.")
    clutter: Clutter | None = Field(None, description="A walled square with random obstacles.")
    map: Map | None = Field(None, description="A ROS map_server map; starts and goals are drawn on its free space.")


class Levels(Contract):
    """A family of levels: a world, who walks in it, and how far the goal is."""

    world: World = Field(description="The kind of world and its parameters.")
    people: Int = described(0, "People who walk between random places and do not yield to the robot.", ge=0, le=32)
    people_speed: Float = described(
        0.6, "Their speed in m/s; each person's is drawn from half of it to all of it.", ge=0.05, le=2.0
    )
    min_goal_meters: Float = described(
        2.0, "Shortest straight distance from start to goal in metres.", ge=0.5, le=100.0
    )
    max_goal_meters: Float = described(
        12.0, "Longest straight distance from start to goal in metres.", ge=0.5, le=200.0
    )
    rules = (
        Rule(
            cel="self.minGoalMeters <= self.maxGoalMeters",
            holds=lambda m: m.min_goal_meters <= m.max_goal_meters,
            message="minGoalMeters must not exceed maxGoalMeters: lower the one or raise the other",
            field="minGoalMeters",
        ),
    )


class NavEnv(Contract):
    """headway/Nav-v0: a differential-drive robot with a lidar drives to a goal among obstacles and people."""

    robot: Robot = described(Robot(), "The robot's body and limits.")
    lidar: Lidar = described(Lidar(), "The robot's range scanner.")
    reward: Reward = described(Reward(), "Terms of the reward.")
    scan_stack: Int = described(
        3, "How many of the last scans the policy sees; more than one shows motion.", ge=1, le=8
    )
    step_seconds: Float = described(0.2, "Time between two decisions, in seconds.", ge=0.02, le=1.0)
    max_steps: Int = described(300, "Steps after which an episode is truncated.", ge=10, le=10000)
    goal_radius_meters: Float = described(0.35, "The goal is reached within this distance, in metres.", ge=0.05, le=5.0)


class Env(OneOf):
    """The environment: exactly one kind."""

    nav: NavEnv | None = Field(None, description="headway/Nav-v0, the built-in navigation environment.")


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


class Algo(OneOf):
    """The learning algorithm: exactly one."""

    ppo: Ppo | None = Field(None, description="Proximal policy optimisation.")


Width = Annotated[Int, Field(ge=1, le=4096)]


class Mlp(Contract):
    """Fully connected layers, separate for policy and value."""

    hidden: list[Width] = described([128, 128], "Width of each hidden layer.", min_length=1, max_length=6)
    activation: Literal["tanh", "relu", "elu"] = described("tanh", "Nonlinearity after each hidden layer.")


class Network(OneOf):
    """The policy's network: exactly one kind."""

    mlp: Mlp | None = Field(None, description="Fully connected layers.")


class Gate(Contract):
    """What opens the way to the next stage."""

    success_rate: Float = described(
        0.8, "The lower end of the Wilson interval of the success rate must reach this.", gt=0.0, lt=1.0
    )
    confidence: Float = described(0.95, "Two-sided confidence of that interval.", ge=0.5, le=0.999)
    episodes: Int = described(
        1000,
        "How many of the newest episodes that began in the stage count, over all ranks; fewer never pass.",
        ge=10,
        le=100000,
    )
    updates: Int = described(1, "Updates in a row at which the gate must hold, against luck.", ge=1, le=100)


class Stage(Contract):
    """One stage of the curriculum."""

    name: str = Field(
        min_length=1,
        max_length=40,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name shown in status and logs.",
    )
    levels: Levels = Field(description="The levels of this stage.")
    gate: Gate = described(Gate(), "What ends this stage.")


class Curriculum(Contract):
    """Stages from easy to hard. Levels are split by seed: these are training levels, never test levels."""

    stages: list[Stage] = Field(min_length=1, max_length=16, description="From easy to hard.")
    replay: Float = described(
        0.1, "Share of new episodes that replays a level of an earlier stage, against forgetting.", ge=0.0, le=0.9
    )
    stop_after_last_gate: bool = described(
        True, "End the run, successfully, once the last stage's gate has passed; else train on to totalSteps."
    )
    rules = (
        Rule(
            cel="self.stages.all(s, self.stages.exists_one(t, t.name == s.name))",
            holds=lambda m: len({s.name for s in m.stages}) == len(m.stages),
            message="stage names must differ from one another",
            field="stages",
        ),
    )


class Evaluation(Contract):
    """Scoring on validation levels while training. It touches no training state."""

    every_steps: Int = described(0, "Environment steps between two evaluations; 0 never evaluates.", ge=0, le=10**12)
    levels: Int = described(200, "Validation levels of the current stage, each played once.", ge=1, le=100000)


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
    )
