"""The parts of a training run, put together, and the whole of their state as one checkpoint."""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import Final

import torch
from headway_api.base import Contract, Float, Int
from headway_api.steering import STEERING
from headway_api.train_spec import TrainSpec
from pydantic import Field, JsonValue
from torch import Tensor

from headway import checkpoint, goodput, gpu, randomness
from headway.algos import batch_finder, build_algorithm
from headway.algos.divergence import Course, DivergenceError, refuse_tensors
from headway.algos.protocol import ExploresByStage, HasReplay
from headway.algos.state import below, under
from headway.checkpoint import CheckpointStore, Found, Interval, Manifest, Retention, Saver, Snapshot
from headway.curriculum import CurriculumRecord, RunningCurriculum
from headway.envs import registry
from headway.envs.protocol import HasOthers
from headway.episodes import EpisodeSums
from headway.errors import CheckpointError, RankLostError, SpecError
from headway.parallel import Group
from headway.policy import load_initial_weights
from headway.run_context import CheckpointRef, RunContext
from headway.selfplay import RunningSelfPlay
from headway.tracking import make_tracker
from headway.watchdog import Heart

log = logging.getLogger("headway")

EPISODES_LEFT_OUT: Final = 2**28  # at the first rollback: more than are played; numbers of episodes are below 2**32


class Best(Contract):
    """The best evaluation so far: of the farthest stage, then of the highest success rate, then reward."""

    stage: Int = Field(-1, ge=-1)
    successes: Int = Field(0, ge=0)
    levels: Int = Field(1, ge=1)
    reward: Float = 0.0

    @property
    def rank(self) -> tuple[int, float, float]:
        """What evaluations are compared by; the number of levels may change when a run is resumed."""
        return self.stage, self.successes / self.levels, self.reward


class LoopState(Contract):
    """The loop's own counters, as the manifest keeps them."""

    vector_steps: Int = Field(ge=0)  # steps of every environment
    updates: Int = Field(ge=0)
    curriculum: CurriculumRecord
    best: Best
    pruned: bool = False
    micro_batch: Int = Field(0, ge=0)  # rows that `microBatch: auto` has found; 0: it was not asked
    rollbacks: Int = Field(0, ge=0)  # so far: what is drawn depends on them
    course: dict[str, list[Float]] = Field(default_factory=dict)  # newest losses and gradient norms


class Session:
    """What one rank trains with. `begin` decides, all ranks together, where to go on."""

    def __init__(
        self, spec: TrainSpec, run: RunContext, group: Group, heart: Heart | None = None, rollbacks: int = 0
    ) -> None:
        """`rollbacks` above 0: learning has diverged for that time, in this process, and is to go on from before."""
        self.spec = spec
        self.run = run
        self.group = group
        books = run.out / goodput.FILE if group.is_main else None
        began_at = 0.0 if rollbacks else run.launched_at  # else time would be counted twice
        self.goodput = goodput.Ledger(books, run.uid, run.attempt, began_at)
        num_envs = spec.num_envs // group.world_size
        self.device = device = torch.device(run.device)
        self.env = registry.make_vector_env(
            spec, num_envs, offset=group.rank * num_envs, threads=run.threads, device=run.device
        )
        self.algorithm = build_algorithm(spec, self.env, group, device, run.threads, run.out / "scratch")
        self.heart = heart or Heart()
        self.heart.beat("start")
        self.algorithm.beat = partial(self.heart.beat, "update")
        self.replay = self.algorithm.replay if isinstance(self.algorithm, HasReplay) else None
        self.self_play = RunningSelfPlay(spec, self.env, self.algorithm, group, device) if spec.self_play else None
        if isinstance(self.env, HasOthers):
            self.env.drive_others(self.self_play or self.algorithm.policy())
        self.curriculum = RunningCurriculum(spec, self.env, group)
        self.episodes = EpisodeSums()
        self.tracker = make_tracker(spec.trackers, run.out, group.rank)
        retention = Retention(run.keep, run.keep_best, run.milestone_steps)
        self.store = CheckpointStore(run.checkpoints, run.uid, run.attempt, retention, group.rank)
        self.saver = Saver(self.store, group, Interval(run.checkpoint_every_s))
        self.parent = ""
        self.vector_steps = self.updates = 0
        self.best = Best()
        self.pruned = False
        self.micro_batch = 0  # see LoopState
        self.rollbacks, self._rolls_back = rollbacks, rollbacks > 0
        self.course = Course()
        self.acts = True  # False once an action was no number
        self.gpu = gpu.watch(run.device)
        self.has_gpus = group.any(self.gpu is not None)[0]  # any rank

    def close(self) -> None:
        """Let go of the writer's thread, flush the trackers and let go of the GPU's figures."""
        self.saver.close()
        self.tracker.close()
        if self.gpu is not None:
            self.gpu.close()

    @property
    def step(self) -> int:
        """Environment steps over all ranks."""
        return self.vector_steps * self.spec.num_envs

    @property
    def finished(self) -> bool:
        """Say whether nothing is left to train: all steps made, or the last gate passed where that is the end."""
        passed = self.curriculum.passed and self.spec.curriculum.stop_after_last_gate
        return passed or self.step >= self.spec.total_steps

    @property
    def over(self) -> bool:
        """Say whether no update follows: nothing is left to train, the study has pruned this run, or it is to leave."""
        return self.finished or self.pruned or 0 < self.run.leave_at <= self.step

    @property
    def saved(self) -> CheckpointRef | None:
        """The newest checkpoint that is published, or that the run has gone on from."""
        return self.saver.saved

    def gpu_metrics(self) -> dict[str, float]:
        """Return the figures of all ranks' GPUs since the last call; all ranks call it, once an update."""
        if not self.has_gpus:
            return {}
        own = self.gpu.take() if self.gpu is not None else {}
        return gpu.over_ranks([json.loads(row) for row in self.group.gather(json.dumps(own).encode())])

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Go on from the newest whole checkpoint that `resume` allows, or begin anew; fence off older attempts.

        Returns whether there was one.
        """
        found = self._agree_on_parent()
        if found is None:
            self._reseed()
            self._warm_start()
            self.curriculum.enter_stage()
            if self.self_play:
                self.self_play.begin()
            self.observation = self.env.reset()
        else:
            self._restore(found)
        if self._rolls_back:  # this attempt's fence stands
            self.env.skip_episodes(self.rollbacks * EPISODES_LEFT_OUT)
        elif self.group.is_main and not self.over:
            self.store.fence(found.directory if found else None)
        self.goodput.go_on_from(found.manifest.goodput if found else {})
        self.enter_stage()
        self.group.any(False)  # nobody trains before the fence stands
        if not self.over:
            self.micro_batch = batch_finder.settle(
                self.spec.micro_batch, self.micro_batch, self.algorithm, self.group, self.device
            )
            self._say_what_is_not_exact(found)
        if found is not None:  # not before: a leftover of an older attempt would cut the rows of the one that trains
            self.tracker.resume(self.step, found.manifest.tracker)
        return found is not None

    def enter_stage(self) -> None:
        """Tell an algorithm whose exploration depends on it which stage it is in, and since when."""
        if isinstance(self.algorithm, ExploresByStage):
            state = self.curriculum.state
            self.algorithm.begin_stage(state.stage, state.advanced_at)

    def _reseed(self) -> None:
        """Draw otherwise than before the last rollback: the same numbers would lead to the same end, bit for bit."""
        seed = randomness.shifted(self.spec.seed, self.rollbacks)
        self.algorithm.reseed(seed)
        self.curriculum.reseed(seed)
        if self.self_play:
            self.self_play.seed = seed

    def _warm_start(self) -> None:
        """Begin with the weights that the spec names; a run that goes on has its own."""
        if not (path := self.spec.init_from):
            return
        weights = load_initial_weights(path)
        try:
            self.algorithm.load_weights(weights)
        except ValueError as error:
            raise SpecError("train.initFrom", path, f"its network does not fit: {error}") from None
        log.info("beginning with the weights of %s", path)

    def save(self) -> None:
        """Write everything that the future depends on, all ranks together, and wait until it is published."""
        self.saver.finish(self.snapshot)

    def snapshot(self, training_waits: bool) -> Snapshot:
        """Copy everything that the future depends on; the replay's rows only where training does not wait.

        Raises DivergenceError, on all ranks alike, rather than keep what holds a number that is none.
        """
        self.heart.beat("save")
        own = under("env.", self.env.get_state())
        own |= under("algorithm.", self.algorithm.get_env_state())
        own |= under("curriculum.", self.curriculum.own_state())
        if self.replay is not None:
            own |= under("replay.", self.replay.get_state())
        shared = self.algorithm.get_state() | under("curriculum.", self.curriculum.shared_state())
        if self.self_play:
            own |= under("selfplay.", self.self_play.own_state())
            shared |= under("selfplay.", self.self_play.shared_state())
        refuse_tensors(shared, "as it was to be saved")
        loop = LoopState(
            vector_steps=self.vector_steps, updates=self.updates, curriculum=self.curriculum.record(), best=self.best,
            pruned=self.pruned, micro_batch=self.micro_batch, rollbacks=self.rollbacks, course=self.course.past,
        )  # fmt: skip
        draft = Manifest(
            namespace=self.run.namespace, name=self.run.name, uid=self.run.uid, attempt=self.run.attempt,
            parent=self.parent, step=self.step, world_size=self.group.world_size, spec=self.spec.to_wire(),
            spec_hash=checkpoint.spec_hash(self.spec), loop=loop.to_wire(), tracker=self.tracker.state(), files={},
            goodput=self.goodput.entry().to_wire(), fingerprint=self._fingerprint(), complete=self.finished,
            saved_at=time.time(), best=list(self.best.rank) if self.best.stage >= 0 else [],
        )  # fmt: skip
        rows = self.store.segments.cut(self.replay, training_waits) if self.replay is not None else checkpoint.NOTHING
        return Snapshot.of(draft, shared if self.group.is_main else {}, own, rows)

    def _agree_on_parent(self) -> Found | None:
        """Rank 0 chooses and verifies; the others take its word, or leave with it if it refuses."""
        choice, refusal = "", ""
        if self.group.is_main:
            try:
                found = self._choose()
                choice = str(found.directory.resolve()) if found else ""
            except CheckpointError as error:
                refusal = str(error)
        choice, refusal = (self.group.from_main(text.encode()).decode() for text in (choice, refusal))
        if refusal:
            raise CheckpointError(refusal)
        try:
            return Found(Path(choice), checkpoint.read_manifest(Path(choice))) if choice else None
        except ValueError as error:
            raise CheckpointError(
                f"{choice}, which rank 0 goes on from, cannot be read by rank {self.group.rank}: {error}: nodes need "
                "storage that all of them share; set checkpoint to a volume with access mode ReadWriteMany"
            ) from None

    def _choose(self) -> Found | None:
        passed_over: list[str] = []
        check = _refuse_diverged if self._rolls_back else lambda found: None
        found = checkpoint.choose(self.run.checkpoints, self.run.uid, self.run.resume, passed_over, check)
        for line in passed_over:
            log.warning("%s", line)
        if found is None:
            return None
        different = checkpoint.spec_differences(found.manifest.spec_with_defaults(), self.spec.to_wire())
        if found.manifest.uid != self.run.uid:  # a branch of another run
            for line in (line for line in different if checkpoint.path_of(line) in STEERING):
                log.info("branching with %s", line)
            different = [line for line in different if checkpoint.path_of(line) not in STEERING]
        if different and not self.run.accept_changes:
            raise CheckpointError(
                f"{found.directory} was trained by another spec ({'; '.join(different[:5])}): take the change back, "
                "begin anew with resume: never, or insist on it with specChange: accept (headway run --accept-changes)"
            )
        if different:
            checkpoint.accept(found, self.spec, different)
        log.info("resuming from %s", found.directory)
        return found

    def _fingerprint(self) -> dict[str, JsonValue]:
        return checkpoint.fingerprint(self.group.world_size, self.run.device, self.algorithm.micro.rows)

    def _say_what_is_not_exact(self, found: Found | None) -> None:
        if found is None or not self.group.is_main:
            return
        before, now = found.manifest.fingerprint, self._fingerprint()
        for line in checkpoint.fingerprint_differences(before, now, has_replay=self.replay is not None):
            log.warning("resume is not exact: %s", line)
        if self.run.device.startswith("cuda") and not self.spec.deterministic:
            log.warning("resume is not exact on a GPU without train.deterministic")
        if not self.env.exact_state:
            log.warning("resume is not exact: the environment cannot give its state: new episodes begin")

    def _restore(self, found: Found) -> None:
        """Take over a checkpoint's whole state. Raises CheckpointError, with what does not fit."""
        try:
            loop = LoopState.model_validate(found.manifest.loop)
            self.vector_steps, self.updates = loop.vector_steps, loop.updates
            self.micro_batch = loop.micro_batch
            self.best, self.pruned = loop.best, loop.pruned and found.manifest.uid == self.run.uid
            self.rollbacks, self.course = max(self.rollbacks, loop.rollbacks), Course(loop.course)
            if self.step != found.manifest.step:
                raise ValueError("the loop's counters contradict the manifest")
            self._reseed()
            shared, own = checkpoint.load_tensors(found.directory / checkpoint.MODEL), self._own_tensors(found)
            changes = checkpoint.spec_differences(
                found.manifest.spec_with_defaults(), self.spec.to_wire()
            )  # accepted ones
            if any(checkpoint.path_of(line) == "train.precision" for line in changes):
                shared = checkpoint.with_own_scale(shared, self.algorithm.get_state())
            ours = below("curriculum.", shared)
            self.algorithm.set_state(
                {k: v for k, v in shared.items() if not k.startswith(("curriculum.", "selfplay."))}
            )
            if self.replay is not None:
                self._restore_replay(found, below("replay.", own))
            if self.self_play:
                self.self_play.restore(below("selfplay.", own), below("selfplay.", shared))
            if self.env.exact_state:  # else new episodes begin, and nothing is remembered of the old ones
                self.algorithm.set_env_state(below("algorithm.", own))
            is_changed = checkpoint.is_of_curriculum(changes)
            self.curriculum.restore(loop.curriculum, below("curriculum.", own), ours, is_changed)
            self.observation = self.env.set_state(below("env.", own))
        except RankLostError:  # says nothing about the checkpoint
            raise
        except (ValueError, KeyError, RuntimeError) as error:  # torch's own, where ranks' tensors do not fit together
            raise CheckpointError(f"{found.directory} does not fit this run: {error}") from None
        self.parent = found.directory.name
        self.saver.saved = CheckpointRef(found.manifest.step, found.directory, found.manifest.saved_at)

    def _restore_replay(self, found: Found, own: dict[str, Tensor]) -> None:
        """Take the replay back; where new episodes begin, the old ones end."""
        assert self.replay is not None
        self.replay.set_state(own)
        first = self.group.rank * self.env.num_envs
        root = found.directory.parent
        checkpoint.load_history(root, found.manifest, self.replay, slice(first, first + self.env.num_envs))
        if root.resolve() == self.store.root.resolve() and found.manifest.world_size == self.group.world_size:
            self.store.segments.accept(found.manifest.segments, self.replay.length)
        if not self.env.exact_state:
            self.replay.cut()

    def _own_tensors(self, found: Found) -> dict[str, Tensor]:
        """Return this rank's rows of the state of all environments, whatever number of ranks wrote it."""
        if found.manifest.world_size == self.group.world_size:
            return checkpoint.load_tensors(found.directory / f"rank-{self.group.rank}.safetensors")
        pieces = [
            checkpoint.load_tensors(found.directory / f"rank-{r}.safetensors") for r in range(found.manifest.world_size)
        ]
        first = self.group.rank * self.env.num_envs
        rows = slice(first, first + self.env.num_envs)
        # What has no axis of environments (the stage) is the same on all ranks.
        return {
            name: torch.cat([piece[name] for piece in pieces])[rows].contiguous() if tensor.dim() else tensor
            for name, tensor in pieces[0].items()
        }


def _refuse_diverged(found: Found) -> None:
    """Raise ValueError for a checkpoint that holds a number that is none."""
    try:
        refuse_tensors(checkpoint.load_tensors(found.directory / checkpoint.MODEL), "in it")
    except DivergenceError as error:
        raise ValueError(str(error)) from None
