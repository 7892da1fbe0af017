"""The curriculum in a spec: stages, what opens the way to the next one, and which levels of a stage are played."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from headway_api.base import Contract, Float, Int, OneOf, Rule, RuleInt, described
from headway_api.gym_spec import Keywords, keywords_field
from headway_api.nav_spec import Levels
from headway_api.offpolicy_spec import Exploration


class Gate(Contract):
    """What opens the way to the next stage: every criterion that is set must hold, over the newest fresh episodes.

    Fresh: neither a replay of an earlier stage nor a remembered level.
    """

    success_rate: Float = described(
        0.8,
        "The lower end of the Wilson interval of the success rate must reach this; 0: any will do, as for an "
        "environment that knows no success.",
        ge=0.0,
        lt=1.0,
    )
    collision_rate: Float = described(
        1.0,
        "The upper end of the Wilson interval of the collision rate must not exceed this; 1: any will do.",
        gt=0.0,
        le=1.0,
    )
    reward: Float | None = Field(
        None, ge=-1e7, le=1e7, description="The mean total reward of an episode must reach this; absent: any will do."
    )
    confidence: Float = described(
        0.95, "Two-sided confidence of the intervals; 0 takes the plain rates, a threshold.", ge=0.0, le=0.999
    )
    episodes: Int = described(
        1000,
        "How many of the newest fresh episodes that began in the stage count, over all ranks; fewer never pass.",
        ge=10,
        le=100000,
    )
    updates: Int = described(1, "Updates in a row at which the gate must hold, against luck.", ge=1, le=100)


class Demotion(Contract):
    """What leads back to the stage before, whose gate must then pass again. Nothing leads back from the first."""

    success_rate: Float = described(
        0.3,
        "The upper end of the Wilson interval of the stage's success rate lies below this, with the confidence and "
        "over as many episodes as its gate's.",
        gt=0.0,
        lt=1.0,
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
    exploration: Exploration | None = Field(
        None,
        description="Exploration in this stage, its steps counted from where it begins; absent: the algorithm's.",
    )


Steps = Annotated[RuleInt, Field(ge=0, le=10**12)]


class ByGates(Contract):
    """A stage ends when its gate holds."""

    demotion: Demotion | None = Field(None, description="What leads back to the stage before; absent: nothing does.")


class BySteps(Contract):
    """Stages begin at fixed environment steps; gates are shown and open nothing but the end, in the last stage."""

    starts: list[Steps] = Field(
        min_length=1,
        max_length=16,
        description="Environment step at which each stage begins, at the next update; the first is 0.",
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
    """One stage from the beginning to the end: for experiments, and for training by hand. Its gate is the last."""

    stage: str = Field(min_length=1, max_length=40, description="Name of the stage.")


class Schedule(OneOf):
    """When stages change: exactly one kind."""

    gates: ByGates | None = Field(None, description="When a stage's gate holds.")
    steps: BySteps | None = Field(None, description="At fixed environment steps.")
    manual: Manual | None = Field(None, description="Never: one named stage.")


class Learnability(Contract):
    """Play levels again that are neither mastered nor hopeless, by p(1 - p) of their success rates p.

    Rutherford et al. 2024 (arXiv 2408.15099), on the outcomes of training itself: no extra episodes are played.
    """

    levels: Int = described(512, "How many levels of the stage are remembered.", ge=16, le=65536)
    share: Float = described(
        0.5, "Share of the stage's new episodes that play one of them again; the others are fresh.", gt=0.0, le=0.95
    )
    attempts: Int = described(
        8,
        "A level that was played this often and is nearly always won, or nearly always lost (p(1 - p) below 1/8), "
        "gives way to a fresh one, the least learnable first. Counts fade at twice this many.",
        ge=2,
        le=1000,
    )


class Curriculum(Contract):
    """Stages from easy to hard. Levels are split by seed: these are training levels, never test levels."""

    stages: list[Stage] = Field(min_length=1, max_length=16, description="From easy to hard.")
    schedule: Schedule = described(Schedule(gates=ByGates()), "When stages change.")
    replay: Float = described(
        0.1, "Share of new episodes that replays a level of an earlier stage, against forgetting.", ge=0.0, le=0.9
    )
    learnability: Learnability | None = Field(
        None, description="Prefer levels of the stage that are neither mastered nor hopeless; absent: all alike."
    )
    stop_after_last_gate: bool = described(
        True,
        "End the run, successfully, once the gate of the schedule's last stage has passed; else train on to "
        "totalSteps.",
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
        Rule(
            cel="!has(self.schedule.gates) || !has(self.schedule.gates.demotion) || "
            "self.stages.all(s, self.schedule.gates.demotion.successRate < s.gate.successRate)",
            holds=lambda m: (
                m.schedule.gates is None
                or m.schedule.gates.demotion is None
                or all(m.schedule.gates.demotion.success_rate < s.gate.success_rate for s in m.stages)
            ),
            message="schedule.gates.demotion.successRate must lie below every stage's gate.successRate: lower it",
            field="schedule",
        ),
    )
