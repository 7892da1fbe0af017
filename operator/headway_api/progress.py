"""What rank 0 reports while it trains, and what it is answered."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from headway_api.base import Contract, Float, Int, described

MetricName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_./-]+$")]


class CurriculumProgress(Contract):
    """Where the run stands in its curriculum."""

    stage: Int = Field(ge=1, le=16, description="Number of the stage, from 1.")
    stage_name: str = Field(max_length=40, description="Name of the stage.")
    stages: Int = Field(ge=1, le=16, description="How many stages there are.")
    success_rate: Float | None = Field(None, ge=0.0, le=1.0, description="Share of successes in the gate's window.")
    collision_rate: Float | None = Field(None, ge=0.0, le=1.0, description="Share of collisions in the gate's window.")
    reward: Float | None = Field(
        None, ge=-1e7, le=1e7, description="Mean total reward of the episodes in the gate's window."
    )
    episodes_in_stage: Int = Field(ge=0, description="Fresh episodes that began and ended in this stage.")
    advanced_at: Int = described(0, "Environment step at which the stage began.", ge=0)
    demotions: Int = described(0, "How often the run was led back to the stage before.", ge=0)
    remembered_levels: Int | None = Field(
        None, ge=0, le=65536, description="Levels that are remembered to be played again, with curriculum.learnability."
    )
    learnability: Float | None = Field(
        None, ge=0.0, le=0.25, description="Mean p(1 - p) of the remembered levels; 0.25 is the largest."
    )
    passed: bool = described(False, "Whether the gate of the schedule's last stage has passed.")


class CheckpointProgress(Contract):
    """The newest whole checkpoint."""

    step: Int = Field(ge=0, description="Environment step that it holds.")
    uri: str = Field(max_length=1024, description="Where it is.")
    time: str = Field(max_length=40, description="When it was written, RFC 3339.")


MAX_SECONDS = 1e10  # three centuries


class Goodput(Contract):
    """Useful training time over the wall time since the run began, over all attempts, and where the rest went."""

    fraction: Float = Field(ge=0.0, le=1.0, description="Useful seconds over all seconds since the run began.")
    useful_seconds: Float = Field(ge=0.0, le=MAX_SECONDS, description="Seconds of updates that have not been lost.")
    start_up_seconds: Float = Field(
        ge=0.0, le=MAX_SECONDS, description="Seconds from the launch of each attempt to its first update."
    )
    recompute_seconds: Float = Field(
        ge=0.0, le=MAX_SECONDS, description="Seconds of updates that were made and lost after a last checkpoint."
    )
    checkpointing_seconds: Float = Field(ge=0.0, le=MAX_SECONDS, description="Seconds that training waited for saving.")
    waiting_seconds: Float = Field(
        ge=0.0, le=MAX_SECONDS, description="All other seconds: between attempts, suspended, logging."
    )


class EvaluationPoint(Contract):
    """One evaluation on validation levels. Studies judge and prune by these, and by nothing else."""

    index: Int = Field(ge=1, le=10**6, description="Number of the evaluation in its run, from 1.")
    step: Int = Field(ge=0, description="Environment step at which it was made.")
    metrics: dict[MetricName, Float] = Field(
        max_length=8, description="What it found: evaluation/success_rate and the like, finite numbers only."
    )


class Progress(Contract):
    """status.progress: the newest values. History is the trackers' business."""

    step: Int = Field(ge=0, description="Environment steps over all ranks.")
    total_steps: Int = Field(ge=0, description="Steps at which training ends at the latest.")
    percent: Int = Field(ge=0, le=100, description="Share of totalSteps, or 100 when complete.")
    eta_seconds: Int | None = Field(None, ge=0, description="Seconds to totalSteps at the present speed.")
    eta: str = described("", "The same for people, e.g. 1h05m.", max_length=16)
    steps_per_second: Float = described(0.0, "Environment steps per second over all ranks, recently.", ge=0.0)
    success: str = described("", "The gate's success rate for people, e.g. 87%.", max_length=8)
    metrics: dict[MetricName, Float] = described({}, "The newest metrics, finite numbers only.", max_length=64)
    curriculum: CurriculumProgress | None = Field(None, description="Where the run stands in its curriculum.")
    checkpoint: CheckpointProgress | None = Field(None, description="The newest whole checkpoint.")
    goodput: Goodput | None = Field(None, description="Useful training time over wall time.")
    evaluations: list[EvaluationPoint] = described([], "The newest evaluations, oldest first.", max_length=32)
    attempt: Int = described(0, "The attempt that reported this.", ge=0)
    number: Int = described(0, "Number of the report, over all attempts.", ge=0)
    reported_at: str = described("", "When the operator received it, RFC 3339.", max_length=40)


class ProgressReport(Contract):
    """The body that rank 0 posts."""

    attempt: Int = Field(ge=1, description="The attempt that reports; an older one is refused.")
    number: Int = Field(
        ge=1, description="Increases by one with every report, over all attempts; resent until acknowledged."
    )
    progress: Progress = Field(description="The newest values.")


class ProgressReply(Contract):
    """The operator's answer."""

    acknowledged: Int = Field(ge=0, description="Number of the newest report that is recorded.")
    next_seconds: Float = Field(gt=0.0, le=3600.0, description="How long to wait before the next report.")
    stop: bool = described(False, "Save and end here: the study has pruned this trial.")
