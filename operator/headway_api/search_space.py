"""The space that a study searches: fields of a run's spec, each with the values that it may take."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from headway_api.base import Contract, Float, Rule, RuleInt, described

MAX_CHOICE = 2048  # characters of one choice as JSON
PATH = r"^train(\.[a-zA-Z][a-zA-Z0-9]*(\[[0-9]{1,3}\])?){1,12}$"

ParameterPath = Annotated[str, Field(min_length=7, max_length=160, pattern=PATH)]


def _choice(value: Any) -> Any:
    try:
        size = len(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise PydanticCustomError("choice", "Input should be a JSON value of finite numbers") from None
    if size > MAX_CHOICE:
        raise PydanticCustomError("choice", "give at most {limit} characters of JSON", {"limit": MAX_CHOICE})
    return value


Value = Annotated[Any, AfterValidator(_choice), Field(json_schema_extra={"x-headway-form": "any"})]


class FloatRange(Contract):
    """Real numbers from low to high, both included."""

    low: Float = Field(description="Least value.", ge=-1e12, le=1e12)
    high: Float = Field(description="Largest value.", ge=-1e12, le=1e12)
    log: bool = described(False, "Search orders of magnitude evenly.")
    step: Float | None = Field(None, gt=0.0, le=1e12, description="Only low and every so much above it.")

    rules = (
        Rule("self.low < self.high", lambda m: m.low < m.high, "low must be below high", "low"),
        Rule("!self.log || self.low > 0.0", lambda m: not m.log or m.low > 0, "with log, low must be above 0", "low"),
        Rule("!self.log || !has(self.step)", lambda m: not m.log or m.step is None, "log and step exclude each other",
             "step"),
    )  # fmt: skip

    @property
    def size(self) -> float:
        """How many values there are; infinite without `step`."""
        return math.inf if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def values(self) -> Iterator[float]:
        """Yield all values of a finite range."""
        assert self.step is not None
        return (self.low + k * self.step for k in range(int(self.size)))


class IntRange(Contract):
    """Whole numbers from low to high, both included."""

    low: RuleInt = Field(description="Least value.", ge=-(2**53), le=2**53)
    high: RuleInt = Field(description="Largest value.", ge=-(2**53), le=2**53)
    log: bool = described(False, "Search orders of magnitude evenly.")
    step: RuleInt = described(1, "Only low and every so much above it.", ge=1, le=2**53)

    rules = (
        Rule("self.low < self.high", lambda m: m.low < m.high, "low must be below high", "low"),
        Rule("!self.log || self.low > 0", lambda m: not m.log or m.low > 0, "with log, low must be above 0", "low"),
        Rule("!self.log || self.step == 1", lambda m: not m.log or m.step == 1, "log and step exclude each other",
             "step"),
    )  # fmt: skip

    @property
    def size(self) -> float:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def values(self) -> Iterator[int]:
        """Yield all values."""
        return iter(range(self.low, self.high + 1, self.step))


class Choices(Contract):
    """One of a list of values: numbers, text, booleans, lists or whole objects of the spec."""

    choices: list[Value] = Field(min_length=1, max_length=64, description="The values, e.g. [[64, 64], [128, 128]].")

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.choices)

    def values(self) -> Iterator[Any]:
        """Yield all values."""
        return iter(self.choices)


class When(Contract):
    """Only where another parameter has one of these values."""

    path: ParameterPath = Field(description="The other parameter; it stands before this one in the list.")
    values: list[Value] = Field(min_length=1, max_length=64, description="Its values with which this one matters.")


class Parameter(Contract):
    """One field of the runs' spec, and what it may be."""

    path: ParameterPath = Field(description="The field, from train on: train.algo.ppo.learningRate.")
    float_: FloatRange | None = Field(None, alias="float", description="Real numbers.")
    int_: IntRange | None = Field(None, alias="int", description="Whole numbers.")
    categorical: Choices | None = Field(None, description="One of a list.")
    when: When | None = Field(None, description="Leave the field as the template has it, except with these values.")

    rules = (
        Rule(
            "[has(self.float), has(self.int), has(self.categorical)].filter(x, x).size() == 1",
            lambda m: sum(x is not None for x in (m.float_, m.int_, m.categorical)) == 1,
            "set exactly one of: float, int, categorical",
        ),
        Rule(
            "!has(self.when) || self.when.path != self.path",
            lambda m: m.when is None or m.when.path != m.path,
            "a parameter cannot depend on itself",
            "when",
        ),
    )

    @property
    def domain(self) -> FloatRange | IntRange | Choices:
        """The one that is set."""
        found = self.float_ or self.int_ or self.categorical
        assert found is not None
        return found

    def is_active(self, chosen: dict[str, Any]) -> bool:
        """Whether it matters, given the values chosen for the parameters before it."""
        return self.when is None or (self.when.path in chosen and chosen[self.when.path] in self.when.values)


def points(parameters: list[Parameter], enough: float = 1e6) -> float:
    """How many different points the space has; infinite where one is continuous or there are more than `enough`."""

    def below(index: int, chosen: dict[str, Any]) -> float:
        if index == len(parameters):
            return 1
        parameter = parameters[index]
        if not parameter.is_active(chosen):
            return below(index + 1, chosen)
        if parameter.domain.size > enough:
            return math.inf
        if not any(p.when and p.when.path == parameter.path for p in parameters[index + 1 :]):
            return parameter.domain.size * below(index + 1, chosen)
        total = 0.0
        for value in parameter.domain.values():
            total += below(index + 1, chosen | {parameter.path: value})
        return total

    found = below(0, {})
    return found if found <= enough else math.inf


def grid(parameters: list[Parameter]) -> Iterator[dict[str, Any]]:
    """Yield every point of a finite space: values by path, of the parameters that matter there."""

    def below(index: int, chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if index == len(parameters):
            yield chosen
        elif parameters[index].is_active(chosen):
            for value in parameters[index].domain.values():
                yield from below(index + 1, chosen | {parameters[index].path: value})
        else:
            yield from below(index + 1, chosen)

    return below(0, {})


def fingerprint(values: dict[str, Any]) -> str:
    """Name a point: equal for equal values, whatever their order."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
