import pytest
from headway.checkpoint import Retention, read_manifest
from headway.checkpoint.lineage import Position, verify
from headway.checkpoint.retention import kept
from trainer_tests.checkpoint_tests.making import Numbers, save_at, store

LOW, HIGH = [0.0, 0.5, 1.0], [0.0, 0.6, 0.0]


@pytest.mark.parametrize(
    ("name", "rule", "there", "expected"),
    [
        ("nothing there", Retention(3), {}, []),
        ("the newest two", Retention(2), {10: [], 20: [], 30: []}, [20, 30]),
        ("what has no manifest takes no place", Retention(2), {10: [], 20: [], 30: None, 40: None}, [10, 20]),
        ("the best was at 20 or before it", Retention(1), {10: [], 20: LOW, 30: LOW, 40: LOW}, [20, 40]),
        ("a better one takes its place", Retention(1), {20: LOW, 30: LOW, 40: HIGH, 50: HIGH}, [40, 50]),
        ("the newest is the best", Retention(1), {20: LOW, 30: HIGH}, [30]),
        ("the best is not asked for", Retention(1, best=False), {20: LOW, 30: LOW}, [30]),
        ("one at each multiple of 100, or after it", Retention(1, milestone_steps=100),
         {90: [], 100: [], 190: [], 210: [], 280: [], 290: []}, [100, 210, 290]),
        ("one that is the first after several multiples", Retention(1, milestone_steps=100),
         {350: [], 390: [], 400: [], 410: []}, [350, 400, 410]),
        ("none is before the first multiple", Retention(1, milestone_steps=100), {10: [], 20: []}, [20]),
        ("all at once", Retention(1, milestone_steps=100), {100: [], 110: LOW, 120: LOW, 130: LOW}, [100, 110, 130]),
    ],
)  # fmt: skip
def test_retention(name, rule, there, expected):
    positions = [Position(attempt=1, step=step) for step in sorted(there, reverse=True)]
    best = {position: there[position.step] for position in positions if there[position.step] is not None}
    assert sorted(position.step for position in kept(rule, positions, best)) == expected, name


def test_milestones_of_an_older_attempt_stay_with_those_of_the_present_one():
    there = [Position(attempt=2, step=210), Position(attempt=2, step=190), Position(attempt=1, step=120)]
    assert kept(Retention(1, milestone_steps=100), there, {position: [] for position in there}) == {there[0], there[2]}


def test_milestones_and_the_best_stay_with_the_segments_that_they_need(tmp_path):
    where = store(tmp_path, keep=Retention(1, milestone_steps=100))
    where.fence(None)
    history = Numbers(64, 3)  # segments of one step, 64 are held
    for step, best in ((100, []), (150, LOW), (160, LOW), (170, LOW)):
        save_at(where, step, history, best)
        history.grow(30)
    left = sorted(tmp_path.glob("step-*"))
    assert [path.name for path in left] == [f"step-000000{step}.a1" for step in (100, 150, 170)]
    assert all(verify(path) for path in left)
    named = {segment.name for path in left for segment in read_manifest(path).segments}
    assert {path.name for path in (tmp_path / "segments").iterdir()} == named
