"""The finished PodSpec, held against Kubernetes' `restricted` profile and our own limits, before any pod is made.

The template is an allow-list already. This is the second lock: it looks at what all merging has led to, so that a new
template field, or a mistake in a builder, cannot open a way to the node.
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headway_api import names
from headway_api.pod_template import APPARMOR_PREFIX

_SPEC_FIELDS = frozenset(
    {
        "affinity",
        "automountServiceAccountToken",
        "containers",
        "enableServiceLinks",
        "hostname",
        "imagePullSecrets",
        "nodeSelector",
        "priorityClassName",
        "restartPolicy",
        "securityContext",
        "serviceAccountName",
        "subdomain",
        "terminationGracePeriodSeconds",
        "tolerations",
        "volumes",
    }
)
_CONTAINER_FIELDS = frozenset(
    {
        "name",
        "image",
        "imagePullPolicy",
        "command",
        "env",
        "envFrom",
        "resources",
        "securityContext",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "volumeMounts",
    }
)
_SECURITY_FIELDS = frozenset(
    {"runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile"}
)
_VOLUME_KINDS = frozenset({"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"})
_MOUNT_FIELDS = frozenset({"name", "mountPath", "readOnly"})


def violations(pod: dict[str, Any], audience: str = names.PROGRESS_AUDIENCE) -> list[str]:
    """Return what is wrong with the pod, in sentences; nothing, if it may be made with a token for `audience`."""
    spec = pod.get("spec", {})
    return [
        *_annotations(pod.get("metadata", {}).get("annotations", {})),
        *_unknown("spec", spec, _SPEC_FIELDS),
        *_pod(spec),
        *(problem for volume in spec.get("volumes", []) for problem in _volume(volume, audience)),
        *(problem for toleration in spec.get("tolerations", []) for problem in _toleration(toleration)),
        *_containers(spec.get("containers", [])),
    ]


def _annotations(annotations: dict[str, str]) -> Iterator[str]:
    for key in sorted(annotations):
        if key.startswith(APPARMOR_PREFIX):
            yield f"annotation {key} is not allowed: the runtime's own profile is kept"


def _unknown(where: str, thing: dict[str, Any], allowed: frozenset[str]) -> Iterator[str]:
    for name in sorted(set(thing) - allowed):
        yield f"{where}.{name} is not allowed"


def _pod(spec: dict[str, Any]) -> Iterator[str]:
    security = spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") != names.TRAINER_UID:
        yield f"spec.securityContext must run as user {names.TRAINER_UID}, and not as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "spec.securityContext.seccompProfile must be RuntimeDefault"
    yield from _unknown("spec.securityContext", security, _SECURITY_FIELDS)
    if spec.get("automountServiceAccountToken") is not False:
        yield "spec.automountServiceAccountToken must be false: training pods have no access to the API server"
    if spec.get("serviceAccountName") != "default":
        yield "spec.serviceAccountName must be default"
    if str(spec.get("priorityClassName", "")).startswith("system-"):
        yield "spec.priorityClassName must not be a system class"


def _volume(volume: dict[str, Any], audience: str) -> Iterator[str]:
    name = volume.get("name")
    kinds = set(volume) - {"name"}
    if len(kinds) != 1 or not kinds <= _VOLUME_KINDS:
        yield f"volume {name} must be one of {', '.join(sorted(_VOLUME_KINDS))}"
    for source in volume.get("projected", {}).get("sources", []):
        token = source.get("serviceAccountToken", {})
        if set(source) != {"serviceAccountToken"} or token.get("audience") != audience:
            yield f"volume {name} must hold no token but one for the audience {audience}"


def _toleration(toleration: dict[str, Any]) -> Iterator[str]:
    key = toleration.get("key")
    if not key:
        yield "tolerations must name a key: without one they tolerate every taint"
    elif key.startswith("node-role.kubernetes.io/"):
        yield f"toleration of {key} is not allowed: it is the control plane's"


def _containers(containers: list[dict[str, Any]]) -> Iterator[str]:
    if [container.get("name") for container in containers] != [names.CONTAINER]:
        yield f"there must be one container, {names.CONTAINER}"
    for container in containers:
        yield from _unknown("container", container, _CONTAINER_FIELDS)
        wanted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if container.get("securityContext") != wanted:
            yield "the container must drop all capabilities, keep its privileges and have a read-only root"
        for mount in container.get("volumeMounts", []):
            yield from _unknown(f"mount {mount.get('name')}", mount, _MOUNT_FIELDS)
        paths = [mount.get("mountPath") for mount in container.get("volumeMounts", [])]
        if len(set(paths)) != len(paths):
            yield "two volumes must not be mounted at one path"
        yield from _environment(container.get("env", []))


def _environment(env: list[dict[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    for variable in env:
        name = variable.get("name", "")
        if name in seen:
            yield f"variable {name} is set twice"
        seen.add(name)
