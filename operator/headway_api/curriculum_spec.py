"""The curriculum in a spec: stages, what opens the way to the next one, and which levels of a stage are played."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from headway_api.base import Contract, Float, Int, OneOf, Rule, RuleInt, described
from headway_api.gym_spec import Keywords, keywords_field
from headway_api.nav_spec import Levels


class Gate(Contract):
    """What opens the way to the next stage: every criterion that is set must hold."""

    success_rate: Float = described(
        0.8, "The lower end of the Wilson interval of the success rate must reach this.", ge=0.0, lt=1.0
    )
    collision_rate: Float = described(
        1.0, "The upper end of the Wilson interval of the collision rate must not exceed this.", gt=0.0, le=1.0
    )
    reward: Float | None = Field(
        None, ge=-1e9, le=1e9, description="The mean total reward of an episode must reach this; absent: any will do."
    )
    confidence: Float = described(
        0.95, "Two-sided confidence of the intervals; 0 takes the plain rates, a threshold.", ge=0.0, le=0.999
    )
    episodes: Int = described(
        1000,
        "How many of the newest episodes that began in the stage count, over all ranks; fewer never pass.",
        ge=10,
        le=100000,
    )
    updates: Int = described(1, "Updates in a row at which the gate must hold, against luck.", ge=1, le=100)


class Demotion(Contract):
    """What leads back to the stage before: the success rate has clearly fallen below what passed its gate."""

    success_rate: Float = described(
        0.3, "The upper end of the Wilson interval of the stage's success rate lies below this.", gt=0.0, lt=1.0
    )
    updates: Int = described(20, "Updates in a row at which it must.", ge=1, le=10000)


class Stage(Contract):
    """One stage of the curriculum."""

    name: str = Field(
        min_length=1,
        max_length=40,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name shown in status and logs.",
    )
    levels: Levels | None = Field(None, description="The levels of this stage; for env.nav.")
    kwargs: Keywords = keywords_field("Arguments of the environment in this stage, over env.gym.kwargs; for env.gym.")
    gate: Gate = described(Gate(), "What ends this stage.")


Steps = Annotated[RuleInt, Field(ge=0, le=10**12)]


class ByGates(Contract):
    """A stage ends when its gate holds."""

    demotion: Demotion | None = Field(None, description="What leads back to the stage before; absent: nothing does.")


class BySteps(Contract):
    """Stages begin at fixed environment steps; gates are shown and open nothing."""

    starts: list[Steps] = Field(
        min_length=1, max_length=16, description="Environment step at which each stage begins; the first is 0."
    )
    rules = (
        Rule(
            cel="self.starts[0] == 0 && self.starts.isSorted()",
            holds=lambda m: m.starts[0] == 0 and m.starts == sorted(m.starts),
            message="starts must begin with 0 and never fall",
            field="starts",
        ),
    )


class Manual(Contract):
    """One stage from the beginning to the end: for experiments, and for training by hand."""

    stage: str = Field(min_length=1, max_length=40, description="Name of the stage.")


class Schedule(OneOf):
    """When stages change: exactly one kind."""

    gates: ByGates | None = Field(None, description="When a stage's gate holds.")
    steps: BySteps | None = Field(None, description="At fixed environment steps.")
    manual: Manual | None = Field(None, description="Never: one named stage.")


def _default_schedule() -> Schedule:
    return Schedule(gates=ByGates())


class Learnability(Contract):
    """Play levels again that are neither mastered nor hopeless, by p(1 - p) of their success rates p.

    Rutherford et al. 2024 (arXiv 2408.15099), on the outcomes of training itself: no extra episodes are played.
    """

    levels: Int = described(2048, "How many levels of the stage are remembered.", ge=16, le=65536)
    share: Float = described(0.5, "Share of new episodes that play one of them again.", gt=0.0, le=0.95)
    attempts: Int = described(8, "A level is replaced by a fresh one once it was played this often and is the least "
                              "learnable.", ge=2, le=1000)  # fmt: skip


class Curriculum(Contract):
    """Stages from easy to hard. Levels are split by seed: these are training levels, never test levels."""

    stages: list[Stage] = Field(min_length=1, max_length=16, description="From easy to hard.")
    schedule: Schedule = Field(default_factory=_default_schedule, description="When stages change.")
    replay: Float = described(
        0.1, "Share of new episodes that replays a level of an earlier stage, against forgetting.", ge=0.0, le=0.9
    )
    learnability: Learnability | None = Field(
        None, description="Prefer levels of the stage that are neither mastered nor hopeless; absent: all alike."
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
        Rule(
            cel="!has(self.schedule.steps) || self.schedule.steps.starts.size() == self.stages.size()",
            holds=lambda m: m.schedule.steps is None or len(m.schedule.steps.starts) == len(m.stages),
            message="schedule.steps.starts must have one entry for each stage",
            field="schedule",
        ),
        Rule(
            cel="!has(self.schedule.manual) || self.stages.exists(s, s.name == self.schedule.manual.stage)",
            holds=lambda m: m.schedule.manual is None or m.schedule.manual.stage in {s.name for s in m.stages},
            message="schedule.manual.stage must be the name of a stage",
            field="schedule",
        ),
    )
