"""Every string and number that two processes share. Nothing here is written a second time anywhere else."""

from __future__ import annotations

from typing import Final

GROUP: Final = "headway.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
TRAINING_RUN: Final = "TrainingRun"
TRAINING_RUNS: Final = "trainingruns"
HPO_STUDY: Final = "HPOStudy"
HPO_STUDIES: Final = "hpostudies"
MAX_RUN_NAME: Final = 40  # names of children are built from it and stay under 63 characters
MAX_STUDY_NAME: Final = 30  # its runs are called <study>-<trial>, or <study>-<trial>-<seed>
OBJECT_NAME: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"  # of runs and studies
MAX_NODES: Final = 64

# --- labels and annotations of children -------------------------------------------------------------------------
LABEL_RUN: Final = f"{GROUP}/run"
LABEL_RUN_UID: Final = f"{GROUP}/run-uid"
LABEL_STUDY: Final = f"{GROUP}/study"
LABEL_STUDY_UID: Final = f"{GROUP}/study-uid"
LABEL_TRIAL: Final = f"{GROUP}/trial"
LABEL_SEED_INDEX: Final = f"{GROUP}/seed-index"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
LABEL_NODE: Final = f"{GROUP}/node"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "headway"

# --- field managers: one writer for each top-level status key ---------------------------------------------------
MANAGER_RECONCILER: Final = "headway-operator"
MANAGER_PROGRESS: Final = "headway-progress"

# --- conditions -------------------------------------------------------------------------------------------------
SPEC_VALID: Final = "SpecValid"
READY: Final = "Ready"  # true while running and after success
RECONCILING: Final = "Reconciling"  # queued, starting, restarting
STALLED: Final = "Stalled"  # a permanent failure, in kstatus' words
SUSPENDED: Final = "Suspended"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
FINISHED: Final = "Finished"  # true either way, so that `kubectl wait` never hangs

# --- condition reasons ------------------------------------------------------------------------------------------
REASON_ACCEPTED: Final = "Accepted"
REASON_INVALID_SPEC: Final = "InvalidSpec"
REASON_STARTING: Final = "Starting"
REASON_UNSCHEDULABLE: Final = "Unschedulable"
REASON_WAITING: Final = "ContainerWaiting"
REASON_RUNNING: Final = "Running"
REASON_RESTARTING: Final = "Restarting"
REASON_SUSPENDED: Final = "Suspended"
REASON_SUSPENDING: Final = "Suspending"
REASON_RESUMED: Final = "Resumed"
REASON_SUCCEEDED: Final = "Succeeded"
REASON_FAILED: Final = "Failed"
REASON_MAX_RESTARTS: Final = "MaxRestartsExceeded"
REASON_NO_PROGRESS: Final = "NoCheckpointProgress"
REASON_DEADLINE: Final = "DeadlineExceeded"
REASON_PERMANENT_ERROR: Final = "PermanentError"
REASON_POD_REFUSED: Final = "PodRefused"
REASON_NO_REPORTS: Final = "NoReports"
REASON_SERVICE_AWAY: Final = "StudyServiceAway"
REASON_RUN_REFUSED: Final = "RunRefused"  # of a study: a trial's run, or what holds its best, cannot be made
REASON_TRIAL_FAILED: Final = "TrialFailed"
REASON_PRUNED: Final = "Pruned"  # of a trial: the run ended early because its study said so

# --- phases: for people only ------------------------------------------------------------------------------------
PHASE_PENDING: Final = "Pending"
PHASE_RUNNING: Final = "Running"
PHASE_RESTARTING: Final = "Restarting"
PHASE_SUSPENDED: Final = "Suspended"
PHASE_SUCCEEDED: Final = "Succeeded"
PHASE_FAILED: Final = "Failed"
PHASE_PRUNED: Final = "Pruned"
PHASE_INVALID: Final = "Invalid"

# --- the container and what it is told --------------------------------------------------------------------------
CONTAINER: Final = "trainer"
TRAINER_UID: Final = 10001  # numeric, so that runAsNonRoot can be checked
MASTER_PORT: Final = 29500
MOUNT_SPEC: Final = "/etc/headway/run"  # the run's ConfigMap
FILE_SPEC: Final = "trainingrun.json"
FILE_CA: Final = "ca.crt"
MOUNT_TOKEN: Final = "/var/run/secrets/headway"
FILE_TOKEN: Final = "token"
MOUNT_CHECKPOINTS: Final = "/headway"  # the checkpoint volume, or an emptyDir
MOUNT_SCRATCH: Final = "/tmp"

ENV_SPEC: Final = "HEADWAY_SPEC"  # path of the run's object as JSON
ENV_NAMESPACE: Final = "HEADWAY_NAMESPACE"
ENV_NAME: Final = "HEADWAY_NAME"
ENV_UID: Final = "HEADWAY_UID"
ENV_ATTEMPT: Final = "HEADWAY_ATTEMPT"
ENV_ROOT: Final = "HEADWAY_ROOT"  # root of checkpoints; the run's own are under <namespace>/<name>
ENV_OUT: Final = "HEADWAY_OUT"  # metrics, event files
ENV_PROGRESS_URL: Final = "HEADWAY_PROGRESS_URL"
ENV_PROGRESS_CA: Final = "HEADWAY_PROGRESS_CA"
ENV_PROGRESS_TOKEN: Final = "HEADWAY_PROGRESS_TOKEN"  # path of the projected token
ENV_LEAVE_AT: Final = "HEADWAY_LEAVE_AT"  # environment steps after which a run saves and leaves, as at SIGTERM
ENV_LAUNCHED_AT: Final = "HEADWAY_LAUNCHED_AT"  # when this attempt's launcher was started, in seconds since the epoch
ENV_STUDIES_URL: Final = "HEADWAY_STUDIES_URL"  # of a study's driver: base URL of the study service
ENV_STUDIES_CA: Final = "HEADWAY_STUDIES_CA"
ENV_STUDIES_TOKEN: Final = "HEADWAY_STUDIES_TOKEN"  # path of the projected token
ENV_NNODES: Final = "PET_NNODES"
ENV_NPROC: Final = "PET_NPROC_PER_NODE"
ENV_NODE_RANK: Final = "PET_NODE_RANK"
ENV_MASTER_ADDR: Final = "PET_MASTER_ADDR"
ENV_MASTER_PORT: Final = "PET_MASTER_PORT"

# Names that users may not set: they are ours, torch's, or change what is executed.
RESERVED_ENV: Final = frozenset(
    {
        "MASTER_ADDR",
        "MASTER_PORT",
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PATH",
        "HOME",
    }
)
RESERVED_ENV_PREFIXES: Final = ("HEADWAY_", "PET_", "TORCHELASTIC_")

PROGRESS_AUDIENCE: Final = "headway-progress"
PROGRESS_PATH: Final = f"/apis/{GROUP}/{VERSION}/progress"
PROGRESS_MAX_BYTES: Final = 64 * 1024
STUDIES_AUDIENCE: Final = "headway-studies"  # the operator's calls
DRIVER_AUDIENCE: Final = "headway-study/"  # and the study's UID: what a driver may say, of its study alone
STORAGE_AUDIENCE: Final = "headway-studies-storage"  # notebooks
STUDIES_PATH: Final = f"/apis/{GROUP}/{VERSION}/studies"
STUDIES_PORT: Final = 8444
STORAGE_PORT: Final = 13000  # Optuna's own gRPC protocol, with TLS and tokens
PROGRESS_PORT: Final = 8443
METRICS_PORT: Final = 8080

# --- exit codes of `headway` and of the launcher ----------------------------------------------------------------
EXIT_OK: Final = 0
EXIT_ERROR: Final = 1  # a crash: worth a restart
EXIT_BAD_INPUT: Final = 2  # the input is wrong, and will be wrong again: never restarted
EXIT_STALLED: Final = 74  # the trainer's own watchdog
EXIT_SAVED_AND_LEFT: Final = 75  # SIGTERM or budget: saved, to be gone on with (EX_TEMPFAIL)

# --- outcomes in the termination message ------------------------------------------------------------------------
OUTCOME_FINISHED: Final = "done"  # written only after the completion record is in the checkpoint
OUTCOME_STOPPED: Final = "stopped"
OUTCOME_PRUNED: Final = "pruned"  # saved and ended because the study said so; nothing follows
OUTCOME_FAILED: Final = "failed"
OUTCOMES_OF_THE_END: Final = frozenset({OUTCOME_FINISHED, OUTCOME_PRUNED})  # with exit code 0: nothing is left to do


def is_reserved_env(name: str) -> bool:
    """Say whether an environment variable is ours or dangerous, and so refused in user templates."""
    return name in RESERVED_ENV or name.startswith(RESERVED_ENV_PREFIXES)
