import pytest
import torch
from headway.curriculum.gates import Counts, has_fallen, holds, in_millionths, metrics
from headway_api.curriculum_spec import Demotion, Gate

# Two-sided 95 %: 89 of 100 succeed at least 0.8137 of the time, 87 of 100 at least 0.7902.
# 5 of 100 collide at most 0.1118 of the time, 4 of 100 at most 0.0984.


def gate(**changes):
    return Gate.model_validate({"successRate": 0.8, "episodes": 100} | changes)


@pytest.mark.parametrize(
    ("name", "gate", "counts", "expected"),
    [
        ("surely enough", gate(), Counts(89, 100, 100), True),
        ("enough, but not surely", gate(), Counts(87, 100, 100), False),
        ("a threshold asks for no certainty", gate(confidence=0), Counts(80, 100, 100), True),
        ("and is a threshold", gate(confidence=0), Counts(79, 100, 100), False),
        ("the window is not full", gate(), Counts(99, 99, 99), False),
        ("surely few collisions", gate(collisionRate=0.1), Counts(96, 100, 100, collisions=4), True),
        ("few collisions, but not surely", gate(collisionRate=0.1), Counts(95, 100, 100, collisions=5), False),
        ("by a threshold they are few", gate(collisionRate=0.1, confidence=0), Counts(90, 100, 100, 10), True),
        ("few collisions do not make up for few successes", gate(collisionRate=0.1), Counts(80, 100, 100), False),
        ("enough reward", gate(successRate=0, reward=1.5), Counts(0, 100, 100, reward=150_000_000), True),
        ("a millionth too little", gate(successRate=0, reward=1.5), Counts(0, 100, 100, reward=149_999_999), False),
        ("a reward that may be negative", gate(successRate=0, reward=-2), Counts(0, 100, 100, reward=-200000000), True),
        ("reward does not make up for few successes", gate(reward=1), Counts(80, 100, 100, reward=10**12), False),
        ("nothing is asked for but episodes", gate(successRate=0), Counts(0, 100, 100, collisions=100), True),
    ],
)
def test_a_gate_holds_where_all_that_it_asks_for_is_so(name, gate, counts, expected):
    assert holds(gate, counts) is expected, name


def test_a_success_rate_has_fallen_where_the_upper_bound_is_below():
    # 21 of 100 succeed at most 0.2998 of the time, 22 of 100 at most 0.3107.
    demotion = Demotion.model_validate({"successRate": 0.3})
    assert has_fallen(demotion, gate(), Counts(21, 100, 100))
    assert not has_fallen(demotion, gate(), Counts(22, 100, 100))
    assert not has_fallen(demotion, gate(), Counts(0, 99, 99))  # quick crashes end first: wait for a full window
    assert not has_fallen(demotion, gate(confidence=0), Counts(30, 100, 100))
    assert has_fallen(demotion, gate(confidence=0), Counts(29, 100, 100))


def test_rewards_are_whole_millionths_and_what_is_no_number_is_the_least():
    given = torch.tensor([1.5, -0.25, 3e-7, 6e-7, 1e30, float("-inf"), float("nan")])
    limit = 10**13
    assert in_millionths(given).tolist() == [1_500_000, -250_000, 0, 1, limit, -limit, -limit]


def test_the_largest_window_of_the_largest_rewards_fits_its_sum():
    episodes = Gate.model_fields["episodes"].metadata
    most = max(m.le for m in episodes if hasattr(m, "le"))
    assert most * int(in_millionths(torch.tensor([1e30]))) < 2**63


def test_metrics_leave_out_rates_that_nobody_knows():
    shown = metrics(gate(), Counts(89, 100, 120, collisions=4, reward=250_000_000))
    assert shown["curriculum/gate_success_rate"] == 0.89
    assert shown["curriculum/gate_collision_rate"] == 0.04
    assert shown["curriculum/gate_reward"] == 2.5
    assert shown["curriculum/gate_lower_bound"] == pytest.approx(0.8137, abs=1e-4)
    assert shown["curriculum/gate_collision_bound"] == pytest.approx(0.0984, abs=1e-4)
    assert metrics(gate(), Counts(0, 0, 0)) == {
        "curriculum/gate_episodes": 0.0, "curriculum/gate_lower_bound": 0.0, "curriculum/gate_collision_bound": 1.0,
    }  # fmt: skip
