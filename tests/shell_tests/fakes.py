"""A store of objects with the API server's manners where they matter: resourceVersions, UIDs, conflicts."""

from __future__ import annotations

import copy
from typing import Any

from core_tests.fake_study import World
from headway_api import names
from headway_api.hpo_study import HPOStudySpec
from headway_api.study_wire import AskedTrial, ReportReply, ReportTrial, StudySnapshot, TellTrial
from headway_operator.shell.cluster import ApiError, ConflictError, Key, RefusedError
from headway_operator.shell.studies_client import StudyKey

Raw = dict[str, Any]


class FakeStore:
    """Objects by (kind, namespace, name). `failures` are raised by the next calls, first come first served."""

    def __init__(self, *objects: Raw) -> None:
        self.objects: dict[tuple[str, str, str], Raw] = {}
        self.calls: list[tuple[str, str]] = []
        self.failures: list[Exception] = []
        self.review: Raw = {}
        self.applied: list[tuple[Key, Raw, str]] = []
        self.refused: dict[str, str] = {}  # name of a child -> the refusal
        self.refusal = RefusedError  # which of the refusals it is
        for thing in objects:
            self.put(thing)

    def put(self, thing: Raw) -> None:
        metadata = thing["metadata"]
        metadata.setdefault("resourceVersion", "1")
        self.objects[thing["kind"], metadata.get("namespace", ""), metadata["name"]] = copy.deepcopy(thing)

    def _call(self, verb: str, what: str) -> None:
        self.calls.append((verb, what))
        if self.failures:
            raise self.failures.pop(0)

    def writes(self) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] not in ("get", "list")]

    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        self._call("get", f"{kind}/{name}")
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    async def list_pods(self, namespace: str, run_uid: str) -> list[Raw]:
        self._call("list", "Pod")
        return [copy.deepcopy(o) for (kind, where, _), o in self.objects.items() if (kind, where) == ("Pod", namespace)]

    async def post(self, kind: str, namespace: str, document: Raw) -> Raw | None:
        if kind == "TokenReview":
            self._call("post", kind)
            return {"status": self.review}
        self._call("post", f"{kind}/{document['metadata']['name']}")
        key = (kind, namespace, document["metadata"]["name"])
        if key in self.objects:
            return None
        self.put({"kind": kind, **document})
        return document

    async def replace(self, kind: str, document: Raw) -> Raw:
        metadata = document["metadata"]
        self._call("replace", f"{kind}/{metadata['name']}")
        key = (kind, metadata["namespace"], metadata["name"])
        version = self.objects[key]["metadata"]["resourceVersion"]
        if metadata["resourceVersion"] != version:
            raise ConflictError("the object has been modified")
        new = copy.deepcopy(document)
        new["metadata"]["resourceVersion"] = str(int(version) + 1)
        self.objects[key] = new
        return new

    async def create(self, manifest: Raw) -> None:
        name = manifest["metadata"]["name"]
        self._call("create", f"{manifest['kind']}/{name}")
        if name in self.refused:
            raise self.refusal(self.refused[name])
        self.put({**manifest, "metadata": {**manifest["metadata"], "uid": f"uid-{name}"}})

    async def apply(self, manifest: Raw) -> None:
        self._call("apply", f"{manifest['kind']}/{manifest['metadata']['name']}")
        self.put(manifest)

    async def delete(self, kind: str, namespace: str, name: str, uid: str, *, force: bool = False) -> None:
        self._call("force" if force else "delete", f"{kind}/{name}")
        self.objects.pop((kind, namespace, name), None)

    async def suspend_run(self, namespace: str, name: str, uid: str, suspend: bool) -> None:
        self._call("suspend" if suspend else "resume", f"TrainingRun/{name}")
        self.objects[names.TRAINING_RUN, namespace, name]["spec"]["suspend"] = suspend

    async def list_trials(self, namespace: str, study_uid: str) -> list[Raw]:
        self._call("list", names.TRAINING_RUN)
        runs = [o for (kind, where, _), o in self.objects.items() if (kind, where) == (names.TRAINING_RUN, namespace)]
        return [copy.deepcopy(r) for r in runs if r["metadata"]["labels"][names.LABEL_STUDY_UID] == study_uid]

    async def apply_status(self, key: Key, status: Raw, *, uid: str, manager: str, resource_version: str = "") -> None:
        self._call("status", f"{key.name} by {manager}")
        run = self.objects[key.kind, key.namespace, key.name]
        if run["metadata"]["uid"] != uid:
            raise ConflictError("another run")
        if resource_version and run["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError("the object has been modified")
        kept = {k: v for k, v in (run.get("status") or {}).items() if (k == "progress") != ("progress" in status)}
        run["status"] = {**kept, **copy.deepcopy(status)}
        run["metadata"]["resourceVersion"] = str(int(run["metadata"]["resourceVersion"]) + 1)
        self.applied.append((key, status, manager))


class FakeService:
    """The study service over the dictionaries of `World`. `failures` are raised by the next calls."""

    def __init__(self, world: World | None = None, *, stop: bool = False) -> None:
        self.world, self.stop = world, stop
        self.calls: list[str] = []
        self.reports: list[tuple[StudyKey, ReportTrial]] = []
        self.failures: list[Exception | None] = []

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.failures and (failure := self.failures.pop(0)):
            raise failure

    async def open(self, study: StudyKey, spec: HPOStudySpec) -> StudySnapshot:
        self._call("open")
        return self.world.service()

    async def ask(self, study: StudyKey, number: int) -> AskedTrial:
        self._call(f"ask {number}")
        self.world.ask(number)
        return AskedTrial(number=number, values=self.world.values(number))

    async def report(self, study: StudyKey, report: ReportTrial) -> ReportReply:
        self._call(f"report {report.number}")
        self.reports.append((study, report))
        if report.ended:
            self.world.end_seed(report.number, report.seed_index)
        return ReportReply(stop=self.stop)

    async def tell(self, study: StudyKey, told: TellTrial) -> StudySnapshot:
        self._call(f"tell {told.number}")
        self.world.tell(told)
        return self.world.service()


NO_STUDIES = FakeService()
UNREACHABLE = ApiError(0, "Unreachable", "no route to host")


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds

    def forward(self, seconds: float) -> None:
        self.seconds += seconds
