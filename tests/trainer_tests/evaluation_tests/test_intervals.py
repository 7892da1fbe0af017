import pytest
from headway.evaluation import wilson_interval
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # By hand with z = 1.959964: centre (p + z^2/2n) / (1 + z^2/n), half z sqrt(p q/n + z^2/4n^2) / (1 + z^2/n).
        (8, 10, 0.49016, 0.94332),
        (50, 100, 0.40383, 0.59617),
        (0, 10, 0.0, 0.27753),  # upper end z^2 / (n + z^2) = 3.84146 / 13.84146
        (10, 10, 0.72247, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_intervals_agree_with_the_formula_by_hand(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-5)


def test_more_confidence_is_a_wider_interval():
    # z = 2.575829 at 99 %.
    assert wilson_interval(50, 100, 0.99) == pytest.approx((0.37528, 0.62472), abs=1e-5)


@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match=f"successes {successes} of {trials}"):
        wilson_interval(successes, trials)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_rate_and_stays_a_probability(counts):
    low, high = wilson_interval(*counts)
    assert 0.0 <= low <= counts[0] / counts[1] <= high <= 1.0
