"""Who goes on from whom in a population, and with which values."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from headway.errors import UserError
from headway.hpo.raytune.explore import Bandit, drawn, fitted, neighbour, perturbed
from headway.hpo.raytune.lineage import (
    FILE,
    Member,
    Part,
    branch_name,
    decide,
    member_after,
    quantiles,
    read,
    schedule,
    write,
)
from headway_api.search_space import Choices, FloatRange, IntRange, Parameter
from hypothesis import given
from hypothesis import strategies as st

RATE = "train.algo.ppo.learningRate"


def member(number: int) -> Member:
    return Member(f"search-{number}", number, {RATE: 0.1 * (number + 1)})


FOUR = {number: member(number) for number in range(4)}


def tenfold(trial: int, parent: int, rng: random.Random) -> dict:
    return {RATE: 10 * FOUR[parent].values[RATE]}


def decided(scores: dict[int, float], generation: int = 1, members: dict[int, Member] = FOUR):
    return decide(members, scores, dict.fromkeys(members, 1000 * generation), generation, 0.25, 7, tenfold)


def test_the_worst_quarter_takes_over_the_best_quarter_and_all_others_go_on() -> None:
    lines = decided({0: 0.5, 1: 0.9, 2: 0.1, 3: 0.6})
    assert [(line.trial, line.parent, line.run, line.root) for line in lines] == [
        (0, 0, "search-0", 0),
        (1, 1, "search-1", 1),
        (2, 1, "search-2-g1", 1),
        (3, 3, "search-3", 3),
    ]
    assert lines[2].old == {RATE: pytest.approx(0.3)}
    assert lines[2].new == {RATE: pytest.approx(2.0)}
    assert lines[0].new == lines[0].old == FOUR[0].values
    assert lines[2].step == 1000


@pytest.mark.parametrize(
    ("scores", "share", "worst", "best"),
    [
        ({0: 0.5}, 0.5, [], []),
        ({0: 0.5, 1: 0.6}, 0.25, [0], [1]),
        ({0: 0.5, 1: 0.5}, 0.25, [1], [0]),  # of equal ones the smaller number is better
        ({0: 3.0, 1: 1.0, 2: 2.0}, 0.5, [1], [0]),  # never more than half
        ({0: 5.0, 1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}, 0.25, [4, 3], [1, 0]),  # two of five: rounded up
        ({0: 1.0, 1: float("-inf")}, 0.25, [1], [0]),  # without the objective's value
    ],
)
def test_quantiles_by_hand(scores: dict, share: float, worst: list, best: list) -> None:
    assert quantiles(scores, share) == (worst, best)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(0.01, 0.5), st.integers(0, 9))
def test_a_decision_is_a_function_of_its_arguments_and_nobody_goes_on_from_the_worst(
    scores: list[float], share: float, seed: int
) -> None:
    members = {number: member(number) for number in range(len(scores))}
    by_trial, steps = dict(enumerate(scores)), dict.fromkeys(members, 5)

    def same(trial: int, parent: int, rng: random.Random) -> dict:
        return {RATE: rng.random()}

    lines = decide(members, by_trial, steps, 1, share, seed, same)
    assert lines == decide(members, by_trial, steps, 1, share, seed, same)
    assert [line.trial for line in lines] == list(members)
    worst, best = quantiles(by_trial, share)
    assert {line.trial for line in lines if line.is_branch} == set(worst)
    assert {line.parent for line in lines if line.is_branch} <= set(best)


def test_a_trials_schedule_leads_back_to_its_first_ancestor() -> None:
    first = decided({0: 0.5, 1: 0.9, 2: 0.1, 3: 0.6})  # 2 goes on from 1
    now = {n: member_after(FOUR[n], n, [first], 2) for n in FOUR}
    assert now[2] == Member("search-2-g1", 1, {RATE: pytest.approx(2.0)}, offset=2, is_branch=True)
    assert now[0] == FOUR[0]
    second = decided({0: 0.1, 1: 0.2, 2: 0.9, 3: 0.3}, 2, now)  # 0 goes on from 2
    assert [(x.trial, x.parent, x.run, x.root) for x in second if x.is_branch] == [(0, 2, "search-0-g2", 1)]
    root, parts = schedule(FOUR, 0, [first, second])
    assert root == 1
    assert parts == [
        Part(0, {RATE: pytest.approx(0.2)}),  # trial 1's
        Part(1000, {RATE: pytest.approx(2.0)}),
        Part(2000, second[0].new),
    ]
    assert schedule(FOUR, 3, [first, second]) == (3, [Part(0, FOUR[3].values)])


def test_names_of_branches_do_not_grow() -> None:
    assert branch_name("search-3", 1) == "search-3-g1"
    assert branch_name("search-3-g1", 12) == "search-3-g12"
    assert branch_name("my-g-3", 1) == "my-g-3-g1"


def test_the_file_is_whole_or_refused(tmp_path: Path) -> None:
    assert read(tmp_path / FILE) == []
    lines = decided({0: 0.5, 1: 0.9, 2: float("-inf"), 3: 0.6})
    write(tmp_path / FILE, [lines])
    assert read(tmp_path / FILE) == [lines]
    assert lines[2].score is None
    with (tmp_path / FILE).open("a") as file:
        file.write('{"generation": 2, "trial"')
    with pytest.raises(UserError, match=r"lineage\.jsonl: line 5: .*restore it"):
        read(tmp_path / FILE)


# --- new values ---------------------------------------------------------------------------------------------------
def test_a_value_is_fitted_to_its_range_and_step_by_hand() -> None:
    assert fitted(FloatRange(low=0.1, high=0.9), 1.2) == 0.9
    assert fitted(FloatRange(low=0.1, high=0.9, step=0.25), 0.9) == pytest.approx(0.85)
    assert fitted(IntRange(low=1, high=8), 3.6) == 4
    assert fitted(IntRange(low=1, high=8, step=3), 8) == 7
    assert isinstance(fitted(IntRange(low=1, high=8), 3.6), int)


DOMAINS = [
    FloatRange(low=1e-4, high=1e-2, log=True),
    FloatRange(low=0.0, high=1.0, step=0.3),
    IntRange(low=1, high=16),
    IntRange(low=2, high=1024, log=True),
    Choices(choices=[0.9, 0.95, 0.99]),
]


@given(st.sampled_from(DOMAINS), st.integers(0, 10**6))
def test_new_values_are_values_of_the_space(domain, seed: int) -> None:
    rng = random.Random(seed)
    value = drawn(domain, rng)
    for _ in range(8):
        if isinstance(domain, Choices):
            assert value in domain.choices
        else:
            assert domain.low <= value <= domain.high
            assert domain.step is None or any(value == pytest.approx(known) for known in domain.values())
        value = neighbour(domain, value, rng)


def test_a_neighbour_is_a_fifth_away_or_the_next_choice() -> None:
    rng = random.Random(0)
    found = {neighbour(FloatRange(low=0, high=10), 5.0, rng) for _ in range(30)}
    assert found == {4.0, 6.0}
    choices = Choices(choices=[1, 2, 3])
    assert {neighbour(choices, 2, rng) for _ in range(30)} == {1, 3}
    assert {neighbour(choices, 3, rng) for _ in range(30)} == {2, 3}


def test_values_are_perturbed_one_by_one_or_drawn_anew() -> None:
    space = [Parameter.model_validate({"path": RATE, "float": {"low": 0.0, "high": 10.0}})]
    near = {perturbed(space, {RATE: 5.0}, 0.0, random.Random(seed))[RATE] for seed in range(30)}
    anywhere = {perturbed(space, {RATE: 5.0}, 1.0, random.Random(seed))[RATE] for seed in range(30)}
    assert near == {4.0, 6.0}
    assert len(anywhere) == 30


def test_pb2_keeps_the_parents_values_at_first_and_then_finds_the_side_where_rewards_grow() -> None:
    pytest.importorskip("ray.tune")
    space = [Parameter.model_validate({"path": RATE, "float": {"low": 0.0, "high": 1.0}})]
    values = {n: {RATE: 0.1 + 0.25 * n} for n in range(4)}
    members = {n: Member(f"search-{n}", n, values[n]) for n in range(4)}
    scores, generations = dict.fromkeys(values, 0.0), []
    first = Bandit(space, [], scores, values, seed=3)
    assert first.explore(0, 3, values[3]) == values[3]
    for generation in range(1, 4):  # rewards grow by the value itself
        lines = decide(members, scores, dict.fromkeys(members, generation), generation, 0.01, 3, lambda *_: {})
        generations.append([line.model_copy(update={"parent": line.trial, "new": line.old}) for line in lines])
        scores = {n: scores[n] + values[n][RATE] for n in values}
    bandit = Bandit(space, generations, scores, values, seed=3)
    chosen = [bandit.explore(trial, 3, values[3])[RATE] for trial in (0, 1)]
    assert all(0.0 <= value <= 1.0 for value in chosen)
    assert max(chosen) > 0.6
    again = Bandit(space, generations, scores, values, seed=3)
    assert [again.explore(trial, 3, values[3])[RATE] for trial in (0, 1)] == chosen
