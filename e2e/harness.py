"""What the tests share: the cluster, a namespace with storage, waiting with a reason, evidence when a test fails."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import kindnodes
import pytest
import yaml
from headway_api import names
from kubernetes import client

Document = dict[str, Any]
T = TypeVar("T")

SYSTEM = "headway-system"
CLAIM = "checkpoints"
VOLUME_LABEL = "headway-e2e"  # on volumes: the namespace that they were made for
DIAGNOSTICS = Path(__file__).resolve().parents[1] / ".e2e" / "diagnostics"
FAILED = pytest.StashKey[bool]()  # whether a test has failed, for its fixtures


def wait_until(what: str, probe: Callable[[], T], seconds: float, every: float = 0.5) -> T:
    """Return the first truthy answer of `probe`. Raises AssertionError that says what was waited for, and what was."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what} (last: {found!r})"
        time.sleep(every)


@dataclass(frozen=True)
class Cluster:
    """The cluster under test, by kubectl and by the official client."""

    kubeconfig: Path
    api: client.ApiClient
    kind: str = ""  # name of the kind cluster, empty where it is not kind
    shared: Path | None = None  # folder of this machine that kind's nodes mount at /headway-shared

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    def kubectl(self, *arguments: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl against this cluster; with `check` a failure fails the test, with what kubectl said."""
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)
        assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stderr}"
        return done

    def helm(self, *arguments: str) -> str:
        command = ["helm", "--kubeconfig", str(self.kubeconfig), "--namespace", SYSTEM, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def workers(self) -> list[str]:
        """Names of the nodes that take pods of ours, in order."""
        nodes = self.core.list_node().items
        return sorted(n.metadata.name for n in nodes if not any(t.effect == "NoSchedule" for t in n.spec.taints or ()))


@dataclass(frozen=True)
class Team:
    """A namespace of a test's own, which enforces PodSecurity restricted, with a claim for checkpoints."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *arguments: str, check: bool = True, stdin: str = "") -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, check=check, stdin=stdin).stdout

    def apply(self, document: Document) -> str:
        """`kubectl apply` it here; returns the run's name."""
        self.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump(document))
        return str(document["metadata"]["name"])

    def refusal(self, document: Document) -> str:
        """Return what kubectl says when it refuses the document."""
        done = self.cluster.kubectl(
            "--namespace", self.namespace, "apply", "--filename", "-", check=False, stdin=yaml.safe_dump(document)
        )
        assert done.returncode != 0, f"was accepted: {done.stdout}"
        return done.stderr

    def run(self, name: str) -> Document:
        custom = client.CustomObjectsApi(self.cluster.api)
        return custom.get_namespaced_custom_object(
            names.GROUP, names.VERSION, self.namespace, names.TRAINING_RUNS, name
        )

    def status(self, name: str) -> Document:
        return self.run(name).get("status") or {}

    def patch(self, name: str, spec: Document) -> None:
        self.kubectl("patch", "trainingrun", name, "--type=merge", "--patch", json.dumps({"spec": spec}))

    def condition(self, name: str, kind: str) -> Document:
        """Return the condition of that type, or an empty one."""
        conditions = self.status(name).get("conditions") or []
        return next((c for c in conditions if c["type"] == kind), {"status": "", "reason": "", "message": ""})

    def await_condition(self, name: str, kind: str, seconds: float, holds: Callable[[Document], bool] | None = None):
        """Wait until the condition is true (or `holds` is) and return it; says the whole status if it does not."""

        def probe() -> Document | None:
            found = self.condition(name, kind)
            return found if (holds(found) if holds else found["status"] == "True") else None

        try:
            return wait_until(f"condition {kind} of {name}", probe, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(name), indent=1)}") from None

    def pods(self, name: str) -> list[client.V1Pod]:
        """All pods of the run, whatever their attempt."""
        return self.cluster.core.list_namespaced_pod(self.namespace, label_selector=f"{names.LABEL_RUN}={name}").items

    def running_pods(self, name: str) -> list[client.V1Pod]:
        """Pods whose container runs, by node number; those that are being deleted are not among them."""

        def runs(pod: client.V1Pod) -> bool:
            states = pod.status.container_statuses or []
            return pod.metadata.deletion_timestamp is None and bool(states) and states[0].state.running is not None

        found = [pod for pod in self.pods(name) if runs(pod)]
        return sorted(found, key=lambda pod: int(pod.metadata.labels[names.LABEL_NODE]))

    def ended_well(self, name: str, count: int) -> list[client.V1Pod]:
        """Return the pods that have succeeded if they are so many; the kubelet closes a pod after its container."""
        found = [pod for pod in self.pods(name) if pod.status.phase == "Succeeded"]
        return found if len(found) == count else []

    def await_running(self, name: str, count: int, seconds: float = 180, attempt: int | None = None):
        """Wait until so many pods (of that attempt) run, and return them."""

        def probe() -> list[client.V1Pod] | None:
            found = self.running_pods(name)
            if attempt is not None:
                found = [pod for pod in found if pod.metadata.labels[names.LABEL_ATTEMPT] == str(attempt)]
            return found if len(found) == count else None

        return wait_until(f"{count} running pods of {name}", probe, seconds)

    def await_step(self, name: str, beyond: int, seconds: float = 180) -> Document:
        """Wait until status.progress tells of a step beyond that one, and return the progress."""

        def probe() -> Document | None:
            progress = self.status(name).get("progress") or {}
            return progress if progress.get("step", -1) > beyond else None

        return wait_until(f"progress of {name} beyond step {beyond}", probe, seconds)

    # --- what the run wrote, read from the shared folder; only on kind ---------------------------------------------

    @property
    def storage(self) -> Path:
        assert self.cluster.shared is not None
        return self.cluster.shared / self.namespace

    def checkpoints(self, name: str) -> list[Document]:
        """Manifests of the run's whole checkpoints, the oldest first."""
        folder = self.storage / "checkpoints" / self.namespace / name
        found = [json.loads(path.read_text()) for path in folder.glob("step-*/manifest.json")]
        return sorted(found, key=lambda manifest: (manifest["step"], manifest["attempt"]))

    def metrics(self, name: str) -> list[Document]:
        """Lines of metrics.jsonl; a line that is being written is left out."""
        path = self.storage / "runs" / self.namespace / name / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]


def make_team(cluster: Cluster, namespace: str) -> Team:
    """Make the namespace and its claim."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    cluster.core.create_namespace({"metadata": {"name": namespace, "labels": labels}})
    add_volume(cluster, namespace, CLAIM)
    add_claim(cluster, namespace, CLAIM)
    return Team(cluster, namespace)


def add_claim(cluster: Cluster, namespace: str, name: str, mode: str = "ReadWriteMany") -> None:
    spec: Document = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
    if storage_class := os.environ.get("E2E_STORAGE_CLASS"):
        spec["storageClassName"] = storage_class
    cluster.core.create_namespaced_persistent_volume_claim(namespace, {"metadata": {"name": name}, "spec": spec})


def add_volume(cluster: Cluster, namespace: str, claim: str) -> None:
    """On kind: a volume for the claim, in the folder that the nodes share. Elsewhere the storage class makes one."""
    if cluster.shared is None:
        return
    folder = cluster.shared / namespace
    if folder.exists():  # of an earlier run on a cluster that was kept; the files are the trainer's user's
        kindnodes.docker("exec", f"{cluster.kind}-control-plane", "rm", "-rf", f"/headway-shared/{namespace}")
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # hostPath knows no fsGroup, and the trainer is not root
    volume = {
        "metadata": {"name": f"{namespace}-{claim}", "labels": {VOLUME_LABEL: namespace}},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "standard",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": claim},
            "hostPath": {"path": f"/headway-shared/{namespace}", "type": "Directory"},
        },
    }
    cluster.core.create_persistent_volume(volume)


def remove_team(cluster: Cluster, namespace: str) -> None:
    """Delete the namespace, without waiting for it, and its volumes."""
    cluster.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
    cluster.kubectl("delete", "persistentvolume", "-l", f"{VOLUME_LABEL}={namespace}", "--wait=false")


def keep_evidence(cluster: Cluster, folder: Path, namespace: str) -> None:
    """Write what is in the namespace, its pods' logs and the operator's to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    requests = {
        "objects.yaml": ["get", "trainingruns,pods,services,configmaps,pvc", "-n", namespace, "-o", "yaml"],
        "events.txt": ["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"],
        "trainers.log": ["logs", "-n", namespace, "-l", names.LABEL_RUN, "--tail=200", "--prefix"],
        "operator.log": ["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator", "--tail=500", "--prefix"],
        "nodes.txt": ["describe", "nodes"],
        "system.txt": ["get", "pods,leases", "-n", SYSTEM, "-o", "wide"],
    }
    for name, arguments in requests.items():
        done = cluster.kubectl(*arguments, check=False)
        (folder / name).write_text(done.stdout + done.stderr)
