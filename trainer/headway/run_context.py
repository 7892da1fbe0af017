"""What a run is told besides its spec, and what it says while it trains and when it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class RunContext:
    """Who this run is, where it keeps things and which rank this process is."""

    namespace: str
    """With `name` and `uid` the run's identity: from the operator, or made by `headway run`."""
    name: str
    uid: str
    attempt: int
    """Attempt of this run, from 0: each restart of the gang is a higher one, and fences off writers of lower ones."""
    out: Path
    """metrics.jsonl, tensorboard/ and best.* go here. Only rank 0 writes."""
    checkpoints: Path
    """Root that holds the step-* directories of this run: <uri>/<namespace>/<name>."""
    checkpoint_every_s: float = 60.0
    """Seconds between two saves, by rank 0's clock; 0 saves at every update."""
    keep: int = 3
    """How many of the newest whole checkpoints are kept."""
    resume: str = "auto"
    """"auto" goes on from the newest whole checkpoint, "never" refuses to find one, else a path of a step-* directory
    or of a root of them."""
    rank: int = 0
    world_size: int = 1
    threads: int = 2
    """CPU threads of this rank, for torch and for the environment's kernel."""
    stall_s: float = 0.0
    """The process dumps its stacks and leaves if no update completes for this long, in seconds; 0 waits for ever."""


@dataclass(frozen=True)
class CurriculumStatus:
    """Where the curriculum stands: `status.progress.curriculum`."""

    stage: int  # from 0; equal to `stages` once the last gate has passed
    stage_name: str
    stages: int
    success_rate: float  # of the episodes that the gate looks at; 0 while there are none
    episodes_in_stage: int  # episodes that began and ended in this stage, over all ranks
    advanced_at: int  # environment step at which the stage was reached


@dataclass(frozen=True)
class CheckpointRef:
    """The newest checkpoint of this run."""

    step: int
    path: Path
    saved_at: float  # seconds since the epoch


@dataclass(frozen=True)
class ProgressSnapshot:
    """What the loop knows after an update; on rank 0 only."""

    step: int  # environment steps over all ranks
    total_steps: int
    steps_per_second: float
    metrics: dict[str, float]  # finite numbers only; the same keys as in metrics.jsonl
    curriculum: CurriculumStatus
    checkpoint: CheckpointRef | None


@dataclass(frozen=True)
class TrainResult:
    """How training left: "done" when nothing is left to train, "stopped" when it was asked to leave and has saved."""

    outcome: Literal["done", "stopped"]
    step: int
    checkpoint: Path
    message: str
    metrics: dict[str, float] = field(default_factory=dict)


Stop = Callable[[], bool]
Report = Callable[[ProgressSnapshot], None]
