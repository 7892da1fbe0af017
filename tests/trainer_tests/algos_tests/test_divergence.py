import math

import pytest
import torch
from headway.algos.divergence import Course, DivergenceError, examine, gradients, refuse, refuse_tensors
from headway.networks import ObservationScale
from torch import nn

NAN, INF = math.nan, math.inf


def test_the_first_number_that_is_none_is_named_and_where_it_was_seen():
    refuse({"loss/policy": 1e30, "loss/value": -0.0})
    with pytest.raises(DivergenceError, match=r"^loss/value is -inf at gradient step 3$") as raised:
        refuse({"loss/policy": 0.5, "loss/value": -INF, "other": NAN}, "at gradient step 3", target=torch.ones(2))
    assert raised.value.at_hand["target"].tolist() == [1.0, 1.0]


def test_a_tensor_with_one_number_that_is_none_is_named():
    whole = {"steps": torch.tensor(3), "weight": torch.ones(2, 3)}
    refuse_tensors(whole, "as it was to be saved")
    broken = whole["weight"].clone()
    broken[1, 2] = INF
    with pytest.raises(DivergenceError, match=r"^target is inf as it was to be saved$"):
        refuse_tensors(whole | {"target": broken}, "as it was to be saved")


def test_an_explosion_is_one_beyond_1e8_times_the_median_of_the_last_updates():
    course = Course()
    for loss in (1e9, 3e9, 2e9, 1e12, 1e9):
        course.see({"loss/value": -loss, "ppo/gradient_norm": 1.0, "time/learn_s": 1e30})
    course.see({"loss/value": 2e17})  # 1e8 times the median of 2e9
    assert course.past["loss/value"] == [1e9, 3e9, 2e9, 1e12, 1e9, 2e17]
    with pytest.raises(DivergenceError, match=r"^loss/value is 2\.6e\+17 after a median of 2\.5e\+09 over 6 updates$"):
        course.see({"loss/value": 2.6e17})
    with pytest.raises(DivergenceError, match=r"ppo/gradient_norm is 1e\+17"):
        course.see({"ppo/gradient_norm": 1e17})


def test_a_first_reward_after_many_zeros_is_no_explosion():
    course = Course()
    for loss in [0.0] * 20 + [1e15, 0.0]:
        course.see({"loss/value": loss})


def test_a_beginning_of_any_size_is_no_explosion_and_a_course_goes_on_where_it_was():
    course = Course()
    for loss in (1e-3, 1e30, 1e-3, 1e25):
        course.see({"loss/value": loss})
    again = Course(course.past)
    again.see({"loss/value": 0.0})
    with pytest.raises(DivergenceError):
        again.see({"loss/value": 1e17})
    assert len(course.past["loss/value"]) == 4  # not shared


def test_what_there_is_to_see_of_a_tensor():
    rows = torch.tensor([[1.0, NAN, 3.0], [4.0, 5.0, -6.0], [INF, NAN, 9.0]])
    (found,) = examine({"environment.features": rows, "action": torch.tensor([1, 2]), "none": torch.zeros(0, 4)})
    assert (found.name, found.shape, found.nan, found.infinite) == ("environment.features", [3, 3], 2, 1)
    assert (found.rows, found.columns, found.least, found.largest) == ([2, 3], [0, 1], -6.0, 9.0)
    assert str(found) == "environment.features (3 of 9)"


def test_numbers_and_rows_without_any_finite_one_are_looked_through_too():
    one, row, cube = examine(
        {"scale": torch.tensor(NAN), "reward": torch.tensor([2.0, -INF]), "x": torch.ones(4, 2, 3)}
    )
    assert (one.rows, one.least, one.largest) == ([1, 1], None, None)
    assert (row.rows, row.columns, row.least, row.largest) == ([1, 2], [0], 2.0, 2.0)
    assert (cube.rows, cube.broken) == ([0, 8], 0)


def test_a_large_tensor_is_looked_through_in_pieces():
    many = torch.zeros(70_000, 2)
    many[[3, 69_999], [1, 1]] = NAN
    (found,) = examine({"many": many})
    assert (found.nan, found.rows, found.columns) == (2, [2, 70_000], [1])


def test_gradients_bear_their_parameters_names():
    network = nn.Sequential(ObservationScale(2), nn.Linear(2, 1))
    network(torch.ones(1, 2)).sum().backward()
    assert list(gradients(network)) == ["gradient.1.weight", "gradient.1.bias"]
