"""When to change the stage: pure. State and counts in, state and event out, the same on every rank.

Gates lead on, one stage at a time, and a demotion leads one back; steps begin stages at fixed environment steps; a
manual schedule stays where it is. Whatever the schedule, the gate of its last stage is the one that ends the run.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace

from headway_api.curriculum_spec import Curriculum, Demotion

from headway.curriculum.gates import Counts, has_fallen, holds


@dataclass(frozen=True)
class CurriculumState:
    """Everything that later decisions depend on, besides the windows of the environments."""

    stage: int = 0
    passed: bool = False  # the last gate has passed; `stage` stays
    streak: int = 0  # updates in a row at which the gate held
    fallen: int = 0  # updates in a row at which the success rate surely lay below what demotes
    demotions: int = 0  # so far
    advanced_at: int = 0  # environment step at which the stage began


@dataclass(frozen=True)
class StagePassed:
    """A gate has opened."""

    stage: int
    name: str
    step: int
    success_rate: float
    lower_bound: float

    def __str__(self) -> str:
        rates = f"success {self.success_rate:.3f}, at least {self.lower_bound:.3f}"
        return f"stage {self.stage + 1}, {self.name}, passed at step {self.step}: {rates}"


@dataclass(frozen=True)
class StageLost:
    """A demotion: back to the stage before."""

    stage: int  # that was lost
    name: str
    step: int
    success_rate: float
    upper_bound: float
    demotions: int

    def __str__(self) -> str:
        rates = f"success {self.success_rate:.3f}, at most {self.upper_bound:.3f}"
        where = f"back to stage {self.stage} (demotion {self.demotions})"
        return f"stage {self.stage + 1}, {self.name}, lost at step {self.step}: {rates}; {where}"


@dataclass(frozen=True)
class StageBegun:
    """The step at which a stage begins has come."""

    stage: int
    name: str
    step: int

    def __str__(self) -> str:
        return f"stage {self.stage + 1}, {self.name}, begins at step {self.step}"


Event = StagePassed | StageLost | StageBegun


def stage_at(starts: list[int], step: int) -> int:
    """Return the stage of a schedule by steps; of stages that begin at the same step, the last."""
    return bisect_right(starts, step) - 1


def last_stage(spec: Curriculum) -> int:
    """Return the stage after which nothing comes."""
    return start(spec).stage if spec.schedule.manual else len(spec.stages) - 1


def start(spec: Curriculum) -> CurriculumState:
    """Return the state of a run that begins."""
    schedule = spec.schedule
    if schedule.manual is not None:
        return CurriculumState(stage=[stage.name for stage in spec.stages].index(schedule.manual.stage))
    return CurriculumState(stage=stage_at(schedule.steps.starts, 0) if schedule.steps else 0)


def advance(
    spec: Curriculum, state: CurriculumState, counts: Counts, step: int
) -> tuple[CurriculumState, Event | None]:
    """Decide after one update at environment step `step`. After the last gate nothing changes any more."""
    if state.passed:
        return state, None
    if (steps := spec.schedule.steps) is not None and (due := stage_at(steps.starts, step)) != state.stage:
        begun = StageBegun(due, spec.stages[due].name, step)
        return CurriculumState(stage=due, demotions=state.demotions, advanced_at=step), begun
    stage = spec.stages[state.stage]
    state = replace(state, streak=state.streak + 1 if holds(stage.gate, counts) else 0)
    if state.streak >= stage.gate.updates:
        return _pass(spec, state, counts, step)
    demotion = spec.schedule.gates.demotion if spec.schedule.gates else None
    if demotion is not None and state.stage > 0:
        return _demote_if_fallen(spec, demotion, state, counts, step)
    return state, None


def _pass(
    spec: Curriculum, state: CurriculumState, counts: Counts, step: int
) -> tuple[CurriculumState, StagePassed | None]:
    stage, last = spec.stages[state.stage], state.stage == last_stage(spec)
    if spec.schedule.gates is None and not last:
        return state, None  # with a schedule by steps the gates on the way are shown and open nothing
    bound = counts.success_bounds(stage.gate.confidence)[0]
    event = StagePassed(state.stage, stage.name, step, counts.success_rate, bound)
    if last:
        return replace(state, passed=True, streak=0, fallen=0), event
    return CurriculumState(stage=state.stage + 1, demotions=state.demotions, advanced_at=step), event


def _demote_if_fallen(
    spec: Curriculum, demotion: Demotion, state: CurriculumState, counts: Counts, step: int
) -> tuple[CurriculumState, StageLost | None]:
    stage = spec.stages[state.stage]
    fallen = state.fallen + 1 if has_fallen(demotion, stage.gate, counts) else 0
    if fallen < demotion.updates:
        return replace(state, fallen=fallen), None
    bound, demotions = counts.success_bounds(stage.gate.confidence)[1], state.demotions + 1
    event = StageLost(state.stage, stage.name, step, counts.success_rate, bound, demotions)
    return CurriculumState(stage=state.stage - 1, demotions=demotions, advanced_at=step), event
