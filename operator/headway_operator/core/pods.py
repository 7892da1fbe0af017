"""Builders of a run's children. No clock, no randomness: the same run and attempt give the same manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_api import names
from headway_api.pod_template import EnvVar
from headway_api.training_run import TrainingRun, TrainingRunSpec

from headway_operator.core.plan import Manifest

COMMAND = ["headway", "worker"]
ACCOUNT = "default"  # of the run's namespace; all that a pod gets of it is a token for the progress server
TOKEN_SECONDS = 3600
# A node that is not ready loses its training pods after this time (Kubernetes' default is 300 s).
NODE_LOSS_SECONDS = 30
_LOST_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

SPEC_VOLUME, TOKEN_VOLUME, SCRATCH_VOLUME = "headway-run", "headway-token", "headway-scratch"
CHECKPOINT_VOLUME, SHM_VOLUME = "headway-checkpoints", "headway-shm"


@dataclass(frozen=True)
class Reporting:
    """Where rank 0 reports to, and the certificates that it trusts there (old and new while they rotate)."""

    url: str
    ca_bundle: str


def labels(run: TrainingRun) -> dict[str, str]:
    """Return what every child carries; pods are listed by the UID, so that a namesake's are never ours."""
    return {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_RUN: run.metadata.name,
        names.LABEL_RUN_UID: run.metadata.uid,
    }


def pod_name(run: TrainingRun, attempt: int, node: int) -> str:
    """Return a name that is a function of (run, attempt, node), so that nothing is ever made twice."""
    return f"{run.metadata.name}-{attempt}-{node}"


def master_address(run: TrainingRun, attempt: int) -> str:
    """Return node 0's DNS name: another one for each attempt, so that no cache knows the last one's address."""
    return f"{pod_name(run, attempt, 0)}.{run.metadata.name}.{run.metadata.namespace}.svc"


def build_service(run: TrainingRun) -> Manifest:
    """Return the headless Service that gives pods their names before they are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(run, run.metadata.name, labels(run)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.LABEL_RUN_UID: run.metadata.uid},
            "ports": [{"name": "rendezvous", "port": names.MASTER_PORT, "protocol": "TCP"}],
        },
    }


def build_config_map(run: TrainingRun, reporting: Reporting) -> Manifest:
    """Return the ConfigMap with the run's object, as the trainer reads it, and the progress server's certificates."""
    document = {
        "apiVersion": names.API_VERSION,
        "kind": names.TRAINING_RUN,
        "metadata": {
            "name": run.metadata.name,
            "namespace": run.metadata.namespace,
            "uid": run.metadata.uid,
        },
        "spec": run.spec.to_wire(),
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(run, run.metadata.name, labels(run)),
        "data": {names.FILE_SPEC: json.dumps(document, sort_keys=True), names.FILE_CA: reporting.ca_bundle},
    }


def build_pod(run: TrainingRun, attempt: int, node: int, reporting: Reporting) -> Manifest:
    """Return the pod of one node of the gang."""
    template, name = run.spec.pod_template, pod_name(run, attempt, node)
    ours = {**labels(run), names.LABEL_ATTEMPT: str(attempt), names.LABEL_NODE: str(node)}
    metadata = _metadata(run, name, {**template.labels, **ours})
    if template.annotations:
        metadata["annotations"] = dict(template.annotations)
    spec = {"hostname": name, "subdomain": run.metadata.name} | pod_spec(
        run.spec, _container(run, attempt, node, reporting), _volumes(run), template.affinity or _spread(run)
    )
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def pod_spec(
    run: TrainingRunSpec, container: Manifest, volumes: list[Manifest], affinity: dict[str, Any] | None
) -> Manifest:
    """Return what every pod that trains has in common, a gang's and a driver's: nothing that `restricted` forbids."""
    template = run.pod_template
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": run.termination_grace_period_seconds,
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.TRAINER_UID,
            "runAsGroup": names.TRAINER_UID,
            "fsGroup": names.TRAINER_UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": _tolerations(run),
        "containers": [container],
        "volumes": volumes,
    }
    if affinity:
        spec["affinity"] = affinity
    if template.node_selector:
        spec["nodeSelector"] = dict(template.node_selector)
    if template.priority_class_name:
        spec["priorityClassName"] = template.priority_class_name
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret.name} for secret in template.image_pull_secrets]
    return spec


def _metadata(run: TrainingRun, name: str, labels: dict[str, str]) -> dict[str, Any]:
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": names.TRAINING_RUN,
        "name": run.metadata.name,
        "uid": run.metadata.uid,
        "controller": True,
    }
    return {
        "name": name,
        "namespace": run.metadata.namespace,
        "labels": dict(sorted(labels.items())),
        "ownerReferences": [owner],
    }


def _container(run: TrainingRun, attempt: int, node: int, reporting: Reporting) -> dict[str, Any]:
    return container(run.spec, COMMAND, environment(run, attempt, node, reporting), mounts(run.spec))


def container(run: TrainingRunSpec, command: Sequence[str], variables: Mapping[str, str], mounts: Any) -> Manifest:
    """Return the one container of a pod that trains."""
    template = run.pod_template
    found: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": run.image,
        "imagePullPolicy": run.image_pull_policy,
        "command": list(command),
        # Our variables come last: of two with one name Kubernetes takes the later.
        "env": [_user_variable(variable) for variable in template.env]
        + [{"name": name, "value": value} for name, value in variables.items()],
        "resources": _resources(run),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    if template.env_from:
        found["envFrom"] = [entry.to_wire() for entry in template.env_from]
    return found


def environment(run: TrainingRun, attempt: int, node: int, reporting: Reporting) -> dict[str, str]:
    """Return the variables that tell the launcher who it is, and torch where to meet."""
    own = f"{run.metadata.namespace}/{run.metadata.name}"
    return {
        "HOME": names.MOUNT_SCRATCH,  # the root file system is read-only, and libraries keep caches at home
        names.ENV_SPEC: f"{names.MOUNT_SPEC}/{names.FILE_SPEC}",
        names.ENV_NAMESPACE: run.metadata.namespace,
        names.ENV_NAME: run.metadata.name,
        names.ENV_UID: run.metadata.uid,
        names.ENV_ATTEMPT: str(attempt),
        names.ENV_ROOT: f"{names.MOUNT_CHECKPOINTS}/checkpoints",
        names.ENV_OUT: f"{names.MOUNT_CHECKPOINTS}/runs/{own}",
        names.ENV_PROGRESS_URL: reporting.url,
        names.ENV_PROGRESS_CA: f"{names.MOUNT_SPEC}/{names.FILE_CA}",
        names.ENV_PROGRESS_TOKEN: f"{names.MOUNT_TOKEN}/{names.FILE_TOKEN}",
        names.ENV_NNODES: str(run.spec.nodes),
        names.ENV_NPROC: str(run.spec.ranks_per_node),
        names.ENV_NODE_RANK: str(node),
        names.ENV_MASTER_ADDR: master_address(run, attempt),
        names.ENV_MASTER_PORT: str(names.MASTER_PORT),
    }


def _user_variable(variable: EnvVar) -> dict[str, Any]:
    wire = variable.to_wire()
    if "value" in wire:  # Kubernetes would expand $(NAME), with our variables in reach; $$ is its escape
        wire["value"] = wire["value"].replace("$", "$$")
    return wire


def _resources(run: TrainingRunSpec) -> dict[str, Any]:
    resources = run.pod_template.resources
    gpus = {run.gpu_resource: str(run.gpus_per_node)} if run.gpus_per_node else {}
    amounts = {"requests": {**resources.requests, **gpus}, "limits": {**resources.limits, **gpus}}
    return {kind: amount for kind, amount in amounts.items() if amount}


def _tolerations(run: TrainingRunSpec) -> list[dict[str, Any]]:
    """Return the user's tolerations and, where they do not speak of the same taint, ours."""
    tolerations = [
        {key: value for key, value in toleration.to_wire().items() if value != ""}
        for toleration in run.pod_template.tolerations
    ]
    spoken_of = {toleration["key"] for toleration in tolerations}
    if run.gpus_per_node and run.gpu_resource not in spoken_of:
        tolerations.append({"key": run.gpu_resource, "operator": "Exists", "effect": "NoSchedule"})
    tolerations += [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NODE_LOSS_SECONDS}
        for key in _LOST_NODE_TAINTS
        if key not in spoken_of
    ]
    return tolerations


def _spread(run: TrainingRun) -> dict[str, Any]:
    """Return the wish, not the demand, that the gang's pods stand on different nodes."""
    term = {
        "labelSelector": {"matchLabels": {names.LABEL_RUN_UID: run.metadata.uid}},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
        }
    }


def _volumes(run: TrainingRun) -> list[dict[str, Any]]:
    return volumes(run.spec, run.metadata.name, names.PROGRESS_AUDIENCE)


def volumes(run: TrainingRunSpec, config_map: str, audience: str) -> list[dict[str, Any]]:
    """Return the volumes of a pod that trains: what it is told, its token, scratch, checkpoints, the user's own."""
    claim = run.checkpoint.volume
    kept: dict[str, Any] = (
        {"persistentVolumeClaim": {"claimName": claim.claim_name}} if claim is not None else {"emptyDir": {}}
    )
    token = {"audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": names.FILE_TOKEN}
    found: list[dict[str, Any]] = [
        {"name": SPEC_VOLUME, "configMap": {"name": config_map}},
        {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": SCRATCH_VOLUME, "emptyDir": {}},
        {"name": CHECKPOINT_VOLUME, **kept},
    ]
    if run.gpus_per_node:
        found.append({"name": SHM_VOLUME, "emptyDir": {"medium": "Memory"}})
    return found + [volume.to_wire() for volume in run.pod_template.volumes]


def mounts(run: TrainingRunSpec) -> list[dict[str, Any]]:
    """Return where a container that trains finds its volumes."""
    found: list[dict[str, Any]] = [
        {"name": SPEC_VOLUME, "mountPath": names.MOUNT_SPEC, "readOnly": True},
        {"name": TOKEN_VOLUME, "mountPath": names.MOUNT_TOKEN, "readOnly": True},
        {"name": SCRATCH_VOLUME, "mountPath": names.MOUNT_SCRATCH},
        {"name": CHECKPOINT_VOLUME, "mountPath": names.MOUNT_CHECKPOINTS},
    ]
    if run.gpus_per_node:
        found.append({"name": SHM_VOLUME, "mountPath": "/dev/shm"})
    return found + [mount.to_wire() for mount in run.pod_template.volume_mounts]
