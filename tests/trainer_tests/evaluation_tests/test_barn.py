import numpy as np
import pytest
from headway.evaluation.barn import barn_metric, bootstrap_interval, optimal_seconds


def test_the_metric_by_hand():
    # A reference path of 12 m takes 6 s at 2 m/s. Runs of 9, 12, 24, 48 and 90 s, and a failure after 20 s.
    best = optimal_seconds(12.0)
    assert best == 6.0
    found = barn_metric([1, 1, 1, 1, 1, 0], [9.0, 12.0, 24.0, 48.0, 90.0, 20.0], best)
    assert found.tolist() == [0.5, 0.5, 0.25, 0.125, 0.125, 0.0]


def test_each_world_has_its_own_best_time():
    assert barn_metric(True, [[20.0], [20.0]], [[5.0], [10.0]]).ravel().tolist() == [0.25, 0.5]


def test_a_path_without_length_has_no_metric():
    with pytest.raises(ValueError, match="must be positive"):
        barn_metric(True, 3.0, 0.0)


def test_the_interval_holds_the_mean_and_shrinks_with_worlds():
    few, many = (np.random.default_rng(1).random(n) for n in (10, 1000))
    (low, high), (lower, upper) = bootstrap_interval(few), bootstrap_interval(many)
    assert low < few.mean() < high and lower < many.mean() < upper
    assert upper - lower == pytest.approx(2 * 1.96 * many.std() / np.sqrt(1000), rel=0.15)  # the normal approximation
    assert high - low > 4 * (upper - lower)
    assert bootstrap_interval(np.full(5, 0.3)) == pytest.approx((0.3, 0.3))
