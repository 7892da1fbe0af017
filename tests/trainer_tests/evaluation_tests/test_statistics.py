import numpy as np
import pytest
from headway.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    with_interval,
    worst_levels_mean,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rliable import library, metrics

# Few different values, so that ties are common.
values = st.integers(0, 12).map(lambda k: k / 8)
matrices = arrays.arrays(np.float64, st.tuples(st.integers(1, 9), st.just(3)), elements=values)


def test_the_interquartile_mean_cuts_a_quarter_off_either_end():
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 700]) == 3.5  # 2, 3, 4, 5
    assert interquartile_mean([-900, 1, 2, 3, 700]) == 2.0  # of five, one at either end
    assert interquartile_mean([1.0, 2.0, 3.0]) == 2.0  # of three, none
    assert interquartile_mean([[0, 4], [2, 5], [1, 3], [700, 6]]) == 3.5  # runs and tasks together


def test_the_optimality_gap_takes_no_credit_for_more_than_the_target():
    assert optimality_gap([0.5, 2.0]) == 0.25
    assert optimality_gap([0.5, 2.0], target=2.0) == 0.75


def test_the_probability_of_improvement_counts_pairs_and_halves_ties():
    # 1 beats 0; 1 ties with 1; 3 beats both: 3.5 of 4 pairs.
    assert probability_of_improvement([1, 3], [0, 1]) == 0.875
    assert probability_of_improvement([[1, 0], [3, 0]], [[0, 5], [1, 5]]) == 0.4375  # the second task is lost
    with pytest.raises(ValueError, match="2 tasks cannot be compared with 1"):
        probability_of_improvement([[1, 2]], [1])


def test_a_performance_profile_is_the_share_above_each_threshold():
    assert performance_profile([[0.2, 0.4], [0.6, 0.8]], [0.0, 0.4, 0.9]).tolist() == [1.0, 0.5, 0.0]


def test_the_worst_levels_are_chosen_by_one_evaluation_and_scored_by_another():
    choosing = [0.9, 0.1, 0.8, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    scoring = [0.0, 0.6, 0.0, 0.4, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert worst_levels_mean(choosing, scoring, 0.2) == 0.5  # levels 1 and 3; by its own worst it would be 0
    assert worst_levels_mean(choosing, scoring, 1.0) == 0.7
    assert worst_levels_mean(choosing, scoring, 0.01) == 0.6  # at least one level


def test_levels_that_tie_at_the_edge_count_alike():
    # Level 0 is chosen, and one of the three at 0.5, whose mean is 0.4.
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        choosing, scoring = np.array([0.0, 0.5, 0.5, 0.5])[order], np.array([0.2, 0.0, 0.3, 0.9])[order]
        assert worst_levels_mean(choosing, scoring, 0.5) == pytest.approx(0.3)


@pytest.mark.parametrize("bad", [[], [[]], [np.nan], np.zeros((2, 2, 2))])
def test_what_is_no_matrix_of_numbers_is_refused(bad):
    with pytest.raises(ValueError, match="runs by tasks"):
        interquartile_mean(bad)


@pytest.mark.parametrize(
    ("choosing", "scoring", "share"), [([1.0], [1.0, 2.0], 0.1), ([], [], 0.1), ([1.0], [1.0], 0.0), ([1.0], [1.0], 2)]
)
def test_levels_that_cannot_be_scored_are_refused(choosing, scoring, share):
    with pytest.raises(ValueError, match=r"one number a level|must lie above 0"):
        worst_levels_mean(choosing, scoring, share)


def test_a_bootstrap_interval_of_one_outcome_is_that_outcome_and_a_seed_repeats_it():
    assert bootstrap_interval(interquartile_mean, [[0.7], [0.7]]) == (0.7, 0.7)
    scores = np.linspace(0, 1, 8)
    assert bootstrap_interval(interquartile_mean, scores) == bootstrap_interval(interquartile_mean, scores)
    assert bootstrap_interval(interquartile_mean, scores) != bootstrap_interval(interquartile_mean, scores, seed=1)


def test_the_bootstrap_draws_runs_within_their_task():
    apart = np.array([[0.0, 100.0], [1.0, 101.0]])  # drawn over tasks, a column mean could be far from its task
    low, high = bootstrap_interval(lambda m: float(m[:, 1].mean()), apart, resamples=200)
    assert 100.0 <= low <= high <= 101.0


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    """400 experiments of 30 runs: 95 % of the intervals should hold the truth, 0; three standard errors are 3.3 %."""
    generator = np.random.default_rng(0)
    held = 0
    for trial in range(400):
        low, high = bootstrap_interval(
            lambda m: float(m.mean()), generator.normal(size=30), resamples=200, seed=trial
        )  # fmt: skip
        held += low <= 0 <= high
    assert 0.90 <= held / 400 <= 0.985


@given(matrices, matrices)
def test_the_published_statistics_agree(scores, baseline):
    assert interquartile_mean(scores) == pytest.approx(metrics.aggregate_iqm(scores), abs=1e-12)
    assert optimality_gap(scores) == pytest.approx(metrics.aggregate_optimality_gap(scores), abs=1e-12)
    theirs = metrics.probability_of_improvement(scores, baseline)
    assert probability_of_improvement(scores, baseline) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:random_state is deprecated:FutureWarning")  # rliable's own call of arch
def test_the_published_intervals_and_profiles_agree():
    generator = np.random.default_rng(1)
    scores, baseline = generator.normal(0.7, 0.1, (10, 4)), generator.normal(0.65, 0.1, (8, 4))
    known = {"a": scores}
    _, theirs = library.get_interval_estimates(
        known, lambda m: np.array([metrics.aggregate_iqm(m)]), reps=1000, random_state=np.random.RandomState(0)
    )
    ours = bootstrap_interval(interquartile_mean, scores, resamples=1000)
    assert ours == pytest.approx(theirs["a"].ravel(), abs=0.004)  # the intervals are 0.05 wide
    pairs = {"a,b": (scores, baseline)}
    _, theirs = library.get_interval_estimates(
        pairs, metrics.probability_of_improvement, reps=500, random_state=np.random.RandomState(0)
    )
    ours = bootstrap_interval(probability_of_improvement, scores, baseline, resamples=500)
    assert ours == pytest.approx(theirs["a,b"].ravel(), abs=0.03)  # 0.25 wide
    thresholds = np.linspace(0.4, 1.0, 7)
    profile, _ = library.create_performance_profile(known, thresholds, reps=10)
    assert performance_profile(scores, thresholds) == pytest.approx(profile["a"])


def test_a_value_with_its_interval_in_a_table():
    assert with_interval(0.8123, (0.79, 0.834)) == "0.812 (0.790–0.834)"
