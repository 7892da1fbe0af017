"""A study's trials: the run that a point of the space stands for, and what a schema cannot see wrong with a space."""

from __future__ import annotations

import copy
import hashlib
import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from headway_api import names
from headway_api.hpo_study import HPOStudySpec
from headway_api.ray_rules import population
from headway_api.refusals import explain
from headway_api.search_space import Choices, FloatRange, IntRange, Parameter, points
from headway_api.training_run import TrainingRunSpec

_PART = re.compile(r"([A-Za-z0-9]+)(?:\[(\d+)\])?")


class UnknownPathError(ValueError):
    """A path leads nowhere. `str()` says where it ends."""


def trial_run(study: HPOStudySpec, values: dict[str, Any], number: int, seed_index: int) -> TrainingRunSpec:
    """Return the run of a trial: the template with the point's values and a seed of its own.

    Raises ValidationError where the values make no valid run together, UnknownPathError for a path that leads nowhere.
    """
    wire = study.run_template.to_wire()
    for path, value in values.items():
        assign(wire, path, value)
    wire["train"]["seed"] = training_seed(study, number, seed_index)
    wire["train"]["evaluation"]["stage"] = "last"  # who is still in an easy stage must not look good there
    return TrainingRunSpec.model_validate(wire, by_alias=True, by_name=False)


def training_seed(study: HPOStudySpec, number: int, seed_index: int) -> int:
    """Seed of a trial's run: another for every trial and index; with the Wilcoxon pruner, which compares trials seed by
    seed, the same in every trial."""
    optuna = study.engine.optuna
    is_paired = optuna is not None and optuna.pruner.wilcoxon is not None
    text = f"{study.seed}/train/{0 if is_paired else number}/{seed_index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def run_name(study: str, number: int, seed_index: int, seeds: int) -> str:
    """Name of a trial's run."""
    return f"{study}-{number}" if seeds == 1 else f"{study}-{number}-{seed_index}"


def tuned_name(study: str) -> str:
    """Name of the run with the best trial's parameters. Not that of the ConfigMap that it stands in, `<study>-best`: a
    run has a ConfigMap of its own name."""
    return f"{study}-tuned"


def assign(document: dict[str, Any], path: str, value: Any) -> None:
    """Set one field of a run's spec as on the wire. An object takes the place of the whole object that was there.

    Raises UnknownPathError where nothing on the way to the field is there.
    """
    way = [part for name, index in _PART.findall(path) for part in (name, index) if part]
    node: Any = document
    for part in way[:-1]:
        node = _step(node, part, path)
    if isinstance(node, list):
        _step(node, way[-1], path)
        node[int(way[-1])] = copy.deepcopy(value)
    elif isinstance(node, dict):
        node[way[-1]] = copy.deepcopy(value)
    else:
        raise UnknownPathError(f"{path}: {way[-2]} is no object: name a field of the run")


def _step(node: Any, name: str, path: str) -> Any:
    if isinstance(node, dict) and name in node:
        return node[name]
    if isinstance(node, list) and name.isdigit() and int(name) < len(node):
        return node[int(name)]
    raise UnknownPathError(f"{path}: the template has no {name} there: set it in runTemplate first")


def problems(study: HPOStudySpec) -> list[str]:
    """Return what is wrong with a study that is well-formed: field, value, fix. Empty if nothing is."""
    found = [*_evaluations(study), *_whole_runs(study), *_order(study.parameters), *_fields(study)]
    if not found and (size := points(study.parameters)) < study.budget.trials:
        found.append(
            f"budget.trials: found {study.budget.trials}: the space has only {size:.0f} points, and none is tried "
            f"twice: give at most {size:.0f}"
        )
    return found


def _evaluations(study: HPOStudySpec) -> Iterator[str]:
    """Not in CEL, which takes no 1e7 for a whole number: as a TrainingRun's totalSteps that is fine."""
    train = study.run_template.train
    if not 0 < (every := train.evaluation.every_steps) <= train.total_steps:
        field = "runTemplate.train.evaluation.everySteps"
        yield f"{field}: found {every}: trials are judged by evaluations: it must be from 1 to totalSteps"


def _whole_runs(study: HPOStudySpec) -> Iterator[str]:
    """A population is trained in generations of one length, all its members to the end."""
    if population(study) is not None and study.run_template.train.curriculum.stop_after_last_gate:
        field = "runTemplate.train.curriculum.stopAfterLastGate"
        yield f"{field}: found true: with rayTune.scheduler.pbt and pb2 all runs are equally long: set it to false"


def _order(parameters: list[Parameter]) -> Iterator[str]:
    before: dict[str, Parameter] = {}
    for index, parameter in enumerate(parameters):
        if parameter.when is not None:
            field, other = f"parameters[{index}].when", before.get(parameter.when.path)
            if other is None:
                yield f"{field}.path: found {parameter.when.path!r}: name a parameter that stands before this one"
            elif isinstance(other.domain, Choices):
                strange = [value for value in parameter.when.values if value not in other.domain.choices]
                if strange:
                    yield f"{field}.values: found {strange[0]!r}: {other.path} is never that: give some of its choices"
        before[parameter.path] = parameter


def _fields(study: HPOStudySpec) -> Iterator[str]:
    """Try some values of each parameter in the template, everything else as it is there."""
    for index, parameter in enumerate(study.parameters):
        if parameter.path in ("train.seed", "train.totalSteps", "train.evaluation.stage"):
            yield f"parameters[{index}].path: found {parameter.path!r}: the study itself sets it: leave it out"
            continue
        domain = parameter.domain
        for value in _samples(domain):
            if problem := _refusal(study, parameter, value):
                yield f"parameters[{index}]: {problem}"
                break


def _samples(domain: FloatRange | IntRange | Choices) -> list[Any]:
    """The ends of a range and something between them that is no whole number; every choice."""
    if isinstance(domain, Choices):
        return domain.choices
    between = [domain.low + 0.618034 * (domain.high - domain.low)] if domain.size == math.inf else []
    return [domain.low, domain.high, *between]


def _refusal(study: HPOStudySpec, parameter: Parameter, value: Any) -> str:
    """Why the template with this value is no run; "" if it is one, or if other parameters may make it one."""
    wire = study.run_template.to_wire()
    try:
        assign(wire, parameter.path, value)
        TrainingRunSpec.model_validate(wire, by_alias=True, by_name=False)
    except UnknownPathError as error:
        return str(error)
    except ValidationError as error:
        details = error.errors()
        own = [d for d in details if d["type"] != "rule" or len(study.parameters) == 1]
        return explain(own[0]) if own else ""
    return ""


def run_document(
    study: HPOStudySpec, name: str, values: dict[str, Any], number: int, seed_index: int
) -> dict[str, Any]:
    """Return a trial's TrainingRun as on the wire. Raises as `trial_run` does."""
    spec = trial_run(study, values, number, seed_index).to_wire()
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.TRAINING_RUN,
        "metadata": {"name": name},
        "spec": spec,
    }
