import numpy as np
import pytest
from headway import randomness
from headway.selfplay import league
from headway.selfplay.league import FLOOR, ONE, POINT, PRESENT, RECORD, START, League, draw, enter, expected, score
from hypothesis import given
from hypothesis import strategies as st
from torch import arange, zeros_like


def entered(pool, count):
    found = League.empty(pool)
    for _ in range(count):
        found = enter(found)
    return found


def counted(found, **by_row):
    """Counts [P + 1, 2]; `by_row` are r0=(episodes, wins), present=(episodes, wins)."""
    counts = np.zeros((len(found.rating), 2), np.int64)
    for name, pair in by_row.items():
        counts[-1 if name == "present" else int(name[1:])] = pair
    return counts


def words(count, seed=0):
    index = arange(count)
    first, second = randomness.opponent_draws(seed, index, zeros_like(index))
    return first.numpy(), second.numpy()


def test_the_oldest_leaves_a_full_pool_and_keeps_its_place_until_the_next_enters():
    found = entered(2, 3)  # number 0 has left the pool, and drives on where it drives
    assert found.numbers().tolist() == [0, 1, 2]
    assert found.members().tolist() == [False, True, True]
    assert found.is_there(np.array([PRESENT, 0, 1, 2])).all()
    found = enter(found)
    assert found.numbers().tolist() == [3, 1, 2]
    assert found.members().tolist() == [True, False, True]
    assert found.is_there(np.array([0, 1, 2, 3, PRESENT])).tolist() == [False, True, True, True, True]
    assert found.row(np.array([3, 1, 2, PRESENT])).tolist() == [0, 1, 2, 3]


def test_an_empty_place_is_no_member():
    assert League.empty(3).members().tolist() == [False] * 4
    assert entered(3, 1).members().tolist() == [True, False, False, False]


def test_expectations_are_elos():
    found = entered(2, 1)
    found.rating[:] = [START, START + 400 * POINT, START - 400 * POINT, START + 10**9]
    assert expected(found).tolist() == [500_000, 90_909, 909_091, 0]  # 400 points are odds of ten to one


def test_what_the_learner_gains_the_others_lose_each_by_its_part():
    found = entered(2, 2)
    after = score(found, counted(found, r0=(30, 30), present=(10, 5)))
    # 15 more than the 15 expected, of 40 episodes, times 32 points.
    assert after.learner - START == 12 * POINT
    assert (START - after.rating).tolist() == [12 * POINT, 0, 0, 0]
    assert after.games.tolist() == [30, 0, 0, 10] and after.wins.tolist() == [30, 0, 0, 5]


def test_an_update_counts_as_one_match_at_most_and_few_episodes_as_less():
    found = entered(2, 1)
    assert score(found, counted(found, r0=(10_000, 10_000))).learner - START == 16 * POINT
    assert score(found, counted(found, r0=(1, 1))).learner - START == POINT  # a sixteenth of a match
    assert score(found, counted(found)).learner == START


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=4, max_size=4))
def test_points_are_neither_made_nor_lost(pairs):
    found = entered(2, 3)
    counts = np.array([(max(pair), min(pair)) for pair in pairs], np.int64)
    for _ in range(3):
        after = score(found, counts)
        assert after.learner + after.rating.sum() == found.learner + found.rating.sum()
        assert (after.wins <= after.games).all() and (after.games < 2 * RECORD).all()
        found = after


def test_ratings_settle_where_outcomes_are_what_is_expected():
    found = entered(2, 1)
    for _ in range(1000):
        found = score(found, counted(found, r0=(100, 91)))
    assert (found.learner - found.rating[0]) / POINT == pytest.approx(400, abs=5)


def test_a_policy_that_enters_has_the_rating_of_the_present_one_as_a_partner_and_no_record():
    found = entered(1, 2)
    found = score(found, counted(found, r0=(20, 1), present=(20, 20)))
    assert found.rating[0] > found.rating[-1]
    found = enter(found)
    assert found.rating[0] == found.rating[-1]
    assert found.games[0] == found.wins[0] == 0


def test_a_rating_does_not_rise_without_end_where_nothing_changes():
    """The success rate beside everybody stays nine of ten, however many enter."""
    found, ratings = League.empty(4), []
    for update in range(3000):
        taken = np.concatenate((found.members(), [True]))
        found = score(found, np.where(taken[:, None], np.array([50, 45]), 0))
        found = enter(found) if update % 20 == 0 else found
        ratings.append(found.learner / POINT)
    assert abs(ratings[-1] - ratings[1000]) < 1.0


def test_old_outcomes_fade():
    found = entered(1, 1)
    found.games[0], found.wins[0] = 2 * RECORD - 1, RECORD
    after = score(found, counted(found, r0=(1, 0)))
    assert (after.games[0], after.wins[0]) == (RECORD, RECORD // 2)


def test_those_beside_whom_the_learner_fails_are_met_more_often_and_nobody_never():
    found = entered(3, 3)
    found.games[:3], found.wins[:3] = [18, 8, 200], [17, 0, 200]
    # By Laplace's estimate of failing: 2/20, 9/10, 1/202; the last below the floor. The fourth place is empty.
    assert found.weights("prioritized").tolist() == [ONE // 100, 81 * ONE // 100, FLOOR, 0]
    assert found.weights("uniform").tolist() == [ONE, ONE, ONE, 0]
    assert found.weights("latest").tolist() == [0, 0, ONE, 0]


def test_who_has_left_the_pool_is_met_no_more():
    found = entered(2, 3)
    for opponents in ("uniform", "latest", "prioritized"):
        assert found.weights(opponents)[0] == 0


def test_draws_have_the_shares_that_were_asked_for():
    found = entered(3, 5)  # numbers 2, 3, 4 are the pool
    weights = np.where(found.numbers() == 3, 3 * ONE, found.weights("uniform"))
    drawn = draw(found, weights, 0.25, words(20_000))
    shares = {number: float((drawn == number).mean()) for number in np.unique(drawn).tolist()}
    assert shares.keys() == {PRESENT, 2, 3, 4}
    assert [shares[number] for number in (PRESENT, 2, 3, 4)] == pytest.approx([0.25, 0.15, 0.45, 0.15], abs=0.015)


def test_the_least_and_the_largest_draw_are_still_of_the_pool():
    least, largest = np.array([0]), np.array([2**32 - 1])
    found = entered(3, 2)
    assert draw(found, found.weights("uniform"), 0.0, (largest, largest)).tolist() == [1]
    found = entered(2, 3)  # the first place is of who has left
    assert draw(found, found.weights("uniform"), 0.0, (largest, least)).tolist() == [1]


def test_while_the_pool_is_empty_the_present_policy_is_met():
    found = League.empty(3)
    assert (draw(found, found.weights("prioritized"), 0.0, words(100)) == PRESENT).all()


def test_sums_of_the_largest_pool_stay_inside_63_bits():
    assert 65 * ONE * 2**32 < 2**63
    assert league.K * league.MILLION * 10**8 < 2**63  # a hundred million episodes in an update
