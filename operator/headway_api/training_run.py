"""TrainingRun: the one object that `headway run` trains here and `kubectl apply` trains on a cluster."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from headway_api import names
from headway_api.base import Contract, Float, Int, Rule, RuleInt, auto_or_whole, described, integral
from headway_api.pod_template import ObjectName, PodTemplate
from headway_api.progress import Progress
from headway_api.train_spec import TrainSpec

# CEL: nodes times ranks_per_node.
_WORLD_SIZE = (
    "self.nodes * (type(self.processesPerNode) == int ? int(self.processesPerNode) : "
    "(self.gpusPerNode > 0 ? self.gpusPerNode : 1))"
)


_MINIBATCH, _BATCH = ("minibatchSize", "minibatch_size"), ("batchSize", "batch_size")
_BATCHES = {
    "ppo": _MINIBATCH, "dagger": _MINIBATCH, "pqn": _MINIBATCH, "dqn": _BATCH, "sac": _BATCH, "td3": _BATCH
}  # fmt: skip


def _divides_among_ranks(algo: str, wire: str, name: str) -> Rule:
    """Each rank has its share of what a gradient step learns from."""

    def holds(m: Any) -> bool:
        chosen = getattr(m.train.algo, algo)
        return chosen is None or getattr(chosen, name) % m.world_size == 0

    field = f"train.algo.{algo}.{wire}"
    return Rule(
        cel=f"!has(self.train.algo.{algo}) || self.{field} % ({_WORLD_SIZE}) == 0",
        holds=holds,
        message=f"{field} must be a multiple of the number of ranks (nodes * processesPerNode)",
        field=field,
    )


Processes = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1, le=64)],
    BeforeValidator(auto_or_whole(1, 64)),
    Field(json_schema_extra={"x-headway-form": "processes"}),
]


EverySeconds = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1, le=86400)],
    BeforeValidator(auto_or_whole(1, 86400)),
    BeforeValidator(integral),  # first: no rule reads it, so 60.0 is 60 as for the API server
    Field(json_schema_extra={"x-headway-form": "seconds"}),
]


class CheckpointVolume(Contract):
    """A PersistentVolumeClaim of the run's namespace that keeps checkpoints, metrics and event files."""

    claim_name: ObjectName = Field(description="Name of the claim; ReadWriteMany when nodes is more than 1.")


class Checkpoint(Contract):
    """Where and how often the run saves itself."""

    volume: CheckpointVolume | None = Field(
        None, description="Where checkpoints are kept on a cluster; unset keeps them in the pod, and they go with it."
    )
    every_seconds: EverySeconds = described(
        60,
        "Seconds between two checkpoints, at update boundaries: a number, or auto for 10 to 3600, by what one costs "
        "and how often the run has failed.",
    )
    keep: Int = described(3, "How many of the newest checkpoints are kept.", ge=1, le=100)
    keep_best: bool = described(
        True, "Also keep the checkpoint of the best evaluation: the one at it, or the first after it, if there is any."
    )
    milestone_steps: Int = described(
        0,
        "Keep for ever the first checkpoint at or after each multiple of so many environment steps; 0 keeps none.",
        ge=0,
        le=10**12,
    )
    resume: str = described(
        "auto",
        "auto goes on from this run's newest whole checkpoint; never begins anew; a path goes on from that checkpoint.",
        min_length=1,
        max_length=512,
        pattern=r"^(auto|never|[./].*|.*/.*)$",
    )
    spec_change: Literal["refuse", "accept"] = described(
        "refuse",
        "What happens where the checkpoint was trained by another spec: refuse ends the run with what differs; accept "
        "goes on, logs each difference, and refuses only what its state does not fit.",
    )


class FailurePolicy(Contract):
    """When a failed gang is started again. Preemption and node loss do not count, up to 10 without a new checkpoint."""

    max_restarts: Int = described(5, "Counted restarts before the run fails for good.", ge=0, le=1000)
    backoff_seconds: Int = described(
        10,
        "Wait before the first restart, doubled at each further one without a newer checkpoint, up to 5 minutes.",
        ge=0,
        le=3600,
    )


class TrainingRunSpec(Contract):
    """What to train (train), and how the cluster is to run it (everything else)."""

    image: str = described(
        "headway-trainer:0.1.0", "The trainer's image.", min_length=1, max_length=512, pattern=r"^[^\s]+$"
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = described(
        "IfNotPresent", "When the kubelet pulls the image."
    )
    nodes: RuleInt = described(1, "Pods in the gang.", ge=1, le=names.MAX_NODES)
    processes_per_node: Processes = described("auto", "Ranks in a pod: a number, or auto for its GPUs, else 1.")
    gpus_per_node: RuleInt = described(
        0, "GPUs of each pod; the toleration and a memory-backed /dev/shm come with them.", ge=0, le=64
    )
    gpu_resource: str = described(
        "nvidia.com/gpu",
        "Resource name of a GPU, e.g. of a MIG slice.",
        min_length=3,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    )
    suspend: bool = described(False, "Stop the run, keeping its checkpoints; false again goes on from the newest.")
    checkpoint: Checkpoint = described(Checkpoint(), "Where and how often the run saves itself.")
    failure_policy: FailurePolicy = described(FailurePolicy(), "When a failed gang is started again.")
    active_deadline_seconds: Int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="The run fails after so many seconds of activity; suspension starts them anew.",
    )
    stall_seconds: Int = described(
        600,
        "A trainer without a sign of life for so long (a step, a gradient step, a level that is played) dumps its "
        "stacks and exits; the operator acts after twice that without a finished update.",
        ge=10,
        le=86400,
    )
    termination_grace_period_seconds: Int = described(
        120, "Seconds between SIGTERM, at which the trainer saves, and SIGKILL.", ge=1, le=3600
    )
    ttl_seconds_after_finished: Int | None = Field(
        None,
        ge=0,
        le=10**9,
        description="Finished pods are deleted after so many seconds; the TrainingRun itself stays.",
    )
    pod_template: PodTemplate = described(PodTemplate(), "What the run may say about its pods.")
    train: TrainSpec = Field(description="What to train.")

    @property
    def ranks_per_node(self) -> int:
        """Processes in each pod: as given, or one for each GPU, or one."""
        if isinstance(self.processes_per_node, int):
            return self.processes_per_node
        return max(1, self.gpus_per_node)

    @property
    def world_size(self) -> int:
        """Ranks in the gang."""
        return self.nodes * self.ranks_per_node

    rules = (
        Rule(
            cel="self.nodes == 1 || has(self.checkpoint.volume)",
            holds=lambda m: m.nodes == 1 or m.checkpoint.volume is not None,
            message="nodes above 1 need checkpoint.volume.claimName: the pods share their checkpoints there",
            field="checkpoint.volume",
        ),
        Rule(
            cel=f"self.train.numEnvs % ({_WORLD_SIZE}) == 0",
            holds=lambda m: m.train.num_envs % m.world_size == 0,
            message="train.numEnvs must be a multiple of the number of ranks (nodes * processesPerNode)",
            field="train.numEnvs",
        ),
        Rule(
            cel="self.gpusPerNode >= 0",  # the others read it where processesPerNode is auto: 3.0 is refused anywhere
            holds=lambda m: m.gpus_per_node >= 0,
            message="gpusPerNode must be a whole number of at least 0",
            field="gpusPerNode",
        ),
        *(_divides_among_ranks(algo, *names) for algo, names in _BATCHES.items()),
        Rule(
            cel="!(self.gpuResource in self.podTemplate.resources.limits) && "
            "!(self.gpuResource in self.podTemplate.resources.requests)",
            holds=lambda m: (
                m.gpu_resource not in m.pod_template.resources.limits
                and m.gpu_resource not in m.pod_template.resources.requests
            ),
            message="podTemplate.resources must not name the GPUs: gpusPerNode sets how many, gpuResource which",
            field="podTemplate.resources",
        ),
    )


# What may change after creation; everything else is fixed, by a CEL rule, since a gang cannot honour it midway.
MUTABLE_SPEC_FIELDS = frozenset({"suspend", "failurePolicy", "activeDeadlineSeconds", "ttlSecondsAfterFinished"})


class Condition(Contract):
    """metav1.Condition."""

    type: str = Field(min_length=1, max_length=316, description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: Int = described(0, "Generation of the spec that it is about.", ge=0)
    last_transition_time: str = Field(max_length=40, description="When status last changed, RFC 3339.")
    reason: str = Field(min_length=1, max_length=256, description="Cause, in one CamelCase word.")
    message: str = described("", "Cause, in a sentence.", max_length=4096)


class Restarts(Contract):
    """How often the gang was started again, and when it may be next."""

    counted: Int = described(0, "Restarts that count towards failurePolicy.maxRestarts.", ge=0)
    uncounted: Int = described(0, "Restarts after preemption, eviction or node loss.", ge=0)
    without_checkpoint: Int = described(
        0,
        "Restarts of either kind since the newest checkpoint moved on; sets the backoff, and 10 uncounted end the run.",
        ge=0,
    )
    checkpoint_step: Int = described(-1, "Step of the newest checkpoint at the last restart; -1 without.", ge=-1)
    reason: str = described("", "Why the last attempt ended.", max_length=1024)
    not_before: str = described(
        "", "The present attempt is not started before this time (backoff), RFC 3339.", max_length=40
    )


class TrainingRunStatus(Contract):
    """Observed state. Each top-level key has one writer: progress the progress server, the rest the reconciler."""

    observed_generation: Int = described(0, "Generation of the spec that this is about; -1 before the first.", ge=-1)
    phase: str = described("", "For people; programs read conditions.", max_length=32)
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="By type: SpecValid, Ready, Reconciling, Stalled, Suspended, Succeeded, Failed, Finished.",
        json_schema_extra={"x-headway-map-keys": ["type"]},
    )
    attempt: Int = described(
        0,
        "Number of the present attempt, from 1; never decreases. Bumping it is the decision to restart; the next "
        "pass of the reconciler acts on it.",
        ge=0,
    )
    restarts: Restarts = described(Restarts(), "How often the gang was started again, and why.")
    attempt_start_time: str = described(
        "", "When all pods of the present attempt were first seen running, RFC 3339.", max_length=40
    )
    start_time: str = described("", "When the run first became active, RFC 3339.", max_length=40)
    active_since: str = described("", "Start of the active deadline; set anew on resuming, RFC 3339.", max_length=40)
    completion_time: str = described("", "When the run finished, RFC 3339.", max_length=40)
    progress: Progress | None = Field(None, description="What the trainer last reported.")

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, or None."""
        return next((c for c in self.conditions if c.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Say whether the condition of that type is there and true."""
        condition = self.condition(kind)
        return condition is not None and condition.status == "True"


class Metadata(Contract):
    """The part of ObjectMeta that a file needs. Clusters add more, which is kept out of sight here."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(
        min_length=1,
        max_length=names.MAX_RUN_NAME,
        pattern=names.OBJECT_NAME,
        description="Name of the run: lower-case letters, digits and -, beginning with a letter.",
    )
    namespace: str = Field("default", max_length=63, pattern=names.OBJECT_NAME.replace("[a-z]", "[a-z0-9]", 1))
    uid: str = Field("", max_length=64)
    generation: Int = 0
    resource_version: str = Field("", max_length=64)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class TrainingRun(Contract):
    """A TrainingRun object."""

    api_version: Literal["headway.dev/v1alpha1"] = Field(description="headway.dev/v1alpha1")
    kind: Literal["TrainingRun"] = Field(description="TrainingRun")
    metadata: Metadata
    spec: TrainingRunSpec
    status: TrainingRunStatus | None = None

    def with_status(self, **changes: Any) -> TrainingRun:
        """Return a copy with some top-level status fields replaced."""
        status = (self.status or TrainingRunStatus()).model_copy(update=changes)
        return self.model_copy(update={"status": status})


__all__ = ["Float", "TrainingRun", "TrainingRunSpec", "TrainingRunStatus"]
