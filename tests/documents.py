"""Documents drawn from the contract's own models: every field that there is, with the bounds that it states."""

from __future__ import annotations

from functools import cache
from typing import Any

from headway_api.base import Contract, OneOf
from hypothesis import strategies as st
from pydantic import ValidationError

Node = dict[str, Any]
# What a constructor may be given: any JSON. Integers that a reader of doubles keeps.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)
keywords = st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), json_values, max_size=4)


@cache
def documents(model: type[Contract]) -> st.SearchStrategy[Any]:
    """Documents of a model: any of its optional fields, all required ones, one of a choice; its rules hold."""
    schema, fields = model.model_json_schema(by_alias=True), values_of(model)
    if issubclass(model, OneOf):
        return st.one_of([st.fixed_dictionaries({name: values}) for name, values in fields.items()])
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    drawn = st.fixed_dictionaries(required, optional=fields)
    return drawn.filter(lambda document: _is_valid(model, document)) if model.rules else drawn


def values_of(model: type[Contract]) -> dict[str, st.SearchStrategy[Any]]:
    """Values of each field of a model, by its name on the wire."""
    properties = model.model_json_schema(by_alias=True).get("properties", {})
    return {name: _values(node) for name, node in properties.items()}


def _is_valid(model: type[Contract], document: Any) -> bool:
    try:
        model.model_validate(document, by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True


def _values(node: Node) -> st.SearchStrategy[Any]:
    """Values of one node of a JSON schema. Raises KeyError for a kind that no model has had so far."""
    if "$ref" in node:
        return documents(_models()[node["$ref"].rsplit("/", 1)[1]])
    if node.get("x-headway-form") == "opaque":
        return keywords
    if "anyOf" in node:  # X | None; null is refused where the field has no default
        (inner,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        return _values(inner | {key: value for key, value in node.items() if key != "anyOf"})
    if "enum" in node:
        return st.sampled_from(node["enum"])
    return _KINDS[node["type"]](node)


def _bounds(node: Node) -> tuple[Any, Any]:
    """Least and greatest value; for a validated number pydantic leaves them in its own words."""
    return node.get("minimum", node.get("ge")), node.get("maximum", node.get("le"))


def _number(node: Node) -> st.SearchStrategy[float]:
    (low, high), above, below = _bounds(node), node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    return st.floats(
        low if above is None else above, high if below is None else below,
        exclude_min=above is not None, exclude_max=below is not None, allow_subnormal=False,
    )  # fmt: skip


def _text(node: Node) -> st.SearchStrategy[str]:
    most = min(node.get("maxLength", 40), 40)
    if "pattern" not in node:
        return st.text(min_size=node.get("minLength", 0), max_size=most)
    return st.from_regex(node["pattern"], fullmatch=True).filter(lambda text: len(text) <= node.get("maxLength", 40))


_KINDS = {
    "boolean": lambda node: st.booleans(),
    "integer": lambda node: st.integers(*_bounds(node)),
    "number": _number,
    "string": _text,
    "array": lambda node: st.lists(
        _values(node["items"]), min_size=node.get("minItems", 0), max_size=min(node["maxItems"], 6)
    ),
}


@cache
def _models() -> dict[str, type[Contract]]:
    """All models by class name, which is unique."""
    found, pending = {}, [Contract]
    while pending:
        model = pending.pop()
        found[model.__name__] = model
        pending += model.__subclasses__()
    return found
