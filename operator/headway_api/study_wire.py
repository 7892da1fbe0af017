"""What the operator says to the study service, and what it is answered. Every call may be repeated: it names its trial.

A trial is numbered from 0 by who asks. The service keeps a study by namespace, name and UID; one that was deleted and
made again under its name is another study.

PUT  {STUDIES_PATH}/{namespace}/{name}/{uid}         OpenStudy     -> StudySnapshot
GET  {STUDIES_PATH}/{namespace}/{name}/{uid}                       -> StudySnapshot
POST {STUDIES_PATH}/{namespace}/{name}/{uid}/ask     AskTrial      -> AskedTrial
POST {STUDIES_PATH}/{namespace}/{name}/{uid}/report  ReportTrial   -> ReportReply
POST {STUDIES_PATH}/{namespace}/{name}/{uid}/tell    TellTrial     -> StudySnapshot
POST {STUDIES_PATH}/{namespace}/{name}/{uid}/change  ChangeTrial   -> StudySnapshot
GET  {STUDIES_PATH}/{namespace}/{name}/{uid}/curves                -> Curves

All but PUT are also for the study's driver, with a token for this one study.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from headway_api.base import Contract, Float, Int, described
from headway_api.hpo_study import BestTrial, HPOStudySpec, TrialCounts
from headway_api.progress import EvaluationPoint

Outcome = Literal["complete", "pruned", "failed"]
State = Literal["running", "complete", "pruned", "failed"]


class OpenStudy(Contract):
    """Make the study if it is not there; take over its budget if it is."""

    spec: HPOStudySpec


class AskTrial(Contract):
    """Which point is trial `number`? The same answer every time."""

    number: Int = Field(ge=0, le=9999)


class AskedTrial(Contract):
    """The point: values of the parameters that matter there, by path."""

    number: Int = Field(ge=0, le=9999)
    values: dict[str, Any] = Field(max_length=32)


class ReportTrial(Contract):
    """What a running trial's evaluations have shown; those that are known already change nothing."""

    number: Int = Field(ge=0, le=9999)
    seed_index: Int = Field(ge=0, le=15)
    evaluations: list[EvaluationPoint] = Field(max_length=64)
    ended: bool = described(False, "The run of this seed has ended well: nothing follows from it.")


class ReportReply(Contract):
    """Whether the trial is to stop."""

    stop: bool


class TellTrial(Contract):
    """How a trial ended. The first word counts: a repeated or a later one changes nothing."""

    number: Int = Field(ge=0, le=9999)
    outcome: Outcome = Field(description="complete: all its seeds ran to their end.")
    steps: Int = Field(ge=0, description="Environment steps of all its runs.")
    reason: str = described("", "Why it failed or was stopped.", max_length=1024)


class ChangeTrial(Contract):
    """With which values a trial of a population goes on."""

    number: Int = Field(ge=0, le=9999)
    values: dict[str, Any] = Field(max_length=32)


class Curves(Contract):
    """What each trial has reported."""

    values: dict[str, dict[str, Float]] = Field(
        default_factory=dict, max_length=10000, description="Objective by evaluation by number of the trial."
    )


class TrialRow(Contract):
    """A trial that is not finished."""

    number: Int = Field(ge=0, le=9999)
    values: dict[str, Any] = Field(max_length=32)
    seeds_done: Int = described(0, "Runs of it that have their last evaluation.", ge=0, le=16)


class StudySnapshot(Contract):
    """The study as the storage has it."""

    trials: TrialCounts
    running: list[TrialRow] = Field(max_length=256)
    finished: dict[str, Outcome] = Field(
        default_factory=dict, max_length=10000, description="How each finished trial ended, by number."
    )
    best: list[BestTrial] = Field(default_factory=list, max_length=16)
    steps: Int = described(0, "Environment steps of all finished trials.", ge=0)
    began: Float = described(0.0, "When the first trial was asked for, in seconds since 1970; 0 before.", ge=0.0)
    seconds: Float = described(0.0, "Mean duration of finished trials, from ask to tell.", ge=0.0)
