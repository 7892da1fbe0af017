"""Studies for tests: small spaces, made-up evaluations, storages that fail where they are told to."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from headway.hpo.core import StudyCore
from headway_api.hpo_study import METRICS, HPOStudySpec
from headway_api.load import validate_study
from headway_api.progress import EvaluationPoint
from specs import small_study

RATE = {"path": "train.algo.ppo.learningRate", "float": {"low": 1e-4, "high": 1e-2, "log": True}}
EPOCHS = {"path": "train.algo.ppo.epochs", "int": {"low": 1, "high": 8}}
HIDDEN = {"path": "train.network.mlp.hidden", "categorical": {"choices": [[16], [32], [64, 64]]}}
KEY = "default/search/uid"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def study(sampler: dict | None = None, pruner: dict | None = None, **spec: Any) -> HPOStudySpec:
    """A study of four evaluations a run."""
    engine = {"optuna": {"sampler": sampler or {"random": {}}, "pruner": pruner or {"none": {}}}}
    return validate_study(small_study(**{"engine": engine, "budget": {"trials": 8}, **spec})).spec


def memory() -> optuna.storages.BaseStorage:
    return optuna.storages.InMemoryStorage()


def point(index: int, success: float = 0.5, **metrics: float) -> EvaluationPoint:
    """An evaluation."""
    named = {METRICS[name]: value for name, value in {"successRate": success, **metrics}.items()}
    return EvaluationPoint(index=index, step=1024 * index, metrics=named)


def finish(core: StudyCore, number: int, success: float = 0.5, **metrics: float) -> dict[str, Any]:
    """Ask, report once, tell complete; return the values."""
    values = core.ask(number)
    core.report(number, 0, [point(1, success, **metrics)], ended=True)
    core.tell(number, "complete", steps=4096)
    return values
