"""The curriculum of a run that trains: it tells the environment which levels to play and sums outcomes over ranks.

A thin shell around pure parts: `schedule` decides, `gates` compares, `windows` and `learnability` remember.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from headway_api.base import Contract, Int
from headway_api.curriculum_spec import Curriculum
from headway_api.progress import CurriculumProgress
from headway_api.train_spec import TrainSpec
from pydantic import Field
from torch import Tensor

from headway.curriculum import gates
from headway.curriculum.gates import Counts
from headway.curriculum.learnability import LevelMemory
from headway.curriculum.schedule import CurriculumState, Event, advance, start
from headway.curriculum.windows import GateWindow, to_counts
from headway.envs.protocol import EpisodeEnds, VectorEnv
from headway.parallel import Group

log = logging.getLogger("headway")


class CurriculumRecord(Contract):
    """`CurriculumState` as the manifest keeps it."""

    stage: Int = Field(ge=0)
    passed: bool
    streak: Int = Field(ge=0)
    fallen: Int = Field(ge=0)
    demotions: Int = Field(ge=0)
    advanced_at: Int = Field(ge=0)


class RunningCurriculum:
    """All ranks call the same methods in the same order, with ends of their own environments."""

    def __init__(self, spec: TrainSpec, env: VectorEnv, group: Group) -> None:
        self.spec, self.env, self.group = spec.curriculum, env, group
        self.state = start(self.spec)
        self.counts = Counts(0, 0, 0)
        self.window = GateWindow(spec.num_envs, group.rank * env.num_envs, env.num_envs)
        learnability = self.spec.learnability
        self.memory = LevelMemory(learnability, spec.num_envs, spec.seed) if learnability else None
        self._warned = False

    @property
    def stage(self) -> int:
        """Number of the present stage, from 0."""
        return self.state.stage

    @property
    def passed(self) -> bool:
        """Say whether the last gate has passed."""
        return self.state.passed

    def enter_stage(self) -> None:
        """Let new episodes be of the current stage, and count them from nothing."""
        self.env.set_stage(self.stage)
        self.window.begin(self.stage, self.spec.stages[self.stage].gate.episodes)
        self.counts = Counts(0, 0, 0)
        if self.memory:
            self.memory.begin(self.stage)
        self._tell_levels()

    def reseed(self, seed: int) -> None:
        """Draw among levels by another seed from now on."""
        if self.memory:
            self.memory.seed = seed

    def add(self, ends: EpisodeEnds) -> None:
        """Take in one step's ends."""
        self.window.add(ends)
        if self.memory:
            self.memory.add(ends)

    def advance(self, step: int) -> dict[str, float]:
        """Sum up over ranks after an update at environment step `step`, decide, and return metrics of the update."""
        before = self.stage
        self.counts = self._sum_counts()
        self.state, event = advance(self.spec, self.state, self.counts, step)
        metrics = {"curriculum/stage": float(before + 1), "curriculum/demotions": float(self.state.demotions)}
        metrics |= gates.metrics(self.spec.stages[before].gate, self.counts)
        if not self.env.knows_success:
            metrics.pop("curriculum/gate_success_rate", None)
        if self.memory:
            metrics |= self.memory.learn(self.group)
        if self.group.is_main:
            self._say(event)
        if self.stage != before:
            self.enter_stage()
        else:
            self._tell_levels()
        return metrics

    def progress(self) -> CurriculumProgress:
        """Say where the curriculum stands, for people and `status`."""
        return progress(self.spec, self.state, self.counts, self.memory, self.env.knows_success)

    def where(self) -> str:
        """Say in words how far training has come."""
        stage, stages = self.spec.stages[self.stage].name, len(self.spec.stages)
        if not self.passed:
            return f"in stage {self.stage + 1} of {stages}"
        return f"passed all {stages} stages" if self.spec.schedule.gates else f"passed the gate of {stage}"

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def record(self) -> CurriculumRecord:
        """Scalars, for the manifest."""
        return CurriculumRecord(**vars(self.state))

    def own_state(self) -> dict[str, Tensor]:
        """Tensors with a row for each of this rank's environments."""
        return {f"window.{name}": tensor for name, tensor in self.window.get_state().items()}

    def shared_state(self) -> dict[str, Tensor]:
        """Tensors that are equal on all ranks."""
        return {f"learnability.{k}": v for k, v in self.memory.get_state().items()} if self.memory else {}

    def restore(
        self, record: CurriculumRecord, own: dict[str, Tensor], shared: dict[str, Tensor], is_changed: bool = False
    ) -> None:
        """Go on where the three were taken, all ranks together. Raises ValueError for what does not fit the spec.

        `is_changed`: they were taken with another curriculum. The stage stays, and counts its episodes anew.
        """
        if record.stage >= len(self.spec.stages):
            raise ValueError(f"the curriculum is in stage {record.stage + 1} of {len(self.spec.stages)}")
        self.state = CurriculumState(**record.model_dump(by_alias=False))
        if is_changed:
            self.state = replace(self.state, passed=False, streak=0, fallen=0)
        self.enter_stage()
        if not is_changed:
            self.window.set_state(_below("window.", own))
            if self.memory:
                self.memory.set_state(_below("learnability.", shared))
        self._tell_levels()
        self.counts = self._sum_counts()

    def _say(self, event: Event | None) -> None:
        if event:
            log.info("%s", event)
        stage = self.spec.stages[self.stage]
        blind = stage.gate.success_rate > 0 and not self.env.knows_success
        if blind and self.counts.episodes >= stage.gate.episodes and not self._warned:
            self._warned = True
            field = f"train.curriculum.stages[{stage.name}].gate.successRate: {stage.gate.success_rate}"
            log.warning(
                "%s: this environment tells no success, so the gate never passes: set it to 0 and set gate.reward",
                field,
            )

    def _sum_counts(self) -> Counts:
        return to_counts(self.group.sum_(self.window.counts()))

    def _tell_levels(self) -> None:
        if self.memory:
            self.env.remember_levels(*self.memory.for_env())


def progress(
    spec: Curriculum,
    state: CurriculumState,
    counts: Counts,
    memory: LevelMemory | None = None,
    knows_success: bool = True,
) -> CurriculumProgress:
    """Say where the curriculum stands. What nobody knows yet, or at all, is left out, never null."""
    known: dict[str, float] = {}
    if counts.episodes:
        known = {"collision_rate": counts.collision_rate, "reward": counts.mean_reward}
        known |= {"success_rate": counts.success_rate} if knows_success else {}
    if memory:
        known |= {"remembered_levels": memory.levels, "learnability": memory.mean}
    return CurriculumProgress(
        stage=state.stage + 1,
        stage_name=spec.stages[state.stage].name,
        stages=len(spec.stages),
        episodes_in_stage=counts.in_stage,
        advanced_at=state.advanced_at,
        demotions=state.demotions,
        passed=state.passed,
        **known,
    )


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
