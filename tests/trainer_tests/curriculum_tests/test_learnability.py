import numpy as np
import pytest
import torch
from headway.curriculum.learnability import NEARLY_DECIDED, ONE, LevelMemory, Table, admit, score
from headway.parallel import Group
from headway_api.curriculum_spec import Learnability
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.curriculum_tests.making import ends

SPEC = Learnability(levels=16, share=0.5, attempts=4)


def table(*rows):
    """Rows are (episode, index, attempts, successes)."""
    columns = np.array(rows, np.int64)
    return Table(columns[:, :2].copy(), columns[:, 2].copy(), columns[:, 3].copy())


def outcomes(*rows):
    """Rows are (episode, index, slot, success)."""
    return np.array(rows, np.int64).reshape(-1, 4)


def test_weights_are_the_variance_of_laplaces_estimate():
    # 0 attempts: free. 1 of 1: 2/3 * 1/3. 2 of 4: 1/2 * 1/2. 8 of 8: 9/10 * 1/10.
    weights = table((0, 0, 0, 0), (0, 1, 1, 1), (0, 2, 4, 2), (0, 3, 8, 8)).weights()
    assert weights.tolist() == [0, 2 * ONE // 9, ONE // 4, 9 * ONE // 100]


def test_the_weights_of_the_largest_table_fit_31_bits():
    assert 65536 * (ONE // 4) < 2**31


def test_outcomes_count_for_the_level_that_was_played():
    before = table((5, 0, 2, 1), (6, 1, 2, 1), (0, 0, 0, 0))
    played = outcomes((5, 0, 0, 1), (5, 0, 0, 0), (6, 0, 1, 1), (0, 0, 2, 1), (5, 0, 3, 1))
    after = score(before, played, attempts=100)  # slot 1 holds another level by now, slot 2 is free, 3 is not there
    assert after.attempts.tolist() == [4, 2, 0]
    assert after.successes.tolist() == [2, 1, 0]


def test_old_outcomes_fade():
    after = score(table((0, 0, 7, 4), (0, 1, 6, 3)), outcomes((0, 0, 0, 1), (0, 1, 1, 1)), attempts=4)
    assert after.attempts.tolist() == [4, 7]  # 8 is twice 4
    assert after.successes.tolist() == [3, 4]  # 5 of 8 are 2.5 of 4: rounded up


def test_free_places_fill_first_then_those_of_the_least_learnable_decided_levels():
    before = table((1, 0, 6, 6), (2, 0, 6, 3), (0, 0, 0, 0), (3, 0, 7, 7), (4, 0, 3, 3))
    # Learnability: 7/64 (decided), 1/4, free, 8/81 (decided, less learnable), 4/25 (too few attempts to judge).
    for count, gone in ((1, [2]), (2, [2, 3]), (3, [0, 2, 3]), (9, [0, 2, 3])):
        fresh = outcomes(*[(9, k, -1, 1) for k in range(count)])
        after, entered = admit(before, fresh, attempts=4, seed=0)
        assert np.nonzero(after.level[:, 0] == 9)[0].tolist() == gone
        assert entered == len(gone)
        assert after.attempts[gone].tolist() == after.successes[gone].tolist() == [1] * len(gone)
    assert (before.level[:, 0] == 9).sum() == 0  # pure


def test_a_decided_level_is_one_that_is_nearly_always_won_or_lost():
    weights = table((0, 0, 8, 8), (0, 1, 8, 7), (0, 2, 8, 0), (0, 3, 8, 1)).weights()
    assert (weights < NEARLY_DECIDED).tolist() == [True, False, True, False]


@pytest.mark.parametrize("rare", [0, 1])
def test_where_room_is_scarce_the_rarer_outcome_goes_first(rare):
    fresh = outcomes(*[(0, k, -1, rare if k in (3, 8) else 1 - rare) for k in range(10)])
    after, entered = admit(Table.empty(2), fresh, attempts=4, seed=0)
    assert entered == 2
    assert sorted(after.level[:, 1].tolist()) == [3, 8]


def test_among_equals_neither_low_numbers_nor_early_episodes_are_favoured():
    fresh = outcomes(*[(k // 100, k % 100, -1, 1) for k in range(1000)])
    chosen = admit(Table.empty(200), fresh, attempts=4, seed=0)[0].level
    # The mean of 200 of 0…9 without favour: 4.5, standard error 0.2; of 0…99: 49.5 and 2.
    assert abs(chosen[:, 0].mean() - 4.5) < 0.8
    assert abs(chosen[:, 1].mean() - 49.5) < 8
    assert not np.array_equal(chosen, admit(Table.empty(200), fresh, attempts=4, seed=1)[0].level)


def memory(stage=0, spec=SPEC):
    made = LevelMemory(spec, total_envs=6, seed=0)
    made.begin(stage)
    return made


def test_only_episodes_of_the_stage_are_remembered_and_a_new_stage_begins_anew():
    kept = memory(stage=1)
    kept.add(ends([True, True, False], [True] * 3, stage=[0, 1, 1], level=[[7, 0], [8, 1], [9, 2]]))
    figures = kept.learn(Group())
    assert (kept.levels, figures["learnability/entered"]) == (1, 1.0)
    assert kept.table.level[kept.table.attempts > 0].tolist() == [[8, 1]]
    assert kept.mean == pytest.approx(2 / 9, abs=1 / ONE)
    kept.begin(stage=2)
    assert kept.levels == 0


def test_remembered_levels_are_scored_and_never_enter_twice():
    kept = memory()
    kept.add(ends([True], [True], level=[[3, 2]]))
    kept.learn(Group())
    place = int(np.nonzero(kept.table.attempts)[0][0])
    kept.add(ends([True], [False], level=[[3, 2]], slot=[place]))
    figures = kept.learn(Group())
    assert (kept.levels, kept.table.attempts[place], kept.table.successes[place]) == (1, 2, 1)
    assert (figures["learnability/episodes"], figures["learnability/success_rate"]) == (1.0, 0.0)
    assert "learnability/success_rate" not in kept.learn(Group())


step_of_six = st.tuples(
    *[st.lists(kind, min_size=6, max_size=6) for kind in (st.booleans(), st.booleans(), st.integers(-1, 15))]
)


@settings(max_examples=60)
@given(st.lists(st.lists(step_of_six, max_size=6), max_size=4))
def test_any_split_over_ranks_remembers_the_same(updates):
    """Slots are drawn, so they name levels that are there and free places."""
    tables = []
    for ranks in (1, 2, 3):
        size, parts, episode = 6 // ranks, [memory() for _ in range(ranks)], 0
        for steps in updates:
            for ended, success, slot in steps:
                episode += 1
                for rank, part in enumerate(parts):
                    rows = slice(rank * size, (rank + 1) * size)
                    levels = [[episode, i] if slot[i] < 0 else part.table.level[slot[i]].tolist() for i in range(6)]
                    part.add(ends(ended[rows], success[rows], level=levels[rows], slot=slot[rows]))
            messages = [part.tell() for part in parts]
            for part in parts:
                part.take_in(messages)
        tables += [part.get_state() for part in parts]
    assert all(torch.equal(tables[0][k], other[k]) for other in tables[1:] for k in tables[0])


def test_a_memory_goes_on_where_it_was():
    first, second = memory(), memory()
    first.add(ends([True] * 3, [True, False, True]))
    first.learn(Group())
    second.set_state(first.get_state())
    for part in (first, second):
        part.add(ends([True] * 3, [True, False, False], level=[[1, 0], [1, 1], [1, 2]]))
        part.learn(Group())
    assert all(torch.equal(x, second.get_state()[k]) for k, x in first.get_state().items())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("level", lambda x: x[:3], "'level' is missing or of another shape or type"),
        ("attempts", lambda x: x.int(), "'attempts' is missing or of another shape or type"),
        ("attempts", lambda x: x - 1, "a number of attempts that none can have"),
        ("attempts", lambda x: x + 8, "a number of attempts that none can have"),  # they fade at 8
        ("successes", lambda x: x + 2, "more successes than attempts"),
        ("successes", lambda x: x - 2, "more successes than attempts, or fewer than none"),
        ("level", lambda x: x - 1, "a name that no level has"),
        ("level", lambda x: x + 6, "a name that no level has"),  # there are six environments
    ],
)
def test_a_memory_that_no_run_leaves_behind_is_refused(name, change, message):
    good = memory()
    good.add(ends([True] * 3, [True, False, True]))
    good.learn(Group())
    with pytest.raises(ValueError, match=message):
        memory().set_state(good.get_state() | {name: change(good.get_state()[name])})
