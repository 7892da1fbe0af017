"""Runs, pods and times for tests of the core, with as few words as a table needs."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from headway_api import load, names
from headway_api.training_run import TrainingRun, TrainingRunStatus
from headway_operator.core.observed import Observed, observe
from headway_operator.core.plan import Plan
from headway_operator.core.pods import Reporting
from headway_operator.core.reconcile_run import Context, reconcile_run
from specs import small_run

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
UID = "11111111-1111-4111-8111-111111111111"
REPORTING = Reporting(url="https://headway-operator.headway-system.svc:8443", ca_bundle="PEM")
CONTEXT = Context(reporting=REPORTING, observing_since=NOW - timedelta(days=1))


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make_run(status: dict[str, Any] | None = None, **spec: Any) -> TrainingRun:
    """A run named nav of uid UID; two nodes unless told otherwise."""
    document = small_run()
    document["metadata"] = {"name": "nav", "namespace": "team", "uid": UID, "generation": 1, "resourceVersion": "7"}
    document["spec"] |= {"nodes": 2, "checkpoint": {"volume": {"claimName": "ckpt"}}, **spec}
    if status is not None:
        document["status"] = status
    return load.validate(document)


def running(attempt: int = 1, **more: Any) -> dict[str, Any]:
    """Status of a run whose gang has run for ten minutes."""
    began = text(at(-600))
    status = {
        "observedGeneration": 1,
        "attempt": attempt,
        "attemptStartTime": began,
        "startTime": began,
        "activeSince": began,
        **more,
    }
    status.setdefault("conditions", [condition(names.READY, "True", names.REASON_RUNNING)])
    return status


def started(attempt: int = 1, **more: Any) -> dict[str, Any]:
    """Status of a run whose attempt is written down, and not yet running."""
    return running(attempt, **{"attemptStartTime": "", "conditions": [], **more})


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": text(at(-600))}


def pod(node: int, attempt: int = 1, *, phase: str = "Running", uid: str | None = None, **more: Any) -> dict[str, Any]:
    """A pod as the API server gives it. `more`: exit_code, message, reason, disrupted, deleting, waiting, node_name."""
    name = f"nav-{attempt}-{node}"
    metadata = {
        "name": name,
        "namespace": "team",
        "uid": uid or f"uid-{name}",
        "labels": {names.LABEL_ATTEMPT: str(attempt), names.LABEL_NODE: str(node), names.LABEL_RUN_UID: UID},
        "ownerReferences": [{"uid": UID, "controller": True, "kind": "TrainingRun", "name": "nav"}],
    }
    if "deleting" in more:
        metadata["deletionTimestamp"] = text(more["deleting"])
    status: dict[str, Any] = {"phase": phase, "conditions": []}
    if more.get("disrupted"):
        status["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"})
    if "unschedulable" in more:
        status["conditions"].append(
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": more["unschedulable"]}
        )
    if "pod_reason" in more:
        status["reason"] = more["pod_reason"]
    if state := _container_state(phase, more):
        status["containerStatuses"] = [{"name": names.CONTAINER, "state": state}]
    return {"metadata": metadata, "spec": {"nodeName": more.get("node_name", "worker-1")}, "status": status}


def _container_state(phase: str, more: dict[str, Any]) -> dict[str, Any]:
    if "exit_code" in more:
        ended = {
            "exitCode": more["exit_code"],
            "reason": more.get("reason", "Completed" if more["exit_code"] == 0 else "Error"),
            "finishedAt": text(more.get("finished", at(-60))),
        }
        return {"terminated": ended | ({"message": more["message"]} if "message" in more else {})}
    if "waiting" in more:
        return {"waiting": {"reason": more["waiting"][0], "message": more["waiting"][1]}}
    return {"running": {"startedAt": text(at(-600))}} if phase == "Running" else {}


def finished(node: int, attempt: int = 1, step: int = 4096) -> dict[str, Any]:
    """A pod that says training is complete."""
    message = f'{{"outcome": "done", "step": {step}, "checkpoint": "/c/step-{step:09d}.a{attempt}", "error": ""}}'
    return pod(node, attempt, phase="Succeeded", exit_code=0, message=message)


def pruned(node: int, attempt: int = 1, step: int = 4096) -> dict[str, Any]:
    """A pod that says the study has stopped its run."""
    message = f'{{"outcome": "pruned", "step": {step}, "checkpoint": "/c/step-{step:09d}.a{attempt}", "error": ""}}'
    return pod(node, attempt, phase="Succeeded", exit_code=0, message=message)


def failed(node: int, attempt: int = 1, exit_code: int = 1, **more: Any) -> dict[str, Any]:
    return pod(node, attempt, phase="Failed", exit_code=exit_code, **more)


def see(run: TrainingRun, *pods: dict[str, Any], now: datetime = NOW, **more: Any) -> Observed:
    """Observe pods of the run, as the shell would."""
    status = run.status or TrainingRunStatus()
    return observe(
        uid=UID, attempt=status.attempt, nodes=run.spec.nodes, now=now, pods=copy.deepcopy(list(pods)), **more
    )


def reconcile(run: TrainingRun, *pods: dict[str, Any], now: datetime = NOW, **more: Any) -> Plan:
    """Observe and reconcile at `now`."""
    return reconcile_run(run, see(run, *pods, now=now, **more), CONTEXT, now)


def status_after(run: TrainingRun, plan: Plan) -> TrainingRunStatus:
    """The run's status once the plan is executed."""
    return plan.status or run.status or TrainingRunStatus()


def created_pods(plan: Plan) -> list[str]:
    return [m["metadata"]["name"] for m in plan.create if m["kind"] == "Pod"]


def true_conditions(status: TrainingRunStatus) -> set[str]:
    return {c.type for c in status.conditions if c.status == "True"}
