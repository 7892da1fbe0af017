"""What a run may say about its pods: an allow-list. Containers, commands, service accounts, host access are not in it.

The operator checks the finished PodSpec once more before any pod is made; see docs/architecture.md, security.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from headway_api import names
from headway_api.base import Contract, Int, OneOf, Rule, described

# Kubernetes' resource.Quantity, non-negative.
QUANTITY_PATTERN = r"^\+?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]{1,2}))?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
# What a volume of the user must not cover: the system's paths and our own.
SYSTEM_PATHS = (
    "/bin", "/dev", "/etc", "/headway", "/home", "/lib", "/lib64", "/opt", "/proc", "/root", "/run", "/sbin", "/sys",
    "/tmp", "/usr", "/var",
)  # fmt: skip
# The old way to choose an AppArmor profile, Unconfined too: API servers honour it still.
APPARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
LabelKey = Annotated[str, Field(min_length=1, max_length=316)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]


def _quantity_text(value: object) -> object:
    """A quantity may be written as a whole number; inside it is text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("quantity", 'Input should be a quantity such as 2, 500m, 4Gi or, in quotes, "0.5"')
    return str(value)


Quantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    Field(max_length=32, pattern=QUANTITY_PATTERN, json_schema_extra={"x-headway-form": "quantity"}),
]


def _without_nulls(value: object) -> object:
    """The API server lets null pass where it looks for an integer or text; it means nothing."""
    return {key: amount for key, amount in value.items() if amount is not None} if isinstance(value, dict) else value


Quantities = Annotated[dict[LabelKey, Quantity], BeforeValidator(_without_nulls)]


class Resources(Contract):
    """Compute resources of the trainer's container."""

    requests: Quantities = described({}, "Smallest amounts, e.g. cpu: 2, memory: 4Gi.", max_length=16)
    limits: Quantities = described({}, "Largest amounts. GPUs are set by gpusPerNode.", max_length=16)


class Toleration(Contract):
    """A toleration as in a Pod; a key is needed, so that nothing tolerates everything."""

    key: str = Field(min_length=1, max_length=316, description="The taint's key.")
    operator: Literal["Equal", "Exists"] = described("Equal", "Equal compares the value; Exists takes any.")
    value: str = described("", "The taint's value, for Equal.", max_length=63)
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = described("", "Empty matches every effect.")
    toleration_seconds: Int | None = Field(
        None, ge=0, le=10**9, description="For NoExecute: how long to stay; unset stays for ever."
    )
    rules = (
        Rule(
            cel="!self.key.startsWith('node-role.kubernetes.io/')",
            holds=lambda m: not m.key.startswith("node-role.kubernetes.io/"),
            message="key must not be a taint of the control plane (node-role.kubernetes.io/…): choose worker nodes",
            field="key",
        ),
        Rule(
            cel="self.operator != 'Exists' || self.value == ''",
            holds=lambda m: m.operator != "Exists" or not m.value,
            message="value must be empty with operator Exists, which takes any: drop it, or set operator to Equal",
            field="value",
        ),
    )


class KeyRef(Contract):
    """A key of a Secret or ConfigMap in the run's own namespace."""

    name: ObjectName = Field(description="Name of the object.")
    key: str = Field(min_length=1, max_length=253, description="Key in it.")


class ValueFrom(OneOf):
    """Where a variable's value comes from: exactly one."""

    secret_key_ref: KeyRef | None = Field(None, description="A Secret's key.")
    config_map_key_ref: KeyRef | None = Field(None, description="A ConfigMap's key.")


class EnvVar(Contract):
    """An environment variable of the trainer."""

    name: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Its name.")
    value: str | None = Field(None, max_length=8192, description="Its value; $(…) is not expanded.")
    value_from: ValueFrom | None = Field(None, description="Where the value comes from.")
    rules = (
        Rule(
            cel="has(self.value) != has(self.valueFrom)",
            holds=lambda m: (m.value is None) != (m.value_from is None),
            message="set exactly one of: value, valueFrom",
            field="value",
        ),
        Rule(
            cel="!(self.name in ["
            + ", ".join(f"'{n}'" for n in sorted(names.RESERVED_ENV))
            + "]) && "
            + " && ".join(f"!self.name.startsWith('{p}')" for p in names.RESERVED_ENV_PREFIXES),
            holds=lambda m: not names.is_reserved_env(m.name),
            message="name is reserved: Headway sets the rendezvous (PET_*, MASTER_*, RANK, …) and HEADWAY_* itself",
            field="name",
        ),
    )


class ObjectRef(Contract):
    """An object of the run's own namespace."""

    name: ObjectName = Field(description="Name of the object.")


class EnvFrom(OneOf):
    """All keys of an object as environment variables: exactly one."""

    secret_ref: ObjectRef | None = Field(None, description="A Secret.")
    config_map_ref: ObjectRef | None = Field(None, description="A ConfigMap.")


class VolumeSecret(Contract):
    """A Secret as files."""

    secret_name: ObjectName = Field(description="Name of the Secret.")


class VolumeClaim(Contract):
    """A PersistentVolumeClaim."""

    claim_name: ObjectName = Field(description="Name of the claim.")
    read_only: bool = described(False, "Mount it read-only.")


class EmptyDir(Contract):
    """Scratch space that goes with the pod."""

    medium: Literal["", "Memory"] = described("", "Empty for the node's disk, Memory for RAM.")
    size_limit: Quantity | None = Field(None, description="Largest size, e.g. 2Gi.")


class Volume(Contract):
    """A volume of a harmless kind."""

    name: str = Field(
        min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="Name, for volumeMounts."
    )
    config_map: ObjectRef | None = Field(None, description="A ConfigMap as files.")
    secret: VolumeSecret | None = Field(None, description="A Secret as files.")
    persistent_volume_claim: VolumeClaim | None = Field(None, description="A PersistentVolumeClaim.")
    empty_dir: EmptyDir | None = Field(None, description="Scratch space.")
    rules = (
        Rule(
            cel="[has(self.configMap), has(self.secret), has(self.persistentVolumeClaim), has(self.emptyDir)]"
            ".filter(x, x).size() == 1",
            holds=lambda m: (
                sum(kind is not None for kind in (m.config_map, m.secret, m.persistent_volume_claim, m.empty_dir)) == 1
            ),
            message="set exactly one of: configMap, secret, persistentVolumeClaim, emptyDir",
            field="name",
        ),
        Rule(
            cel="!self.name.startsWith('headway-')",
            holds=lambda m: not m.name.startswith("headway-"),
            message="name must not begin with headway-: those volumes are Headway's own",
            field="name",
        ),
    )


class VolumeMount(Contract):
    """Where a volume appears in the container."""

    name: str = Field(min_length=1, max_length=63, description="Name of the volume.")
    mount_path: str = Field(
        min_length=1, max_length=512, pattern=r"^/[^:]*$", description="Absolute path in the container."
    )
    read_only: bool = described(False, "Mount it read-only.")
    rules = (
        Rule(
            cel="!self.mountPath.contains('..') && self.mountPath != '/' && "
            "!self.mountPath.contains('//') && !self.mountPath.contains('/./') && "  # /./etc is /etc
            f"!{list(SYSTEM_PATHS)}.exists(p, self.mountPath == p || self.mountPath.startsWith(p + '/'))",
            holds=lambda m: (
                ".." not in m.mount_path
                and m.mount_path != "/"
                and "//" not in m.mount_path
                and "/./" not in m.mount_path
                and not any(m.mount_path == p or m.mount_path.startswith(p + "/") for p in SYSTEM_PATHS)
            ),
            message="mountPath must not cover a path of the system or of Headway: choose one such as /data",
            field="mountPath",
        ),
    )


class PodTemplate(Contract):
    """What the platform allows a run to say about its pods."""

    labels: dict[LabelKey, LabelValue] = described({}, "Labels added to the pods.", max_length=32)
    annotations: dict[LabelKey, Annotated[str, Field(max_length=4096)]] = described(
        {}, "Annotations added to the pods.", max_length=32
    )
    resources: Resources = described(Resources(), "Compute resources of the trainer's container.")
    node_selector: dict[LabelKey, LabelValue] = described({}, "Labels that nodes must have.", max_length=32)
    tolerations: list[Toleration] = described([], "Taints that the pods tolerate.", max_length=32)
    affinity: dict[str, Any] | None = Field(
        None,
        description="Affinity as in a Pod; the API server checks it when pods are made.",
        json_schema_extra={"x-headway-form": "opaque"},
    )
    env: list[EnvVar] = described([], "Environment variables.", max_length=64)
    env_from: list[EnvFrom] = described([], "Objects whose keys become environment variables.", max_length=16)
    volumes: list[Volume] = described([], "Volumes of harmless kinds.", max_length=16)
    volume_mounts: list[VolumeMount] = described([], "Where they appear.", max_length=16)
    priority_class_name: str = described(
        "", "PriorityClass of the pods.", max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"
    )
    image_pull_secrets: list[ObjectRef] = described([], "Secrets for the image's registry.", max_length=8)
    rules = (
        Rule(
            cel="!self.priorityClassName.startsWith('system-')",
            holds=lambda m: not m.priority_class_name.startswith("system-"),
            message="priorityClassName must not be a system class: choose one of the platform's own",
            field="priorityClassName",
        ),
        Rule(
            cel="self.labels.all(k, !k.startsWith('headway.dev/')) && "
            "self.annotations.all(k, !k.startsWith('headway.dev/'))",
            holds=lambda m: not any(k.startswith("headway.dev/") for k in (*m.labels, *m.annotations)),
            message="labels and annotations under headway.dev/ are Headway's own: use another prefix",
            field="labels",
        ),
        Rule(
            cel=f"self.annotations.all(k, !k.startsWith('{APPARMOR_PREFIX}'))",
            holds=lambda m: not any(k.startswith(APPARMOR_PREFIX) for k in m.annotations),
            message="annotations must not choose an AppArmor profile: the runtime's own is kept",
            field="annotations",
        ),
        Rule(
            cel="self.volumeMounts.all(m, self.volumes.exists(v, v.name == m.name))",
            holds=lambda m: {mount.name for mount in m.volume_mounts} <= {volume.name for volume in m.volumes},
            message="every volumeMounts entry needs a volume of the same name in volumes",
            field="volumeMounts",
        ),
        Rule(
            cel="self.volumes.all(v, self.volumes.exists_one(w, w.name == v.name))",
            holds=lambda m: len({v.name for v in m.volumes}) == len(m.volumes),
            message="volume names must differ from one another",
            field="volumes",
        ),
        Rule(
            cel="self.env.all(e, self.env.exists_one(f, f.name == e.name))",
            holds=lambda m: len({e.name for e in m.env}) == len(m.env),
            message="names in env must differ from one another",
            field="env",
        ),
    )
