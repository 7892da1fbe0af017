"""TrainingRuns for the tests: as small as they can be, and long enough to be disturbed."""

from __future__ import annotations

import os
from typing import Any

from harness import CLAIM, Document


def _run(name: str, train: Document, **spec: Any) -> Document:
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": name},
        "spec": {
            "image": os.environ["E2E_TRAINER"],
            "checkpoint": {"volume": {"claimName": CLAIM}, "everySeconds": 5},
            "failurePolicy": {"maxRestarts": 3, "backoffSeconds": 1},
            "terminationGracePeriodSeconds": 20,
            "podTemplate": {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}},
            **spec,
            "train": train,
        },
    }


def training(total_steps: int, **train: Any) -> Document:
    """A train spec of tiny networks and few environments, in an empty room."""
    return {
        "seed": 3,
        "totalSteps": total_steps,
        "numEnvs": 16,
        "env": {"nav": {"lidar": {"beams": 8}, "scanStack": 1, "maxSteps": 60}},
        "algo": {"ppo": {"rolloutSteps": 32, "minibatchSize": 128, "epochs": 2}},
        "network": {"mlp": {"hidden": [16]}},
        "curriculum": {
            "stages": [
                {
                    "name": "empty",
                    "levels": {"world": {"empty": {"sizeMeters": 6}}, "maxGoalMeters": 4},
                    "gate": {"successRate": 0.9},
                }
            ],
            "stopAfterLastGate": False,
        },
        **train,
    }


def short_run(name: str, **spec: Any) -> Document:
    """Ends by itself within seconds of having started."""
    return _run(name, training(4096), **spec)


def endless_run(name: str, **spec: Any) -> Document:
    """Trains until it is stopped; a limit on its CPU leaves some for everything else."""
    document = _run(name, training(10**9), **spec)
    document["spec"]["podTemplate"]["resources"]["limits"]["cpu"] = "500m"
    return document


def impostor_run(name: str, behaviour: str = "sleep", **spec: Any) -> Document:
    """Pods that are cheap and train nothing: see impostor/headway."""
    template = {"env": [{"name": "IMPOSTOR", "value": behaviour}]}
    own = {"image": os.environ["E2E_IMPOSTOR"], "podTemplate": template}
    return _run(name, training(4096), **{**own, **spec})


def finite_run(name: str, **spec: Any) -> Document:
    """Trains for about a minute, long enough to be disturbed, and ends well."""
    document = endless_run(name, **spec)
    document["spec"]["train"]["totalSteps"] = 60_000
    return document
