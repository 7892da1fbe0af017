from headway.best import RECORD, WEIGHTS, forget_best
from headway.session import Best


def test_a_farther_stage_beats_a_higher_rate_and_a_rate_does_not_depend_on_the_number_of_levels():
    first, none = Best(stage=0, successes=190, levels=200), Best()
    later, fewer_levels = Best(stage=1, successes=20, levels=200), Best(stage=1, successes=11, levels=100)
    assert none.rank < first.rank < later.rank < fewer_levels.rank


def test_a_run_begun_anew_forgets_the_policy_of_the_one_before(tmp_path):
    for name in (WEIGHTS, RECORD, "metrics.jsonl"):
        (tmp_path / name).touch()
    forget_best(tmp_path)
    forget_best(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
