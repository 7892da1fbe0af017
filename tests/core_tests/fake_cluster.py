"""A cluster of dicts: executes Plans as the API server would, and lets a test play kubelet, scheduler and user."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from core_tests.makers import CONTEXT, NOW, make_run, text
from headway_api import load, names
from headway_api.training_run import TrainingRun
from headway_operator.core.observed import observe
from headway_operator.core.plan import Deletion, Plan
from headway_operator.core.reconcile_run import reconcile_run


class CrashError(Exception):
    """The operator dies here."""


@dataclass
class FakeCluster:
    """One run and its children. `crash_after` writes the operator dies, once."""

    document: dict[str, Any]
    now: datetime = NOW
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    others: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)  # every pod ever made, in order
    attempts: list[int] = field(default_factory=list)  # every attempt ever written
    writes: int = 0
    crash_after: int | None = None

    @classmethod
    def of(cls, **spec: Any) -> FakeCluster:
        run = make_run(**spec)
        return cls(
            {
                "apiVersion": names.API_VERSION,
                "kind": names.TRAINING_RUN,
                "metadata": run.metadata.to_wire(),
                "spec": run.spec.to_wire(),
            }
        )

    @property
    def run(self) -> TrainingRun:
        return load.validate(copy.deepcopy(self.document))

    @property
    def status(self) -> dict[str, Any]:
        return self.document.get("status", {})

    @property
    def uid(self) -> str:
        return self.document["metadata"]["uid"]

    def plan(self) -> Plan:
        run = self.run
        seen = observe(
            uid=self.uid,
            attempt=run.status.attempt if run.status else 0,
            nodes=run.spec.nodes,
            now=self.now,
            pods=copy.deepcopy(list(self.pods.values())),
            service=self.others.get(("Service", run.metadata.name)),
            config_map=self.others.get(("ConfigMap", run.metadata.name)),
        )
        return reconcile_run(run, seen, CONTEXT, self.now)

    def execute(self, plan: Plan) -> None:
        for deletion in plan.delete:
            self._write()
            self._delete(deletion)
        for manifest in plan.apply:
            self._write()
            key = (manifest["kind"], manifest["metadata"]["name"])
            assert self.others[key]["metadata"]["uid"] == manifest["metadata"]["uid"]
            self.others[key] = manifest
        for manifest in plan.create:
            self._write()
            self._create(manifest)
        if plan.status is not None:
            self._write()
            self.document["status"] = plan.status.to_wire()
            self.attempts.append(plan.status.attempt)

    def reconcile(self) -> Plan:
        """One pass; the operator may die in the middle of it."""
        plan = self.plan()
        self.execute(plan)
        return plan

    def settle(self, passes: int = 20) -> None:
        """Reconcile until nothing changes, starting again after a crash; fails if that never happens."""
        for _ in range(passes):
            try:
                if self.reconcile().is_empty:
                    return
            except CrashError:
                continue
        raise AssertionError(f"no fixpoint after {passes} passes: {self.plan()}")

    def _write(self) -> None:
        if self.crash_after is not None and self.writes == self.crash_after:
            self.crash_after = None
            raise CrashError
        self.writes += 1

    def _create(self, manifest: dict[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        if manifest["kind"] != "Pod":
            assert (manifest["kind"], name) not in self.others, f"{name} is created twice"
            made = copy.deepcopy(manifest)
            made["metadata"]["uid"] = f"uid-of-{manifest['kind']}"
            self.others[(manifest["kind"], name)] = made
            return
        assert name not in self.pods, f"{name} is created while it exists"
        self.made.append(name)
        pod = copy.deepcopy(manifest)
        pod["metadata"]["uid"] = f"uid-{len(self.made)}"
        pod["status"] = {"phase": "Pending", "conditions": []}
        self.pods[name] = pod

    def _delete(self, deletion: Deletion) -> None:
        pod = self.pods.get(deletion.name)
        if pod is None or pod["metadata"]["uid"] != deletion.uid:
            return
        if deletion.force or pod["status"]["phase"] != "Running":
            del self.pods[deletion.name]
        else:
            pod["metadata"].setdefault("deletionTimestamp", text(self.now + timedelta(seconds=120)))

    # --- what others do -----------------------------------------------------------------------------------------
    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def start_pods(self) -> None:
        """The kubelet starts what is pending."""
        for pod in self.pods.values():
            if pod["status"]["phase"] == "Pending":
                pod["status"]["phase"] = "Running"
                pod["status"]["containerStatuses"] = [{"name": names.CONTAINER, "state": {"running": {}}}]

    def end_pod(self, name: str, exit_code: int, message: str = "") -> None:
        """A container ends."""
        ended = {"exitCode": exit_code, "finishedAt": text(self.now), "message": message}
        self.pods[name]["status"]["containerStatuses"] = [{"name": names.CONTAINER, "state": {"terminated": ended}}]
        self.pods[name]["status"]["phase"] = "Failed" if exit_code else "Succeeded"
        if "deletionTimestamp" in self.pods[name]["metadata"]:
            del self.pods[name]

    def complete_pod(self, name: str) -> None:
        self.end_pod(name, 0, '{"outcome": "done", "step": 4096}')

    def end_terminating(self) -> None:
        """The kubelet confirms every pod that is being deleted."""
        self.pods = {n: p for n, p in self.pods.items() if "deletionTimestamp" not in p["metadata"]}

    def remove_pod(self, name: str) -> None:
        """Somebody deletes a pod, and it is gone before anybody looks."""
        del self.pods[name]

    def running(self) -> list[str]:
        return sorted(n for n, p in self.pods.items() if p["status"]["phase"] in ("Pending", "Running"))
