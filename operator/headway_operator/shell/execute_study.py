"""One reconciliation of a study: read it and its runs live, ask the service and the core, do what the core says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from headway_api import names
from headway_api.hpo_study import HPOStudy, HPOStudySpec
from headway_api.study_wire import AskedTrial, ReportReply, ReportTrial, StudySnapshot, TellTrial

from headway_operator.core.driver import Access, driver_name, read_driver
from headway_operator.core.reconcile_study import Answer, Away, Declined, Driving, reconcile_study
from headway_operator.core.study_plan import StudyPlan, TrialRun, observe_trials
from headway_operator.core.study_status import read_study, refused, reject_study
from headway_operator.shell.cluster import Cluster, ConflictError, Key, LeavingError, Raw, RefusedError
from headway_operator.shell.execute import CONFLICT_RETRY_S, post_event
from headway_operator.shell.studies_client import StudiesAwayError, StudyDeclinedError, StudyKey

log = logging.getLogger(__name__)


class StudyService(Protocol):
    """What answers for the storage: StudiesClient."""

    @property
    def access(self) -> Access:
        """Where drivers find it."""
        ...

    async def open(self, study: StudyKey, spec: HPOStudySpec) -> StudySnapshot:
        """Make the study, or let it take over the budget."""

    async def ask(self, study: StudyKey, number: int) -> AskedTrial:
        """Have a trial decided."""

    async def report(self, study: StudyKey, report: ReportTrial) -> ReportReply:
        """Hand over evaluations."""

    async def tell(self, study: StudyKey, told: TellTrial) -> StudySnapshot:
        """Hand over how a trial ended."""


async def reconcile(cluster: Cluster, service: StudyService, key: Key, clock: Callable[[], datetime]) -> float | None:
    """Take one step towards what the study asks for. Return the seconds after which to look again, if at all."""
    raw = await cluster.get(names.HPO_STUDY, key.namespace, key.name)
    if raw is None or raw["metadata"].get("deletionTimestamp"):
        return None
    study, problem = read_study(raw)
    try:
        if problem:
            return await execute(cluster, service, study, reject_study(study, problem, clock()), clock())
        runs = observe_trials(
            study.metadata.uid, await cluster.list_trials(study.metadata.namespace, study.metadata.uid)
        )
        return await _step(cluster, service, study, runs, clock(), await _driving(cluster, service, study))
    except ConflictError as conflict:
        log.debug("study %s/%s: %s; reading again", key.namespace, key.name, conflict)
        return CONFLICT_RETRY_S


async def _step(
    cluster: Cluster,
    service: StudyService,
    study: HPOStudy,
    runs: list[TrialRun],
    now: datetime,
    driving: Driving | None,
) -> float | None:
    plan = reconcile_study(study, runs, None, now, driving)
    if plan.open:
        plan = reconcile_study(study, runs, await _opened(service, study), now, driving)
    try:
        return await execute(cluster, service, study, plan, now)
    except (StudiesAwayError, StudyDeclinedError) as error:  # the rest of the plan was for a service that follows
        log.warning(
            "study %s/%s: the rest of the pass is left: %s", study.metadata.namespace, study.metadata.name, error
        )
        away = reconcile_study(study, runs, Away(str(error)), now, driving)
        return await execute(cluster, service, study, away, now)


async def _driving(cluster: Cluster, service: StudyService, study: HPOStudy) -> Driving | None:
    """Read the Job of a study that has a driver."""
    if study.spec.engine.ray_tune is None:
        return None
    job = await cluster.get("Job", study.metadata.namespace, driver_name(study))
    return Driving(read_driver(job, study.metadata.uid), service.access)


async def _opened(service: StudyService, study: HPOStudy) -> Answer:
    try:
        return await service.open(study_key(study), study.spec)
    except StudiesAwayError as error:
        return Away(str(error))
    except StudyDeclinedError as error:
        log.warning("%s", error)
        return Declined(f"the study service refuses it: {error.reason}")


def study_key(study: HPOStudy) -> StudyKey:
    """Return the name that the service knows the study by."""
    return StudyKey(study.metadata.namespace, study.metadata.name, study.metadata.uid)


async def execute(
    cluster: Cluster, service: StudyService, study: HPOStudy, plan: StudyPlan, now: datetime
) -> float | None:
    """Do what the plan says, in its order. Raises ConflictError where what was read is no longer so, StudiesAwayError
    and StudyDeclinedError where the service does not do its part."""
    namespace = study.metadata.namespace
    await _speak(service, study_key(study), plan)
    if refusals := await _write(cluster, plan):
        log.warning("study %s/%s: refused: %s", namespace, study.metadata.name, refusals[0])
        leaving = isinstance(refusals[0], LeavingError)
        plan = refused(study, plan, str(refusals[0]), now, is_leaving=leaving)
    if plan.status is not None:
        await cluster.apply_status(
            Key(namespace, study.metadata.name, names.HPO_STUDY),
            plan.status.to_wire(),
            uid=study.metadata.uid,
            manager=names.MANAGER_RECONCILER,
            resource_version=study.metadata.resource_version,
        )
    await asyncio.gather(*(cluster.delete(names.TRAINING_RUN, namespace, d.name, d.uid) for d in plan.delete))
    for event in plan.events:
        await post_event(cluster, names.HPO_STUDY, study.metadata, event, now)
    return plan.requeue_after


async def _speak(service: StudyService, key: StudyKey, plan: StudyPlan) -> None:
    """Tell the service what has happened, one thing after the other, then ask for more."""
    for run in plan.ended:
        evaluations = list(run.evaluations)
        await service.report(
            key, ReportTrial(number=run.number, seed_index=run.seed_index, evaluations=evaluations, ended=True)
        )
    for tell in plan.tell:
        told = TellTrial(number=tell.number, outcome=tell.outcome, steps=tell.steps, reason=tell.reason)
        await service.tell(key, told)
    for number in plan.ask:
        await service.ask(key, number)


async def _write(cluster: Cluster, plan: StudyPlan) -> list[RefusedError]:
    """Make and change children. Return what was refused, of which what people have to mend comes first."""
    steps = [cluster.create(manifest) for manifest in plan.create]
    steps += [cluster.suspend_run(run.namespace, run.name, run.uid, want) for run, want in plan.suspend]
    steps += [_keep(cluster, manifest) for manifest in plan.apply]
    steps += [cluster.apply(manifest) for manifest in plan.patch]
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, RefusedError):
            raise result
    refusals = [result for result in results if isinstance(result, RefusedError)]
    return sorted(refusals, key=lambda refusal: isinstance(refusal, LeavingError))


async def _keep(cluster: Cluster, wanted: Raw) -> None:
    """Make a ConfigMap, or bring it up to date if it is the same owner's."""
    metadata = wanted["metadata"]
    found = await cluster.get(wanted["kind"], metadata["namespace"], metadata["name"])
    owners = (found or {}).get("metadata", {}).get("ownerReferences") or ()
    is_ours = metadata["ownerReferences"][0]["uid"] in {owner.get("uid") for owner in owners}
    if found is None or not is_ours:
        await cluster.create(wanted)  # which says what stands there
    elif found.get("data") != wanted["data"]:
        await cluster.apply({**wanted, "metadata": {**metadata, "uid": found["metadata"]["uid"]}})
