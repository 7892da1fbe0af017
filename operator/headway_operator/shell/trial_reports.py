"""Hands a trial's evaluations on to the study service, and asks whether the trial is to stop.

Every report carries the run's newest evaluations, and the service knows which are new to it: what could not be handed
on goes with the next report, through whichever replica. What is remembered here only saves calls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from headway_api import names
from headway_api.progress import EvaluationPoint
from headway_api.study_wire import ReportReply, ReportTrial

from headway_operator.core.study_plan import study_of
from headway_operator.shell.cluster import Raw
from headway_operator.shell.studies_client import StudiesAwayError, StudyDeclinedError, StudyKey

log = logging.getLogger(__name__)

VERDICT_S = 2.0  # rank 0 waits for the answer to its report
MAX_REMEMBERED = 10_000


class ReportTaker(Protocol):
    """The part of the study service that reports need."""

    async def report(self, study: StudyKey, report: ReportTrial) -> ReportReply:
        """Take evaluations of a seed's run."""


class _Verdict(NamedTuple):
    newest: int  # index of the newest evaluation that was handed on
    stop: bool


class TrialReports:
    """Reports of runs that are trials; all others cost a look at their owner."""

    def __init__(self, service: ReportTaker) -> None:
        self._service = service
        self._verdicts: dict[str, _Verdict] = {}  # by the run's UID

    async def is_to_stop(self, run: Raw, evaluations: Sequence[EvaluationPoint]) -> bool:
        """Hand on what is new. False, within VERDICT_S, where the service gives no verdict; never raises for that."""
        metadata, labels = run["metadata"], run["metadata"].get("labels") or {}
        study = study_of(metadata)
        seed = [str(labels.get(label, "")) for label in (names.LABEL_TRIAL, names.LABEL_SEED_INDEX)]
        if study is None or not evaluations or not all(part.isdecimal() for part in seed):
            return False
        newest = max(point.index for point in evaluations)
        known = self._verdicts.get(metadata["uid"])
        if known is None or known.newest < newest:
            key = StudyKey(metadata["namespace"], *study)
            known = await self._ask(key, int(seed[0]), int(seed[1]), evaluations, newest)
            if known is not None:
                self._remember(metadata["uid"], known)
        return known is not None and known.stop

    async def _ask(
        self, study: StudyKey, number: int, seed_index: int, evaluations: Sequence[EvaluationPoint], newest: int
    ) -> _Verdict | None:
        try:
            report = ReportTrial(number=number, seed_index=seed_index, evaluations=list(evaluations))
            async with asyncio.timeout(VERDICT_S):
                return _Verdict(newest, (await self._service.report(study, report)).stop)
        except (TimeoutError, StudiesAwayError, StudyDeclinedError, ValueError) as error:
            log.warning("evaluations of trial %d of study %s/%s: %s", number, study.namespace, study.name, error)
            return None

    def _remember(self, uid: str, verdict: _Verdict) -> None:
        self._verdicts.pop(uid, None)
        if len(self._verdicts) >= MAX_REMEMBERED:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[uid] = verdict
