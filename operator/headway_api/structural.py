"""Models -> structural schemas, the subset of OpenAPI 3.0 that a CustomResourceDefinition takes.

Pydantic's JSON schema is not that: no $ref, no null unions, open bounds as flags, defaults for nested objects, bounds
of map keys only through CEL. This module knows those differences and nothing about any particular kind.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from headway_api.base import Contract, OneOf, Rule
from headway_api.pod_template import QUANTITY_PATTERN

Schema = dict[str, Any]

_KEPT = (
    "type", "description", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems",
    "maxProperties", "default",
)  # fmt: skip
_INT_OR_STRING: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
_OWN_WORDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
# A field names its wire form with json_schema_extra={"x-headway-form": …} where pydantic's own would not do.
_FORMS: dict[str, Schema] = {
    "quantity": {**_INT_OR_STRING, "pattern": QUANTITY_PATTERN, "maxLength": 32, "minimum": 0},
    "processes": {**_INT_OR_STRING, "pattern": "^auto$", "minimum": 1, "maximum": 64},
    "seconds": {**_INT_OR_STRING, "pattern": "^auto$", "minimum": 1, "maximum": 86400},
    "micro-batch": {**_INT_OR_STRING, "pattern": "^auto$", "minimum": 0, "maximum": 4194304},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
    "opaque": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}


def structural(model: type[Contract]) -> Schema:
    """Return the model's structural schema. Raises ValueError for a type that has no structural form."""
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _Translator(document.get("$defs", {}), _classes(model)).translate(document, model)


def validation(rule: Rule) -> Schema:
    """Return the rule as an entry of x-kubernetes-validations."""
    return {"rule": rule.cel, "message": rule.message}


def _classes(model: type[BaseModel]) -> dict[str, type[Contract]]:
    """Return all contract models reachable from `model` by class name (a test holds that names are unique)."""
    found: dict[str, type[Contract]] = {}
    pending: list[Any] = [model]
    while pending:
        item = pending.pop()
        if not (isinstance(item, type) and issubclass(item, Contract)):
            pending += getattr(item, "__args__", ())
        elif item.__name__ not in found:
            found[item.__name__] = item
            pending += [info.annotation for info in item.model_fields.values()]
    return found


class _Translator:
    """Walks a JSON schema with its definitions at hand."""

    def __init__(self, definitions: Schema, classes: dict[str, type[Contract]]) -> None:
        self.definitions = definitions
        self.classes = classes

    def translate(self, node: Schema, owner: type[Contract] | None = None) -> Schema:
        """Translate one node; `owner` is the model that an object node describes."""
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[1]
            return self.translate(self.definitions[name] | _without(node, "$ref"), self.classes[name])
        if form := node.get("x-headway-form"):
            own = ("description", "default", "maxProperties")
            return _FORMS[form] | {key: node[key] for key in own if node.get(key) is not None}
        if "anyOf" in node:  # X | None: absence is the only null
            (inner,) = [option for option in node["anyOf"] if option.get("type") != "null"]
            return self.translate(inner | _without(node, "anyOf", "default"))
        return self._scalar(node) | self._array(node) | self._map(node) | self._object(node, owner)

    def _scalar(self, node: Schema) -> Schema:
        if "type" not in node:
            raise ValueError(f"no structural form for {node}")
        # Under a null union pydantic leaves the bounds of a validated number in its own words.
        node = node | {word: node[own] for own, word in _OWN_WORDS.items() if own in node}
        schema = {key: node[key] for key in _KEPT if key in node}
        for bound in ("minimum", "maximum"):
            exclusive = "exclusive" + bound.capitalize()
            if exclusive in node:  # OpenAPI 3.0 spells an open bound as a number and a flag
                schema |= {bound: node[exclusive], exclusive: True}
        if node["type"] == "number" and not float(least := schema.get("minimum", 0)).is_integer():
            # For a number written as a whole one the API server cuts the bound down to an integer: 0 passes for 0.5.
            rule = {"rule": f"self >= {least}", "message": f"must be at least {least}"}
            schema["x-kubernetes-validations"] = [rule]
        return schema | ({"enum": [node["const"]]} if "const" in node else {})

    def _array(self, node: Schema) -> Schema:
        if node["type"] != "array":
            return {}
        keys = node.get("x-headway-map-keys")
        listing = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys} if keys else {}
        return {"items": self.translate(node["items"])} | listing

    def _map(self, node: Schema) -> Schema:
        keys, values = node.get("propertyNames", {}), node.get("additionalProperties")
        if "patternProperties" in node:  # pydantic's words for a map whose keys have a pattern
            ((pattern, values),) = node["patternProperties"].items()
            keys = keys | {"pattern": pattern}
        return {"additionalProperties": self.translate(values)} | _key_rule(keys) if isinstance(values, dict) else {}

    def _object(self, node: Schema, owner: type[Contract] | None) -> Schema:
        if owner is None or "properties" not in node:
            return {}
        fields = {info.alias or name: info for name, info in owner.model_fields.items()}
        properties = {}
        for name, value in node["properties"].items():
            properties[name] = self.translate(value)
            if fields[name].default_factory is not None:
                properties[name]["default"] = _default(fields[name].get_default(call_default_factory=True))
        rules = [*owner.rules, *([owner.one_of_rule()] if issubclass(owner, OneOf) else [])]
        return (
            {"properties": properties}
            | ({"required": node["required"]} if node.get("required") else {})
            | ({"x-kubernetes-validations": [validation(rule) for rule in rules]} if rules else {})
        )


def _default(made: Any) -> Any:
    """Return a nested default. Inner defaults fill an empty object, but its rules run before they do."""
    if not isinstance(made, Contract):
        return made
    plain = made.model_dump(exclude_defaults=True) == {}
    return made.to_wire() if made.rules or isinstance(made, OneOf) or not plain else {}


def _without(node: Schema, *keys: str) -> Schema:
    return {key: value for key, value in node.items() if key not in keys}


def _key_rule(keys: Schema) -> Schema:
    """Bound the keys of a map by CEL; structural schemas have no words for them."""
    words = {
        "minLength": ("k.size() >= {}", "at least {} character long"),
        "maxLength": ("k.size() <= {}", "at most {} characters long"),
        "pattern": ("k.matches('{}')", "of the form {}"),
    }
    found = [(cel.format(keys[key]), text.format(keys[key])) for key, (cel, text) in words.items() if key in keys]
    if not found:
        return {}
    rule = f"self.all(k, {' && '.join(cel for cel, _ in found)})"
    return {
        "x-kubernetes-validations": [{"rule": rule, "message": f"keys must be {', '.join(text for _, text in found)}"}]
    }
