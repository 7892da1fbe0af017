"""The generated CustomResourceDefinition: structural, described, bounded, small, and up to date."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from headway_api import crd, structural
from headway_api.hpo_study import HPOStudy
from headway_api.training_run import TrainingRun

CRDS = {kind.kind: crd.crd(kind) for kind in crd.KINDS}
SCHEMAS = {kind: found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind, found in CRDS.items()}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


OURS = [
    (f"{kind}{path}", node)
    for kind, schema in SCHEMAS.items()
    for path, node in nodes(schema)
    if path.startswith((".spec", ".status"))
]


def test_the_committed_files_are_what_the_models_say() -> None:
    for path, text in crd.rendered().items():
        assert (crd.ROOT / path).read_text() == text, f"{path}: run `make generate`"


def test_it_is_small_enough_for_client_side_apply() -> None:
    assert max(len(json.dumps(found)) for found in CRDS.values()) < 200 * 1024


def test_every_field_is_described() -> None:
    bare = [path for path, node in OURS if not path.endswith(("[]", "{}")) and not node.get("description")]
    assert not bare


def test_every_string_list_and_map_of_the_spec_is_bounded() -> None:
    """CEL's cost is estimated from these bounds, and etcd holds 1.5 MiB."""
    bounds = {"string": ("maxLength", "enum"), "array": ("maxItems",)}
    free = [path for path, node in OURS if not set(node) & set(bounds.get(node.get("type", ""), node))]
    maps = [path for path, node in OURS if "additionalProperties" in node and "maxProperties" not in node]
    assert not free
    assert not maps


def test_no_object_is_of_a_form_that_the_api_server_would_empty() -> None:
    """What a structural schema does not name is pruned: such an object arrives as {}."""
    forms = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"}
    assert not [path for path, node in OURS if node.get("type") == "object" and not forms & set(node)]


def test_the_schema_holds_nothing_that_the_api_server_refuses() -> None:
    text = json.dumps(SCHEMAS)
    for word in ("$ref", "$defs", "x-headway", '"title"', '"const"', '"null"'):
        assert word not in text


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.kind)
def test_all_of_the_spec_but_the_named_fields_is_fixed_after_creation(kind: crd.Kind) -> None:
    spec = SCHEMAS[kind.kind]["properties"]["spec"]["properties"]
    fixed = {
        name
        for name, node in spec.items()
        if any(rule["rule"] == "self == oldSelf" for rule in node.get("x-kubernetes-validations", []))
    }
    assert kind.mutable <= set(spec)
    assert fixed == set(spec) - kind.mutable


def test_every_integer_of_the_spec_is_bounded_on_both_sides() -> None:
    open_ended = [
        path
        for path, node in OURS
        if ".spec" in path and node.get("type") == "integer" and not {"minimum", "maximum"} <= set(node)
    ]
    assert not open_ended


def test_model_names_are_unique_since_rules_are_found_by_name() -> None:
    found: list[type] = []
    pending: list[Any] = [TrainingRun, HPOStudy]
    while pending:
        item = pending.pop()
        if isinstance(item, type) and hasattr(item, "model_fields"):
            if item not in found:
                found.append(item)
                pending += [info.annotation for info in item.model_fields.values()]
        else:
            pending += getattr(item, "__args__", ())
    assert len({item.__name__ for item in found}) == len(found)


def test_an_open_bound_becomes_a_number_and_a_flag() -> None:
    from headway_api.algo_spec import Ppo

    rate = structural.structural(Ppo)["properties"]["learningRate"]
    assert rate["minimum"] == 0.0
    assert rate["exclusiveMinimum"] is True
    assert rate["maximum"] == 1.0
    assert "exclusiveMaximum" not in rate
