"""HPOStudies for the tests, and what is in the cluster of them."""

from __future__ import annotations

import os
from typing import Any

from harness import Document, Team, wait_until
from headway_api import names
from kubernetes import client
from runs import endless_run, training

PPO = "train.algo.ppo"


def study(name: str, trials: int, parallel: int, total_steps: int, **spec: Any) -> Document:
    """A search over runs of the tiny task with nine evaluations each, some of whose points learn nothing."""
    template = endless_run("template")["spec"]
    evaluation = {"everySteps": total_steps // 9, "levels": 50}
    template["train"] = training(total_steps, evaluation=evaluation)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.HPO_STUDY,
        "metadata": {"name": name},
        "spec": {
            "parameters": [
                {"path": f"{PPO}.learningRate", "float": {"low": 1e-5, "high": 1e-1, "log": True}},
                {"path": f"{PPO}.epochs", "int": {"low": 1, "high": 4}},
                {"path": "train.network.mlp.hidden", "categorical": {"choices": [[16], [32, 32]]}},
            ],
            "objectives": [{"metric": "successRate", "direction": "maximize"}],
            "budget": {"trials": trials, "parallel": parallel},
            "engine": {"optuna": {"sampler": {"tpe": {"startupTrials": 6}}, "pruner": {"hyperband": {}}}},
            "runTemplate": template,
            **spec,
        },
    }


def population(name: str, trials: int, total_steps: int) -> Document:
    """Population-based training by three generations, in one pod."""
    document = study(name, trials, trials, total_steps)
    spec = document["spec"]
    spec["parameters"] = [{"path": f"{PPO}.learningRate", "float": {"low": 1e-4, "high": 1e-2}}]
    spec["engine"] = {"rayTune": {"scheduler": {"pbt": {}}, "searcher": {"random": {}}}}
    spec["runTemplate"]["podTemplate"]["resources"]["limits"]["memory"] = "4Gi"  # Ray, and all trials of the pod
    spec["runTemplate"]["train"]["evaluation"]["everySteps"] = total_steps // 3
    spec["runTemplate"]["train"]["curriculum"]["stopAfterLastGate"] = False
    return document


def status(team: Team, name: str) -> Document:
    custom = client.CustomObjectsApi(team.cluster.api)
    found = custom.get_namespaced_custom_object(names.GROUP, names.VERSION, team.namespace, names.HPO_STUDIES, name)
    return found.get("status") or {}


def is_true(team: Team, name: str, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in status(team, name).get("conditions", []))


def await_finished(team: Team, name: str, seconds: float) -> Document:
    """Wait until the study is over, and return its status."""
    wait_until(f"{name} finished", lambda: is_true(team, name, names.FINISHED), seconds, every=2)
    return status(team, name)


def children(team: Team, name: str) -> list[Document]:
    """The study's runs that are there."""
    custom = client.CustomObjectsApi(team.cluster.api)
    runs = custom.list_namespaced_custom_object(
        names.GROUP, names.VERSION, team.namespace, names.TRAINING_RUNS, label_selector=f"{names.LABEL_STUDY}={name}"
    )
    return list(runs["items"])


def trials_wanted(default: int) -> int:
    """Trials of a study: few in CI, as many as `make prove` says."""
    return int(os.environ.get("E2E_STUDY_TRIALS", default))
