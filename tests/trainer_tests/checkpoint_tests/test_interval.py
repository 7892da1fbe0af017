import json

import pytest
from headway.checkpoint import Interval
from headway.checkpoint.interval import best_interval, time_between_failures
from headway.checkpoint.lineage import Fence
from trainer_tests.checkpoint_tests.making import store, write


@pytest.mark.parametrize(
    ("name", "cost_s", "between_s", "expected"),
    [
        # Young: sqrt(2 * 0.5 * 86400) = 293.94; Daly adds sqrt(0.5 / 172800) / 3, 0.17 s, less the cost.
        ("a cheap save and a failure a day", 0.5, 86400.0, 293.61),
        # sqrt(2 * 2 * 10000) = 200; times 1 + 0.01 / 3 + 0.0001 / 9 = 200.669; less 2.
        ("two seconds and a failure in three hours", 2.0, 10000.0, 198.67),
        # sqrt(2 * 2 * 100) = 20; times 1 + 0.1 / 3 + 0.01 / 9 = 20.689; less 2.
        ("a failure every 100 s", 2.0, 100.0, 18.69),
        ("a save that takes longer than it goes well: as long as it goes well", 100.0, 40.0, 40.0),
        ("never more often than every 10 s", 0.0001, 86400.0, 10.0),
        ("nor where everything fails at once", 1.0, 0.0, 10.0),
        ("never more seldom than once an hour", 500.0, 86400.0, 3600.0),
    ],
)
def test_the_best_interval_by_hand(name, cost_s, between_s, expected):
    assert best_interval(cost_s, between_s) == pytest.approx(expected, abs=0.01), name


def test_a_failure_a_day_is_assumed_until_one_is_seen():
    assert time_between_failures(0, 1e6) == 86400.0
    assert time_between_failures(4, 7200.0) == 1800.0


def test_a_given_interval_stays(caplog):
    caplog.set_level("INFO")
    given = Interval(60.0)
    given.saved(5.0, 9, 100.0)
    assert (given.seconds, given.is_auto, caplog.messages) == (60.0, False, [])


def test_the_mean_of_the_newest_costs_counts_and_a_change_by_more_than_a_fifth_is_told(caplog):
    caplog.set_level("INFO")
    chosen = Interval("auto")
    assert chosen.seconds == 60.0
    for cost_s in (0.0, 0.5, 1.0):
        chosen.saved(cost_s, 0, 1.0)
    assert chosen.seconds == best_interval(0.5, 86400.0)
    # 10 s, from 60; then 207 s, of a cost of 0.25 s; then 294 s, of 0.5 s.
    assert [line.split(":")[0] for line in caplog.messages] == [
        f"saving every {seconds} s from now on" for seconds in (10, 208, 294)
    ]
    assert "a save delays training by 0.50 s, and a failure comes every 1d00h (assumed)" in caplog.messages[-1]
    chosen.saved(0.6, 0, 1.0)  # 0.525 s in the mean: 301 s
    assert len(caplog.messages) == 3 and chosen.seconds > 300.0
    chosen.saved(0.5, 3, 10800.0)
    assert "a failure comes every 1h00m (3 seen)" in caplog.messages[-1]
    for _ in range(5):
        chosen.saved(2.0, 1, 10000.0)
    assert chosen.seconds == best_interval(2.0, 10000.0)  # older ones are forgotten


def fences(root):
    found = [Fence.model_validate_json(path.read_bytes()) for path in sorted((root / "attempts").iterdir())]
    return [(fence.attempt, fence.failures) for fence in found], {fence.run_began for fence in found}


def test_fences_count_the_attempts_that_ended_without_having_been_asked_to(tmp_path):
    store(tmp_path).fence(None)
    left = write(tmp_path, 10)  # asked to leave
    store(tmp_path, attempt=2).fence(left)  # ends before it saves
    store(tmp_path, attempt=3).fence(left)
    died = write(tmp_path, 20, attempt=3)
    manifest = json.loads((died / "manifest.json").read_text())
    assert manifest["left"] is True
    (died / "manifest.json").write_text(json.dumps(manifest | {"left": False}))  # as a periodic one has it
    store(tmp_path, attempt=4).fence(died)
    known, began = fences(tmp_path)
    assert known == [(1, 0), (2, 0), (3, 1), (4, 2)] and len(began) == 1 and 0.0 not in began
    again = store(tmp_path, attempt=4)
    again.fence(write(tmp_path, 30, attempt=4))  # by hand
    assert again.fenced.failures == 2


def test_what_is_set_aside_is_not_forgotten(tmp_path):
    store(tmp_path).fence(None)  # dies before it saves
    store(tmp_path, attempt=2).fence(None)
    assert fences(tmp_path)[0] == [(2, 1)]
    store(tmp_path, attempt=1, uid="u2").fence(None)
    assert fences(tmp_path)[0] == [(1, 0)]  # another run's failures are its own
