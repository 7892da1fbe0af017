"""What one worker of a measurement does: ask for a trial, report once, tell; in each way."""

from __future__ import annotations

import http.client
import json
import ssl
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import optuna
from headway_api import names
from headway_api.hpo_study import METRICS, HPOStudySpec
from headway_api.load import validate_study
from optuna.storages import BaseStorage, GrpcStorageProxy

from headway.hpo import remote
from headway.hpo.bench.servers import NAMESPACE, OPERATOR, TENANT, Endpoint
from headway.hpo.space import distribution
from headway.hpo.storage import open_storage

STEPS = 1000  # environment steps of a trial, which nobody takes here


class Caller(Protocol):
    """One worker's connection."""

    def open(self) -> None:
        """Make the study; one worker does, before all others come."""

    def trial(self, number: int) -> None:
        """Ask, report, tell."""


def make_spec(trials: int) -> HPOStudySpec:
    """Return a study of three numbers, searched at random, nothing pruned: Optuna's share of the time is the least."""
    ppo = "train.algo.ppo"
    train = {
        "totalSteps": STEPS, "numEnvs": 8, "env": {"nav": {}}, "network": {"mlp": {}},
        "algo": {"ppo": {"minibatchSize": 8}}, "evaluation": {"everySteps": STEPS, "levels": 8},
        "curriculum": {"stages": [{"name": "all", "levels": {"world": {"empty": {}}}}]},
    }  # fmt: skip
    spec = {
        "parameters": [
            {"path": f"{ppo}.learningRate", "float": {"low": 1e-5, "high": 1e-2, "log": True}},
            {"path": f"{ppo}.gamma", "float": {"low": 0.9, "high": 0.999}},
            {"path": f"{ppo}.epochs", "int": {"low": 1, "high": 16}},
        ],
        "objectives": [{"metric": "successRate", "direction": "maximize"}],
        "budget": {"trials": trials},
        "engine": {"optuna": {"sampler": {"random": {}}, "pruner": {"none": {}}}},
        "runTemplate": {"image": "bench:1", "train": train},
    }
    document = {"apiVersion": "headway.dev/v1alpha1", "kind": "HPOStudy", "metadata": {"name": "bench"}, "spec": spec}
    return validate_study(document).spec


class ServiceCaller:
    """The operator's calls, over one connection that is kept."""

    def __init__(self, endpoint: Endpoint, study: str, spec: HPOStudySpec) -> None:
        self._path, self._spec = f"{names.STUDIES_PATH}/{NAMESPACE}/{study}/uid", spec
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {OPERATOR}"}
        self._connection = http.client.HTTPConnection("localhost", endpoint.port, timeout=60)
        if endpoint.ca is not None:
            context = ssl.create_default_context(cafile=str(endpoint.ca))
            self._connection = http.client.HTTPSConnection("localhost", endpoint.port, timeout=60, context=context)
        self._connection.connect()

    def open(self) -> None:
        """Make the study."""
        self._call("PUT", "", {"spec": self._spec.to_wire()})

    def trial(self, number: int) -> None:
        """Ask, report, tell."""
        self._call("POST", "/ask", {"number": number})
        point = {"index": 1, "step": STEPS, "metrics": {METRICS["successRate"]: number / 1e6}}
        self._call("POST", "/report", {"number": number, "seedIndex": 0, "evaluations": [point], "ended": True})
        self._call("POST", "/tell", {"number": number, "outcome": "complete", "steps": STEPS})

    def _call(self, method: str, call: str, body: dict[str, Any]) -> None:
        self._connection.request(method, self._path + call, json.dumps(body).encode(), self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{call or 'open'}: {answer.status}: {text.decode(errors='replace')}")


class OptunaCaller:
    """Optuna's own study, with the same space and sampler."""

    def __init__(self, endpoint: Endpoint, study: str, spec: HPOStudySpec) -> None:
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._name = study
        self._storage = STORAGES[endpoint.way](endpoint)
        self._space = {parameter.path: distribution(parameter) for parameter in spec.parameters}
        self._study: optuna.Study | None = None

    def open(self) -> None:
        """Make the study."""
        optuna.create_study(storage=self._storage, study_name=self._name, direction="maximize")

    def trial(self, number: int) -> None:
        """Ask, report, tell."""
        if self._study is None:
            sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
            self._study = optuna.load_study(
                study_name=self._name, storage=self._storage, sampler=sampler, pruner=pruner
            )
        trial = self._study.ask(self._space)
        trial.report(number / 1e6, 1)
        self._study.tell(trial, number / 1e6)


STORAGES: dict[str, Callable[[Endpoint], BaseStorage]] = {
    "storage protocol": lambda e: remote.storage(f"localhost:{e.port}", TENANT, e.ca or ""),
    "Optuna's proxy": lambda e: GrpcStorageProxy(host="localhost", port=e.port),
    "Optuna, direct": lambda e: open_storage(e.url),
}


def caller(endpoint: Endpoint, study: str, spec: HPOStudySpec) -> Caller:
    """Connect."""
    return (ServiceCaller if endpoint.way == "service" else OptunaCaller)(endpoint, study, spec)
