"""Operators as processes against the real API server, with the rights of install.yaml and no more.

No kubelet and no garbage collector run here: the tests play them, through the API.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from headway_api import names
from integration_tests.control_plane import ControlPlane, free_ports
from kubernetes import client
from specs import small_run

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "headway-operator"
LEASE_SECONDS = 4.0


def wait_for(check: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """Ask until the answer is true; return it."""
    deadline = time.monotonic() + seconds
    while True:
        if found := check():
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@dataclass
class Api:
    """One namespace of the cluster, as its administrator; objects are dicts."""

    api: client.ApiClient
    namespace: str

    def call(self, method: str, path: str, body: Any = None, content: str = "application/json", query: Any = ()) -> Any:
        """Return the decoded answer; None for 404. Raises AssertionError for any other refusal."""
        request = self.api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list(query),
            header_params={"Content-Type": content, "Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self.api.call_api(*request)
        text = response.read()
        if response.status == 404:
            return None
        assert response.status < 300, f"{method} {path}: {response.status} {text[:500]!r}"
        return json.loads(text)

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    @property
    def runs(self) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.TRAINING_RUNS}"

    def create_run(self, name: str = "nav", **spec: Any) -> dict[str, Any]:
        document = small_run()
        document["metadata"] = {"name": name, "namespace": self.namespace}
        document["spec"] |= {"nodes": 2, "checkpoint": {"volume": {"claimName": "ckpt"}}, **spec}
        return self.call("POST", self.runs, document)

    def run(self, name: str = "nav") -> dict[str, Any]:
        return self.call("GET", f"{self.runs}/{name}")

    def patch_run(self, name: str, **spec: Any) -> None:
        self.call("PATCH", f"{self.runs}/{name}", {"spec": spec}, "application/merge-patch+json")

    def status(self, name: str = "nav") -> dict[str, Any]:
        return self.run(name).get("status") or {}

    def condition(self, kind: str, name: str = "nav") -> dict[str, Any]:
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def is_true(self, kind: str, name: str = "nav") -> bool:
        return self.condition(kind, name).get("status") == "True"

    def pods(self) -> dict[str, dict[str, Any]]:
        return {pod["metadata"]["name"]: pod for pod in self.call("GET", f"{self.core}/pods")["items"]}

    def wait_for_pods(self, *wanted: str) -> dict[str, dict[str, Any]]:
        return wait_for(lambda: pods if set(pods := self.pods()) == set(wanted) else None, f"pods {wanted}")

    def wait_for_phase(self, phase: str, name: str = "nav", seconds: float = 20.0) -> None:
        wait_for(lambda: self.status(name).get("phase") == phase, f"phase {phase} of {name}", seconds)

    # --- the kubelet's and the scheduler's part ---
    def set_pod(self, name: str, phase: str, state: dict[str, Any] | None = None, **status: Any) -> None:
        if state is not None:
            container = {"name": names.CONTAINER, "state": state, "ready": True, "restartCount": 0, "image": "x"}
            status["containerStatuses"] = [container | {"imageID": "x"}]
        body = {"status": {"phase": phase, **status}}
        self.call("PATCH", f"{self.core}/pods/{name}/status", body, "application/merge-patch+json")

    def start_pods(self, *wanted: str) -> None:
        for name in wanted:
            self.set_pod(name, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}})

    def end_pod(self, name: str, exit_code: int, message: dict[str, Any] | str = "") -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ended = {"exitCode": exit_code, "message": text, "reason": "Error", "startedAt": now, "finishedAt": now}
        self.set_pod(name, "Failed" if exit_code else "Succeeded", {"terminated": ended})

    def complete_pods(self, *wanted: str) -> None:
        for name in wanted:
            self.end_pod(name, 0, {"outcome": "done", "step": 4096})

    def confirm_end(self, *wanted: str) -> None:
        """The kubelet confirms that terminating pods have ended."""
        for name in wanted:
            self.call("DELETE", f"{self.core}/pods/{name}", {"gracePeriodSeconds": 0})

    def bind(self, pod: str, node: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        self.call("POST", f"{self.core}/pods/{pod}/binding", body)

    def lease_holder(self) -> str:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/headway-operator"
        lease = self.call("GET", path)
        return (lease["spec"].get("holderIdentity") or "") if lease else ""

    def token(self, account: str, **spec: Any) -> str:
        path = f"{self.core}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.call("POST", path, body)["status"]["token"]


@dataclass
class Operator:
    """One replica."""

    name: str
    process: subprocess.Popen[bytes]
    progress_port: int
    metrics_port: int
    log: Path

    def probe(self, path: str) -> tuple[int, str]:
        """Return status and text; (0, "") while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@dataclass
class Site:
    """A namespace with all that the chart would put there, and the operators in it."""

    plane: ControlPlane
    api: Api
    kubeconfig: Path
    folder: Path
    operators: list[Operator] = field(default_factory=list)

    def start(self, name: str, **settings: Any) -> Operator:
        """Start a replica. `settings` are HEADWAY_ variables in lower case."""
        progress, metrics = free_ports(2)
        chosen = {
            "kubeconfig": self.kubeconfig,
            "operator_namespace": self.api.namespace,
            "operator_pod": name,
            "watch_namespaces": self.api.namespace,
            "progress_port": progress,
            "metrics_port": metrics,
            "lease_seconds": LEASE_SECONDS,
            "lease_renew_seconds": 3,
            "lease_retry_seconds": 0.5,
            "log_level": "DEBUG",
            **settings,
        }
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("HEADWAY_", "KUBE"))}
        environ |= {f"HEADWAY_{key.upper()}": str(value) for key, value in chosen.items()}
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "headway_operator"], env=environ, cwd=ROOT, stdout=output, stderr=output
            )
        self.operators.append(Operator(name, process, progress, metrics, log))
        return self.operators[-1]

    def stop(self) -> None:
        """Kill what still runs; the ends of the logs are shown if a test fails."""
        for operator in self.operators:
            operator.process.kill()
            operator.process.wait()
            print(f"--- {operator.log}\n{operator.log.read_text()[-3000:]}")


def make_site(plane: ControlPlane, client_: client.ApiClient, namespace: str, folder: Path) -> Site:
    """Install what the chart would, in a namespace; no operator runs yet."""
    install_crds(client_)
    api = Api(client_, namespace)
    install_rights(api)
    kubeconfig = plane.kubeconfig_with_token(namespace, api.token(ACCOUNT, expirationSeconds=3600))
    return Site(plane, api, kubeconfig, folder)


def install_crds(api: client.ApiClient) -> None:
    """Install the CRDs, as anybody does who installs the operator; they may be there already."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    query = [("fieldManager", "test"), ("force", "true")]
    whole = Api(api, "")
    for plural in (names.TRAINING_RUNS, names.HPO_STUDIES):
        crd = yaml.safe_load((ROOT / "manifests" / "crds" / f"headway.dev_{plural}.yaml").read_text())
        whole.call("PATCH", f"{path}/{crd['metadata']['name']}", crd, "application/apply-patch+yaml", query)
    for plural in (names.TRAINING_RUNS, names.HPO_STUDIES):
        wait_for(lambda p=plural: whole.call("GET", f"/apis/{names.API_VERSION}/{p}"), f"{plural} are served")


def install_rights(api: Api) -> None:
    """Bind the roles of install.yaml to an account in this namespace, and make the empty Secret."""
    subject = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": api.namespace}]
    api.call("POST", f"{api.core}/serviceaccounts", {"metadata": {"name": ACCOUNT}})
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    documents = [d for d in yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text()) if d]
    for role in (d for d in documents if d["kind"] in ("ClusterRole", "Role") and d["metadata"]["name"] == ACCOUNT):
        role = copy.deepcopy(role)
        inside = "" if role["kind"] == "ClusterRole" else f"/namespaces/{api.namespace}"
        role["metadata"] = {"name": f"{ACCOUNT}-{api.namespace}"}
        kind = role["kind"].lower()
        api.call("POST", f"{rbac}{inside}/{kind}s", role)
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": f"{role['kind']}Binding",
            "metadata": role["metadata"],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": role["kind"],
                "name": role["metadata"]["name"],
            },
            "subjects": subject,
        }
        api.call("POST", f"{rbac}{inside}/{kind}bindings", binding)
    api.call("POST", f"{api.core}/secrets", {"metadata": {"name": "headway-operator-tls"}})
