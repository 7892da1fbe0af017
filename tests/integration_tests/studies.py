"""The real study service as a process, and a kubelet that plays training: pods start, report evaluations and end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway_api import names
from integration_tests.control_plane import Authority, free_ports
from integration_tests.operator_harness import ROOT, Api, Site, wait_for
from integration_tests.progress_client import post_report
from specs import small_study

EVALUATIONS, STEPS = 3, 1024  # a trial's, and steps between two
TOKEN = "the-operators-token"


class StudyService:
    """`headway studies serve` over SQLite, with a certificate and a token file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.database, self._log, self.tls = folder / "studies.db", folder / "service.log", folder / "tls"
        self.tls.mkdir()
        (self._port,) = free_ports(1)
        self._authority = Authority(folder)
        (folder / "tokens.json").write_text(json.dumps({"operator": TOKEN}))
        (folder / "token").write_text(TOKEN)
        self._command = [sys.executable, "-m", "headway", "studies", "serve", f"--listen=127.0.0.1:{self._port}"]
        self._command += [f"--storage={self.url}", f"--tls-dir={self.tls}", f"--token-file={folder / 'tokens.json'}"]
        self.settings: dict[str, Any] = {
            "studies_url": f"https://localhost:{self._port}",
            "studies_token_file": folder / "token",
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the storage's URL."""
        return f"sqlite:///{self.database}"

    def certify(self) -> None:
        """Give it a certificate of another authority than the operator's, and tell the operator."""
        certificate, key = self._authority.issue("studies")
        self.put_certificate(certificate.read_bytes(), key.read_bytes())
        self.settings["studies_ca_file"] = self._authority.certificate

    def put_certificate(self, certificate: bytes, key: bytes) -> None:
        """Write the files that it waits for."""
        (self.tls / "tls.crt").write_bytes(certificate)
        (self.tls / "tls.key").write_bytes(key)

    def start(self) -> None:
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(self._command, cwd=ROOT, env=environ, stdout=output, stderr=output)

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """Kill it; the end of its log is shown if a test fails."""
        self.kill()
        print(f"--- {self._log}\n{self._log.read_text()[-3000:] if self._log.exists() else ''}")


@dataclass
class Studies:
    """A namespace's studies, as its users see them."""

    api: Api

    @property
    def path(self) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{self.api.namespace}/{names.HPO_STUDIES}"

    def create(self, **spec: Any) -> dict[str, Any]:
        document = small_study(**spec)
        document["metadata"]["namespace"] = self.api.namespace
        document["spec"]["runTemplate"] |= {"checkpoint": {"volume": {"claimName": "ckpt"}}}
        return self.api.call("POST", self.path, document)

    def patch(self, **spec: Any) -> None:
        self.api.call("PATCH", f"{self.path}/search", {"spec": spec}, "application/merge-patch+json")

    def get(self) -> dict[str, Any]:
        return self.api.call("GET", f"{self.path}/search")

    def status(self) -> dict[str, Any]:
        return self.get().get("status") or {}

    def condition(self, kind: str) -> dict[str, Any]:
        return next((c for c in self.status().get("conditions", []) if c["type"] == kind), {})

    def runs(self) -> dict[str, dict[str, Any]]:
        return {run["metadata"]["name"]: run for run in self.api.call("GET", self.api.runs)["items"]}


@dataclass
class Kubelet:
    """Looks at the pods now and then. What it remembers of a run stands for the run's checkpoint."""

    site: Site
    api: Api
    evaluations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by run; acknowledged ones only
    ended: dict[str, str] = field(default_factory=dict)  # run -> how
    _tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api.call("POST", f"{self.api.core}/serviceaccounts", {"metadata": {"name": "default"}})

    def play(self, until: Any, what: str, seconds: float = 60.0) -> Any:
        """Go on until the answer is true; return it."""

        def look() -> Any:
            self.tick()
            return until()

        return wait_for(look, what, seconds)

    def score(self, run: str) -> float:
        """Return what the run's last evaluation has shown."""
        rate: float = self.evaluations[run][-1]["metrics"]["evaluation/success_rate"]
        return rate

    def tick(self) -> None:
        """Take every pod one step on."""
        runs = {run["metadata"]["uid"] for run in self.api.call("GET", self.api.runs)["items"]}
        for name, pod in self.api.pods().items():
            phase = pod["status"].get("phase")
            if pod["metadata"]["ownerReferences"][0]["uid"] not in runs:
                self.api.confirm_end(name)  # as the garbage collector would have it
            elif "deletionTimestamp" in pod["metadata"]:
                if phase == "Running":
                    self.api.end_pod(name, names.EXIT_SAVED_AND_LEFT, {"outcome": names.OUTCOME_STOPPED})
                self.api.confirm_end(name)
            elif phase == "Pending":
                if not pod["spec"].get("nodeName"):
                    self.api.bind(name, "worker-1")
                self.api.start_pods(name)
            elif phase == "Running":
                self._train(name, pod)

    def _train(self, name: str, pod: dict[str, Any]) -> None:
        run, attempt = (pod["metadata"]["labels"][label] for label in (names.LABEL_RUN, names.LABEL_ATTEMPT))
        done = self.evaluations.setdefault(run, [])
        index = len(done) + 1
        rate = (hash_of(run) % 97 + index) / 100
        fresh = {"index": index, "step": STEPS * index, "metrics": {"evaluation/success_rate": rate}}
        progress = {"step": STEPS * index, "totalSteps": 4096, "percent": 25 * index, "evaluations": [*done, fresh]}
        try:
            reply = self._post(run, pod, {"attempt": int(attempt), "number": index, "progress": progress})
        except OSError:
            return  # no operator: the report is sent again
        if reply is None:
            return
        done.append(fresh)
        if reply["stop"] or index == EVALUATIONS:
            outcome = names.OUTCOME_PRUNED if reply["stop"] else names.OUTCOME_FINISHED
            self.ended[run] = outcome
            self.api.end_pod(name, 0, {"outcome": outcome, "step": STEPS * index})

    def _post(self, run: str, pod: dict[str, Any], report: dict[str, Any]) -> dict[str, Any] | None:
        metadata = pod["metadata"]
        if metadata["uid"] not in self._tokens:
            bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
            audiences = [names.PROGRESS_AUDIENCE]
            self._tokens[metadata["uid"]] = self.api.token("default", audiences=audiences, boundObjectRef=bound)
        ca = self.api.call("GET", f"{self.api.core}/configmaps/{run}")["data"][names.FILE_CA]
        host = f"headway-operator.{self.site.api.namespace}.svc"
        port = self.site.operators[-1].progress_port
        status, reply = post_report(port, host, ca, self._tokens[metadata["uid"]], report)
        return reply if status == 200 else None


def hash_of(text: str) -> int:
    """Return a number that is the same in every process."""
    return sum(ord(letter) * 31**place for place, letter in enumerate(text))
