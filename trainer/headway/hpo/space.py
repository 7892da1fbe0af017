"""The contract's search space in Optuna's words. A parameter is named by its path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from headway_api.search_space import Choices, FloatRange, Parameter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the distribution of a parameter. Choices are any JSON, of which Optuna holds the text."""
    domain = parameter.domain
    if isinstance(domain, Choices):
        return CategoricalDistribution([_text(choice) for choice in domain.choices])
    if isinstance(domain, FloatRange):
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def to_optuna(parameter: Parameter, value: Any) -> Any:
    """Return a value of ours as Optuna holds it."""
    return _text(value) if isinstance(parameter.domain, Choices) else value


def from_optuna(parameter: Parameter, value: Any) -> Any:
    """Return a value of Optuna's as the spec has it: looked up among the choices, never parsed."""
    domain = parameter.domain
    if not isinstance(domain, Choices):
        return value
    return {_text(choice): choice for choice in domain.choices}[value]


def fits(parameters: Iterable[Parameter], params: Mapping[str, Any]) -> bool:
    """Say whether a trial's parameters, in Optuna's words, are a point of the space."""
    left, chosen = dict(params), {}
    for parameter in parameters:
        if not parameter.is_active(chosen):
            continue
        found = distribution(parameter)
        if parameter.path not in left or not contains(found, left[parameter.path]):
            return False
        chosen[parameter.path] = from_optuna(parameter, left.pop(parameter.path))
    return not left


def contains(found: BaseDistribution, value: Any) -> bool:
    """Say whether a distribution can have brought forth a value."""
    try:
        return bool(found._contains(found.to_internal_repr(value)))
    except ValueError:  # no value of its kind
        return False


def _text(choice: Any) -> str:
    return json.dumps(choice, sort_keys=True)
