"""The space of a study: what a range or a list holds, how many points there are, and what is refused."""

import math
from typing import Any

import pytest
from headway_api.search_space import Parameter, fingerprint, grid, points
from pydantic import ValidationError


def parameter(path: str = "train.algo.ppo.gamma", **domain: Any) -> Parameter:
    return Parameter.model_validate({"path": path, **domain}, by_alias=True)


@pytest.mark.parametrize(
    ("domain", "size"),
    [
        ({"float": {"low": 0.0, "high": 1.0}}, math.inf),
        ({"float": {"low": 0.0, "high": 1.0, "step": 0.1}}, 11),  # in binary ten times 0.1 is not 1.0
        ({"float": {"low": 0.0, "high": 1.0, "step": 0.4}}, 3),  # 0, 0.4, 0.8
        ({"int": {"low": 1, "high": 10}}, 10),
        ({"int": {"low": 1, "high": 10, "step": 4}}, 3),  # 1, 5, 9
        ({"categorical": {"choices": ["a", [1, 2], {"mlp": {}}]}}, 3),
    ],
)
def test_a_domain_knows_how_many_values_it_has(domain: dict, size: float) -> None:
    found = parameter(**domain).domain
    assert found.size == size
    assert size == math.inf or len(list(found.values())) == size


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        ({"float": {"low": 2.0, "high": 1.0}}, "low must be below high"),
        ({"int": {"low": 2, "high": 2}}, "low must be below high"),
        ({"float": {"low": 0.0, "high": 1.0, "log": True}}, "with log, low must be above 0"),
        ({"int": {"low": 0, "high": 9, "log": True}}, "with log, low must be above 0"),
        ({"float": {"low": 0.1, "high": 1.0, "log": True, "step": 0.1}}, "log and step exclude each other"),
        ({"categorical": {"choices": []}}, "at least 1 item"),
        ({"categorical": {"choices": ["x" * 3000]}}, "at most 2048 characters of JSON"),
        ({"categorical": {"choices": [math.nan]}}, "finite numbers"),
        ({}, "set exactly one of: float, int, categorical"),
        ({"int": {"low": 1, "high": 2}, "categorical": {"choices": [1]}}, "set exactly one of"),
        ({"int": {"low": 1, "high": 2}, "when": {"path": "train.algo.ppo.gamma", "values": [1]}}, "on itself"),
    ],
)
def test_a_bad_domain_is_refused(domain: dict, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        parameter(**domain)


@pytest.mark.parametrize("path", ["seed", "spec.train.seed", "train", "train.", "train.a[x]", "train.a b", "train..a"])
def test_a_path_begins_at_train(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        parameter(path, int={"low": 1, "high": 2})


NETWORK = parameter("train.network", categorical={"choices": [{"mlp": {}}, {"gru": {}}]})
WIDTH = parameter(
    "train.network.gru.hidden",
    int={"low": 32, "high": 96, "step": 32},
    when={"path": "train.network", "values": [{"gru": {}}]},
)
EPOCHS = parameter("train.algo.ppo.epochs", int={"low": 1, "high": 5})


def test_a_parameter_with_a_condition_counts_only_where_it_matters() -> None:
    assert points([NETWORK, WIDTH, EPOCHS]) == (1 + 3) * 5  # an MLP has no width; a GRU has three
    assert points([EPOCHS, NETWORK, WIDTH]) == 20


def test_the_grid_holds_each_point_once_and_nothing_that_does_not_matter() -> None:
    found = list(grid([NETWORK, WIDTH, EPOCHS]))
    assert len(found) == len({fingerprint(values) for values in found}) == 20
    assert sum(WIDTH.path in values for values in found) == 15


def test_a_space_that_is_too_large_to_count_is_infinite() -> None:
    wide = [parameter(f"train.a{k}", int={"low": 1, "high": 1000}) for k in range(8)]
    assert points(wide) == math.inf
    assert points([parameter(int={"low": 0, "high": 2**50})]) == math.inf


def test_equal_points_have_one_name_whatever_their_order() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2.5, "d": []}}) == fingerprint({"b": {"d": [], "c": 2.5}, "a": 1})
