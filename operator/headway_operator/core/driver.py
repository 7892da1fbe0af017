"""The driver of a study that Ray Tune searches: one Job, whose pod runs `headway study` with the trials as processes.

It asks and tells the study service, with a token for this one study; so the study is looked at like any other. That
there is never a second driver is the Job's to see to: two would train the same trials.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headway_api import names
from headway_api.hpo_study import HPOStudy, HPOStudySpec

from headway_operator.core import pods
from headway_operator.core.plan import Manifest
from headway_operator.core.study_ownership import ownership

FILE_STUDY = "study.json"
Fate = Literal["active", "succeeded", "failed"]


@dataclass(frozen=True)
class Access:
    """Where drivers find the study service, and whose certificates they trust there."""

    url: str
    ca_bundle: str


@dataclass(frozen=True)
class Driver:
    """The study's Job, as it is."""

    uid: str
    fate: Fate
    reason: str  # why it failed
    is_active: bool  # a pod of it is there, be it about to go
    is_suspended: bool  # spec.suspend


def driver_problem(spec: HPOStudySpec) -> str:
    """Return what hinders a driver on a cluster; empty if nothing does."""
    run, ray = spec.run_template, spec.engine.ray_tune
    if run.checkpoint.volume is None:
        return "spec.runTemplate.checkpoint.volume: missing: the driver keeps its trials there: give a claimName"
    if run.nodes != 1:
        return f"spec.runTemplate.nodes: found {run.nodes}: a driver's trials are processes of one pod: give 1"
    if ray is not None and ray.address:
        return f"spec.engine.rayTune.address: found {ray.address!r}: a driver starts Ray in its own pod: leave it out"
    return ""


def audience(study: HPOStudy) -> str:
    """Return whom the driver's token is for: the study service, about this study."""
    return f"{names.DRIVER_AUDIENCE}{study.metadata.uid}"


def driver_name(study: HPOStudy) -> str:
    """Return the name of the Job, and of the ConfigMap that its pod reads."""
    return f"{study.metadata.name}-driver"


def read_driver(raw: Mapping[str, Any] | None, study_uid: str) -> Driver | None:
    """Return the study's own Job; None where there is none, or a namesake's."""
    owners = {owner.get("uid") for owner in ((raw or {}).get("metadata") or {}).get("ownerReferences") or ()}
    if raw is None or study_uid not in owners:
        return None
    status = raw.get("status") or {}
    true = {c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"}
    failed, fate = true.get("Failed"), "failed" if "Failed" in true else "succeeded" if "Complete" in true else "active"
    return Driver(
        uid=raw["metadata"]["uid"],
        fate=fate,  # type: ignore[arg-type]
        reason=f"{failed.get('reason', '')}: {failed.get('message', '')}" if failed else "",
        is_active=bool(status.get("active") or status.get("terminating")),
        is_suspended=bool((raw.get("spec") or {}).get("suspend")),
    )


def build_config_map(study: HPOStudy, access: Access) -> Manifest:
    """Return what the driver reads: the study, and whom to trust."""
    document = {
        "apiVersion": names.API_VERSION,
        "kind": names.HPO_STUDY,
        "metadata": {key: getattr(study.metadata, key) for key in ("name", "namespace", "uid")},
        "spec": study.spec.to_wire(),
    }
    data = {FILE_STUDY: json.dumps(document, sort_keys=True), names.FILE_CA: access.ca_bundle}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(study), "data": data}


def build_job(study: HPOStudy, access: Access) -> Manifest:
    """Return the Job. A pod that was disrupted, or has saved and left, is replaced for nothing; bad input ends it."""
    each, parallel = study.spec.run_template, study.spec.budget.parallel
    run = each.model_copy(update={"gpus_per_node": each.gpus_per_node * parallel})  # each trial has its own
    own = f"{study.metadata.namespace}/{study.metadata.name}-{study.metadata.uid[:8]}"
    out = f"{names.MOUNT_CHECKPOINTS}/studies/{own}"
    command = ["headway", "study", f"{names.MOUNT_SPEC}/{FILE_STUDY}", "--out", out]
    variables = {
        "HOME": names.MOUNT_SCRATCH,
        names.ENV_STUDIES_URL: access.url,
        names.ENV_STUDIES_CA: f"{names.MOUNT_SPEC}/{names.FILE_CA}",
        names.ENV_STUDIES_TOKEN: f"{names.MOUNT_TOKEN}/{names.FILE_TOKEN}",
    }
    container = pods.container(run, command, variables, pods.mounts(run))
    volumes = pods.volumes(run, driver_name(study), audience(study))
    template = run.pod_template
    metadata: dict[str, Any] = {"labels": {**template.labels, **ownership(study)["labels"]}}
    if template.annotations:
        metadata["annotations"] = dict(template.annotations)
    on_exit = {"containerName": names.CONTAINER, "operator": "In"}
    rules = [
        {"action": "FailJob", "onExitCodes": on_exit | {"values": [names.EXIT_BAD_INPUT]}},
        {"action": "Ignore", "onExitCodes": on_exit | {"values": [names.EXIT_SAVED_AND_LEFT]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(study),
        "spec": {
            "backoffLimit": run.failure_policy.max_restarts,
            "suspend": study.spec.suspend,
            "podReplacementPolicy": "Failed",  # not before the one before has surely ended
            "podFailurePolicy": {"rules": rules},
            "template": {"metadata": metadata, "spec": pods.pod_spec(run, container, volumes, template.affinity)},
        },
    }


def patched(study: HPOStudy, driver: Driver) -> Manifest:
    """Return the change that suspends this very Job, or lets it go on."""
    metadata = {"name": driver_name(study), "namespace": study.metadata.namespace, "uid": driver.uid}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"suspend": study.spec.suspend}}


def _metadata(study: HPOStudy) -> dict[str, Any]:
    return {"name": driver_name(study), "namespace": study.metadata.namespace, **ownership(study)}
