"""What the core says is to be done for a study, and what it sees of the study's trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from headway_api import names
from headway_api.hpo_study import HPOStudyStatus
from headway_api.progress import EvaluationPoint
from headway_api.study_wire import Outcome
from headway_api.training_run import TrainingRunStatus

from headway_operator.core.plan import Deletion, Event, Manifest

Fate = Literal["active", "suspended", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRun:
    """A child TrainingRun: one seed of one trial."""

    namespace: str
    name: str
    uid: str
    number: int
    seed_index: int
    fate: Fate
    steps: int
    evaluations: tuple[EvaluationPoint, ...]
    reason: str  # why it failed
    finished_at: str
    is_suspended: bool  # spec.suspend
    is_terminating: bool

    @property
    def is_over(self) -> bool:
        """Whether the run has ended for good."""
        return self.fate in ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Tell:
    """How a trial ended; the shell hands it to the service, as often as it takes."""

    number: int
    outcome: Outcome
    steps: int
    reason: str = ""


@dataclass(frozen=True)
class StudyPlan:
    """Executed in the order of the fields. Whatever the service is told stands before what forgets its cause."""

    open: bool = False
    """Make the study at the service, or let it take over the budget; the next pass has its snapshot."""
    ended: tuple[TrialRun, ...] = ()
    """Runs of seeds that ended well: their evaluations are reported, and that none follow."""
    tell: tuple[Tell, ...] = ()
    ask: tuple[int, ...] = ()
    create: tuple[Manifest, ...] = ()
    suspend: tuple[tuple[TrialRun, bool], ...] = ()
    apply: tuple[Manifest, ...] = ()
    patch: tuple[Manifest, ...] = ()
    """Changed by server-side apply; each carries the UID that was read."""
    status: HPOStudyStatus | None = None
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None

    def with_(self, **changes: Any) -> StudyPlan:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)


def observe_trials(study_uid: str, runs: Iterable[Mapping[str, Any]]) -> list[TrialRun]:
    """Return the study's own runs, by number and seed; namesakes' and runs without a number are not among them."""
    found = [_trial_run(raw) for raw in runs if _is_ours(raw["metadata"], study_uid)]
    return sorted(found, key=lambda run: (run.number, run.seed_index))


def study_of(metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return name and UID of the study that a run is a trial of, by its owner reference."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == names.HPO_STUDY:
            return owner["name"], owner["uid"]
    return None


def _is_ours(metadata: Mapping[str, Any], study_uid: str) -> bool:
    labels, study = metadata.get("labels") or {}, study_of(metadata)
    is_owned = study is not None and study[1] == study_uid
    return is_owned and all(str(labels.get(key, "")).isdecimal() for key in (names.LABEL_TRIAL, names.LABEL_SEED_INDEX))


def _trial_run(raw: Mapping[str, Any]) -> TrialRun:
    metadata, labels = raw["metadata"], raw["metadata"]["labels"]
    status = TrainingRunStatus.model_validate(raw.get("status") or {}, by_alias=True, extra="ignore")
    failed = status.condition(names.FAILED)
    return TrialRun(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        number=int(labels[names.LABEL_TRIAL]),
        seed_index=int(labels[names.LABEL_SEED_INDEX]),
        fate=_fate(status),
        steps=status.progress.step if status.progress else 0,
        evaluations=tuple(status.progress.evaluations) if status.progress else (),
        reason=failed.message if failed else "",
        finished_at=status.completion_time,
        is_suspended=bool((raw.get("spec") or {}).get("suspend")),
        is_terminating=bool(metadata.get("deletionTimestamp")),
    )


def _fate(status: TrainingRunStatus) -> Fate:
    if not (finished := status.condition(names.FINISHED)) or finished.status != "True":
        return "suspended" if status.is_true(names.SUSPENDED) else "active"
    if finished.reason == names.REASON_PRUNED:
        return "pruned"
    return "complete" if status.is_true(names.SUCCEEDED) else "failed"
