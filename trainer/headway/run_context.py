"""What a run is told besides its spec, and what it says while it trains and when it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headway_api.progress import CurriculumProgress, EvaluationPoint, Goodput


@dataclass(frozen=True)
class RunContext:
    """Who this run is, where it keeps things and which rank this process is."""

    namespace: str
    """With `name` and `uid` the run's identity: from the operator, or made by `headway run`."""
    name: str
    uid: str
    attempt: int
    """Attempt of this run, from 1: each restart of the gang is a higher one, and fences off writers of lower ones."""
    out: Path
    """metrics.jsonl, tensorboard/ and best.* go here. Only rank 0 writes."""
    checkpoints: Path
    """Root that holds the step-* directories of this run: <uri>/<namespace>/<name>."""
    checkpoint_every_s: float | Literal["auto"] = 60.0
    """Seconds between two saves, by rank 0's clock; 0 saves at every update and waits until that is published; "auto"
    chooses by what a save costs and how often the run has failed."""
    keep: int = 3
    """How many of the newest whole checkpoints are kept."""
    keep_best: bool = True
    """Whether the checkpoint of the best evaluation is kept, too: the one at it, or the first after it."""
    milestone_steps: int = 0
    """The first checkpoint at or after each multiple of so many environment steps is kept for ever; 0: none is."""
    resume: str = "auto"
    """"auto" goes on from the newest whole checkpoint, "never" begins anew, a path (of a step-* directory, or of a root
    of them) says where to begin; the last two are for a run's first attempt, later ones go on from its own."""
    accept_changes: bool = False
    """Go on from a checkpoint of another spec, where its state fits; else it is refused."""
    rank: int = 0
    world_size: int = 1
    threads: int = 2
    """CPU threads of this rank, for torch and for the environment's kernel."""
    device: str = "cpu"
    """Where this rank learns: a torch device."""
    leave_at: int = 0
    """Save and leave, as if asked to, after the update that reaches so many environment steps; 0 never does."""
    launched_at: float = 0.0
    """When this attempt's launcher was started, in seconds since the epoch; 0: not known."""
    stall_s: float = 0.0
    """The process dumps its stacks and leaves after so many seconds without a sign of life; 0 waits for ever."""


@dataclass(frozen=True)
class CheckpointRef:
    """The newest checkpoint of this run."""

    step: int
    path: Path
    saved_at: float  # seconds since the epoch


@dataclass(frozen=True)
class ProgressSnapshot:
    """What the loop knows after an update; on rank 0 only."""

    update: int  # updates made, over all attempts; goes back when a run resumes from an older checkpoint
    step: int  # environment steps over all ranks
    total_steps: int
    steps_per_second: float
    metrics: dict[str, float]  # finite numbers only; the same keys as in metrics.jsonl
    curriculum: CurriculumProgress
    checkpoint: CheckpointRef | None
    evaluations: tuple[EvaluationPoint, ...] = ()  # all so far, over all attempts
    goodput: Goodput | None = None


@dataclass(frozen=True)
class TrainResult:
    """How training left: "done" when nothing is left to train, "pruned" when the study has ended it, "stopped" when
    it was asked to leave and has saved."""

    outcome: Literal["done", "stopped", "pruned"]
    step: int
    checkpoint: Path
    message: str
    metrics: dict[str, float] = field(default_factory=dict)


Stop = Callable[[], bool]
Report = Callable[[ProgressSnapshot], bool | None]  # True once the study has pruned this run: save and end
