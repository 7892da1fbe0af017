import math

import pytest
import torch
from headway.evaluation import BASELINES, Rate, Scores, evaluate, score_table, trained
from headway.evaluation.evaluate import play, summarise
from rich.console import Console
from trainer_tests.envs_tests.conftest import build_spec

CLUTTER = {"world": {"clutter": {"fill": 0.08, "sizeMeters": 8.0}}, "people": 1}
EMPTY = {"world": {"empty": {"sizeMeters": 6.0}}}
SPEC = build_spec(EMPTY, CLUTTER, maxSteps=60, replay=0.5)


def table_of(num_envs, rank=0, world=1, threads=1, levels=30):
    return play(BASELINES["go-straight"](), SPEC, 1, "test", levels, num_envs, rank, world, threads)


@pytest.mark.parametrize("num_envs", [1, 7, 64])
def test_every_level_is_played_once_with_the_same_result_for_any_number_of_environments(num_envs):
    table = table_of(num_envs)
    assert (table[:, 0] == 1).all()
    assert torch.equal(table, table_of(16))


def test_ranks_share_the_levels_without_overlap():
    parts = [table_of(4, rank, 3) for rank in range(3)]
    assert torch.equal(sum(part[:, 0] for part in parts), torch.ones(30, dtype=torch.float64))
    assert torch.equal(sum(parts), table_of(16))


def test_threads_change_nothing():
    assert torch.equal(table_of(8, threads=2), table_of(8))


def test_splits_differ():
    scores = [evaluate(BASELINES["go-straight"](), SPEC, 1, split, 30) for split in ("validation", "test")]
    assert scores[0] != scores[1]


def test_replays_have_no_place_in_an_evaluation():
    # Stage 1 has a person and clutter; half of all training episodes would be of the empty stage.
    alone = build_spec(EMPTY, CLUTTER, maxSteps=60, replay=0.0)
    table = play(BASELINES["go-straight"](), alone, 1, "test", 30, 16, 0, 1, 1)
    assert torch.equal(table, table_of(16))


def test_scores_by_hand():
    # played, success, collision, seconds, travelled, shortest, reward, judged: two wins, a collision, a time-out.
    rows = [
        [1, 1, 0, 2.0, 4.0, 2.0, 3.0, 1],
        [1, 1, 0, 4.0, 1.0, 2.0, 2.0, 1],
        [1, 0, 1, 1.0, 1.0, 8.7, -2.0, 1],
        [1, 0, 0, 12.0, 0.0, 8.7, 0.0, 1],
    ]
    scores = summarise(torch.tensor(rows, dtype=torch.float64))
    assert (scores.success, scores.collision, scores.timeout) == (Rate(2, 4), Rate(1, 4), Rate(1, 4))
    assert scores.mean_seconds == pytest.approx(3.0)
    # Shortest way to the goal's rim 2.0 m: 2 / 4 for the first, 2 / 2 for the second, which cannot be beaten.
    assert scores.spl == pytest.approx((0.5 + 1.0) / 4)
    assert scores.reward == pytest.approx(0.75)


def test_a_level_that_nobody_played_is_an_error():
    with pytest.raises(ValueError, match="exactly once"):
        summarise(torch.zeros((2, 8), dtype=torch.float64))


def test_a_policy_without_success_has_no_mean_time():
    scores = evaluate(lambda env, *_: torch.tensor([[-1.0, 0.0]]).expand(env.num_envs, 2), SPEC, 0, "test", 5)
    assert math.isnan(scores.mean_seconds)
    assert scores.timeout == Rate(5, 5)
    assert scores.to_wire()["meanSeconds"] is None


def test_sums_over_ranks_are_what_is_scored():
    other = play(BASELINES["go-straight"](), SPEC, 1, "test", 30, 8, 1, 2, 1)
    scores = evaluate(
        BASELINES["go-straight"](), SPEC, 1, "test", 30, num_envs=8, world_size=2, sum_over_ranks=lambda t: t + other
    )
    assert scores == evaluate(BASELINES["go-straight"](), SPEC, 1, "test", 30)


def test_a_policy_acts_on_features():
    def to_the_goal(features, begins):  # turn towards the goal's bearing and drive
        return torch.stack([features[:, 2], features[:, 3] * 2], dim=1)

    assert evaluate(trained(to_the_goal), SPEC, 0, "test", 20).success.value > 0.9


def test_progress_is_told_level_by_level():
    finished = []
    evaluate(BASELINES["astar"](), SPEC, 0, "test", 20, num_envs=8, on_finished=finished.append)
    assert sum(finished) == 20
    assert len(finished) > 2


def test_the_table_shows_rates_with_intervals():
    scores = Scores(10, Rate(8, 10), Rate(2, 10), Rate(0, 10), math.nan, 0.7)
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(score_table({"policy": scores}, "ten levels"))
    assert "80.0 (49.0–94.3)" in capture.get()
    assert "0.700" in capture.get()


def test_a_policy_is_told_where_episodes_begin():
    told = []

    def remember(features, begins):
        told.append(begins.clone())
        return torch.tensor([[-1.0, 0.0]]).expand(len(features), 2)  # stands still until the time is up

    play(trained(remember), SPEC, 0, "test", 4, 2, 0, 1, 1)
    assert [k for k, begins in enumerate(told) if begins.any()] == [0, 60]
    assert told[0].all() and told[60].all()
