"""What every model of the contract shares: strict JSON types, camelCase on the wire, rules in both Python and CEL.

The API server and `headway run` must accept exactly the same documents. So each cross-field rule is written once, as a
`Rule` that holds the Python check beside its CEL twin, and scalars refuse the conversions that JSON does not make.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


@dataclass(frozen=True)
class Rule:
    """One cross-field rule, in both languages. `cel` sees the object as `self`, `holds` sees the model."""

    cel: str
    holds: Callable[[Any], bool]
    message: str
    field: str = ""  # wire name of the field that the message is about, for pointing


def integral(value: object) -> object:
    """JSON has one number type: the API server takes 5.0 for an integer, and so do we; never a bool or a string."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "Input should be a valid number")
    return value


# Integers that fit Go's int64 and a JSON reader that keeps doubles.
Int = Annotated[int, BeforeValidator(integral)]
# A whole number that a CEL rule reads: CEL does not take 5.0 for one, so neither do we there.
RuleInt = int
Float = Annotated[float, BeforeValidator(_number)]


def auto_or_whole(low: int, high: int) -> Callable[[object], object]:
    """Return a check of what may be `auto` or a whole number; text and number are one field for the API server."""

    def check(value: object) -> object:
        if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
            words = "Input should be auto or a whole number from {low} to {high}"
            raise PydanticCustomError("auto_or_whole", words, {"low": low, "high": high})
        return value

    return check


class Contract(BaseModel):
    """Base of all models: frozen, strict, no unknown fields, finite numbers."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_means_default(cls, data: Any) -> Any:
        """Treat null as the API server does: as if the field were left out. Where that may not be, refuse it."""
        if not isinstance(data, dict) or None not in data.values():
            return data
        optional = set()
        for name, info in cls.model_fields.items():
            keys = {name, info.alias or name}
            optional |= set() if info.is_required() else keys
            if info.is_required() and any(key in data and data[key] is None for key in keys):
                raise PydanticCustomError("null", "{field} must not be null", {"field": info.alias or name})
        return {key: value for key, value in data.items() if value is not None or key not in optional}

    @model_validator(mode="after")
    def _rules_hold(self) -> Any:
        for rule in self.rules:
            if not rule.holds(self):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message, "field": rule.field})
        return self

    def to_wire(self) -> dict[str, Any]:
        """Return the object as JSON-ready dict: camelCase, defaults included, unset optionals left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class OneOf(Contract):
    """A choice by field name: exactly one of the fields is set, as Kubernetes does it (no discriminators)."""

    def chosen(self) -> tuple[str, Any]:
        """Return the wire name and the value of the one field that is set."""
        for name, info in type(self).model_fields.items():
            if (value := getattr(self, name)) is not None:
                return info.alias or name, value
        raise AssertionError("validated: exactly one field is set")

    @classmethod
    def one_of_rule(cls) -> Rule:
        """Return the rule that exactly one field is set, for the models and for the CRD."""
        names = [(name, info.alias or name) for name, info in cls.model_fields.items()]
        wire = ", ".join(alias for _, alias in names)
        return Rule(
            cel="[" + ", ".join(f"has(self.{alias})" for _, alias in names) + "].filter(x, x).size() == 1",
            holds=lambda model: sum(getattr(model, name) is not None for name, _ in names) == 1,
            message=f"set exactly one of: {wire}",
        )

    @model_validator(mode="after")
    def _exactly_one(self) -> Any:
        rule = self.one_of_rule()
        if not rule.holds(self):
            raise PydanticCustomError("rule", "{message}", {"message": rule.message, "field": ""})
        return self


def described(default: Any, description: str, **bounds: Any) -> Any:
    """Shorthand for a field with a default, a description (shown by `kubectl explain`) and bounds."""
    if isinstance(default, BaseModel):
        return Field(default_factory=lambda: default, description=description, **bounds)  # frozen: shared
    if isinstance(default, list | dict):
        return Field(default_factory=lambda: type(default)(default), description=description, **bounds)
    return Field(default, description=description, **bounds)
