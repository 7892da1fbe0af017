import json
import logging

import pytest
from headway import goodput
from headway.checkpoint import read_manifest
from headway.goodput import Entry, Ledger, Parts, carried_over, parse
from headway.train import train
from headway_api.progress import Progress
from trainer_tests.conftest import line_spec
from trainer_tests.test_train import UPDATE, after, ignore, never


class Clock:
    """Two clocks that go together, until the machine sleeps or somebody sets one of them."""

    def __init__(self, at=5000.0):
        self.at, self.awake = at, 50.0

    def run(self, seconds):
        self.at += seconds
        self.awake += seconds

    def wall(self):
        return self.at

    def monotonic(self):
        return self.awake


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / goodput.FILE


def opened(path, clock, attempt=1, launched_at=0.0, uid="u1"):
    return Ledger(path, uid, attempt, launched_at, clock.wall, clock.monotonic)


def spend(ledger, clock, *laps):
    for step, (part, seconds) in enumerate(laps, start=1):
        clock.run(seconds)
        ledger.lap(part, step)


def parts(**seconds):
    return Parts(**seconds).model_dump()


def entry(attempt=1, at=2000.0, uid="u1", **seconds):
    return Entry(uid=uid, attempt=attempt, step=0, at=at, parts=Parts(**seconds))


def test_every_second_since_the_launch_is_booked_as_one_part(path):
    clock = Clock()
    ledger = opened(path, clock, launched_at=4993.0)  # the launcher was started 7 s ago
    spend(ledger, clock, ("start_up", 3.0), ("useful", 80.0), ("waiting", 1.0), ("checkpointing", 4.0), ("useful", 5.0))
    assert ledger.parts.model_dump() == parts(useful=85.0, start_up=10.0, checkpointing=4.0, waiting=1.0)
    assert ledger.parts.total == clock.at - 4993.0
    assert ledger.fraction == 0.85
    assert ledger.metrics() == {
        "time/goodput": 0.85, "time/goodput_useful_s": 85.0, "time/goodput_start_up_s": 10.0,
        "time/goodput_recompute_s": 0.0, "time/goodput_checkpointing_s": 4.0, "time/goodput_waiting_s": 1.0,
    }  # fmt: skip


def test_before_any_time_has_passed_there_is_no_goodput(path):
    ledger = opened(path, Clock())
    assert ledger.fraction == 0.0
    assert ledger.progress().fraction == 0.0


def test_of_a_killed_attempt_what_the_checkpoint_has_not_is_recompute_and_the_time_until_the_next_launch_waiting(path):
    clock = Clock()
    first = opened(path, clock)
    spend(first, clock, ("start_up", 10.0), ("useful", 60.0))
    saved = first.entry().to_wire()
    spend(first, clock, ("checkpointing", 2.0), ("useful", 25.0), ("waiting", 3.0))
    clock.run(0.5)  # killed within an update, which is in no books
    clock.run(30.0)
    second = opened(path, clock, attempt=2, launched_at=clock.at - 8.0)
    second.go_on_from(saved)
    assert second.parts.model_dump() == parts(
        useful=60.0, start_up=10.0 + 8.0, recompute=25.0, checkpointing=2.0, waiting=3.0 + 22.5
    )
    spend(second, clock, ("start_up", 1.0), ("useful", 40.0))
    assert second.parts.model_dump() == parts(
        useful=100.0, start_up=19.0, recompute=25.0, checkpointing=2.0, waiting=25.5
    )
    assert second.parts.total == clock.at - 5000.0


def test_what_several_killed_attempts_have_lost_after_one_checkpoint_adds_up(path):
    clock = Clock()
    first = opened(path, clock)
    spend(first, clock, ("start_up", 5.0), ("useful", 50.0))
    saved = first.entry().to_wire()
    spend(first, clock, ("useful", 10.0))
    for attempt in (2, 3):
        ledger = opened(path, clock, attempt)
        ledger.go_on_from(saved)
        spend(ledger, clock, ("start_up", 5.0), ("useful", 20.0))
    last = opened(path, clock, attempt=4)
    last.go_on_from(saved)
    assert last.parts.model_dump() == parts(useful=50.0, start_up=15.0, recompute=10.0 + 20.0 + 20.0)
    assert last.parts.total == clock.at - 5000.0


def test_a_run_that_dies_before_its_first_checkpoint_has_lost_all_that_it_had_made(path):
    clock = Clock()
    spend(opened(path, clock), clock, ("start_up", 5.0), ("useful", 9.0))
    second = opened(path, clock, attempt=2)
    second.go_on_from({})
    assert second.parts.model_dump() == parts(start_up=5.0, recompute=9.0)


def test_an_attempt_that_dies_before_it_knows_its_checkpoint_is_accounted_for(path):
    clock = Clock()
    first = opened(path, clock)
    spend(first, clock, ("start_up", 5.0), ("useful", 50.0))
    saved = first.entry().to_wire()
    spend(first, clock, ("useful", 10.0))
    clock.run(20.0)
    opened(path, clock, attempt=2, launched_at=clock.at - 4.0)  # reads and writes the file, and dies
    clock.run(6.0)
    third = opened(path, clock, attempt=3)
    third.go_on_from(saved)
    assert third.parts.total == clock.at - 5000.0
    assert third.parts.model_dump() == parts(useful=50.0, start_up=5.0 + 4.0, recompute=10.0, waiting=16.0 + 6.0)


def test_where_the_file_is_lost_the_manifest_goes_on_and_what_came_after_it_is_waiting(path):
    clock = Clock()
    first = opened(path, clock)
    spend(first, clock, ("start_up", 5.0), ("useful", 50.0))
    saved = first.entry().to_wire()
    spend(first, clock, ("useful", 10.0))
    path.unlink()
    clock.run(1.0)
    second = opened(path, clock, attempt=2)
    second.go_on_from(saved)
    assert second.parts.model_dump() == parts(useful=50.0, start_up=5.0, waiting=11.0)


@pytest.mark.parametrize(
    ("name", "newest", "checkpoint", "expected"),
    [
        ("nothing known", None, None, None),
        ("no file", None, entry(useful=5.0), entry(useful=5.0)),
        ("the file is older than the checkpoint", entry(useful=4.0), entry(useful=5.0), entry(useful=5.0)),
        (
            "earlier recompute stays, and saving after the checkpoint stays saving",
            entry(at=2100.0, useful=9.0, recompute=2.0, checkpointing=3.0), entry(useful=5.0, recompute=2.0),
            entry(at=2100.0, useful=5.0, recompute=6.0, checkpointing=3.0),
        ),
        (
            "less useful than what is saved: books of something else",
            entry(useful=1.0, waiting=90.0), entry(useful=5.0), entry(useful=5.0),
        ),
    ],
)  # fmt: skip
def test_what_is_carried_over(name, newest, checkpoint, expected):
    assert carried_over(newest, checkpoint) == expected, name


WIRE = entry(useful=5.0).to_wire()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'{"uid": "u1"}', {},
        WIRE | {"uid": "u2"}, WIRE | {"at": -1.0}, WIRE | {"at": 1e12}, WIRE | {"more": 1},
        WIRE | {"parts": {"useful": -1.0}}, WIRE | {"parts": {"useful": float("nan")}},
        WIRE | {"parts": {"useful": 2000.5}},  # longer than since 1970
    ],
)  # fmt: skip
def test_books_of_another_run_or_that_cannot_be_true_are_left_out(content):
    assert parse(WIRE, "u1") == entry(useful=5.0) == parse(json.dumps(WIRE).encode(), "u1")
    assert parse(content, "u1") is None


def test_a_damaged_file_costs_nothing_but_its_books(path):
    path.parent.mkdir()
    path.write_bytes(b"\x00" * 100)
    ledger = opened(path, Clock())
    ledger.go_on_from({"useful": "x"})
    assert ledger.parts == Parts()
    assert parse(path.read_bytes(), "u1") is not None


def test_time_in_which_the_machine_was_suspended_is_waiting(path):
    clock = Clock()
    ledger = opened(path, clock)
    spend(ledger, clock, ("useful", 10.0))
    clock.at += 3600.0  # the lid is closed within an update
    spend(ledger, clock, ("useful", 10.0))
    assert ledger.parts.model_dump() == parts(useful=20.0, waiting=3600.0)
    assert ledger.parts.total == clock.at - 5000.0


def test_a_clock_that_is_set_back_takes_nothing_away_and_is_told_once(path, caplog):
    caplog.set_level(logging.WARNING)
    clock = Clock()
    ledger = opened(path, clock)
    for _ in range(2):
        spend(ledger, clock, ("useful", 10.0))
        clock.at -= 600.0
        spend(ledger, clock, ("useful", 10.0))
    clock.at += 60.0  # a nap after that counts
    spend(ledger, clock, ("useful", 10.0))
    assert ledger.parts.model_dump() == parts(useful=50.0, waiting=60.0)
    assert [record.message for record in caplog.records] == [
        "the clock has gone back by 600 s: goodput counts that as no time"
    ]


def test_an_attempt_on_a_node_whose_clock_is_behind_has_not_waited(path, caplog):
    clock = Clock()
    spend(opened(path, clock), clock, ("useful", 10.0))
    behind = Clock(at=clock.at - 50.0)
    second = opened(path, behind, attempt=2)
    second.go_on_from({})
    assert second.parts.model_dump() == parts(recompute=10.0)
    assert "the clock has gone back by 50 s" in caplog.text


def test_the_file_is_written_at_most_once_a_second(path):
    clock = Clock()
    ledger = opened(path, clock)
    seen = set()
    for _ in range(50):
        spend(ledger, clock, ("useful", 0.1))
        seen.add(path.read_bytes())
    assert 5 <= len(seen) <= 6
    assert [name.name for name in path.parent.iterdir()] == [goodput.FILE]


def test_a_leftover_of_an_older_attempt_leaves_the_books_of_the_newer_one_alone(path):
    clock = Clock()
    old = opened(path, clock, attempt=1)
    new = opened(path, clock, attempt=2)
    spend(new, clock, ("useful", 5.0))
    before = path.read_bytes()
    spend(old, clock, ("useful", 5.0))
    late = opened(path, clock, attempt=1)
    spend(late, clock, ("useful", 5.0))
    assert path.read_bytes() == before
    assert late.parts.model_dump() == parts(useful=5.0)


def test_a_run_that_begins_anew_in_the_folder_takes_it_over(path):
    clock = Clock()
    old = opened(path, clock, uid="old")
    spend(old, clock, ("useful", 5.0))
    new = opened(path, clock, uid="new")
    spend(old, clock, ("useful", 5.0))  # still there
    assert parse(path.read_bytes(), "new") is not None
    assert new.parts == Parts()


def test_a_folder_that_cannot_be_written_is_told_once_and_training_goes_on(path, caplog):
    path.parent.write_text("a file in the folder's place")
    clock = Clock()
    ledger = opened(path, clock)
    spend(ledger, clock, ("useful", 5.0), ("useful", 5.0))
    assert ledger.parts.useful == 10.0
    assert caplog.text.count("cannot be written") == 1


def test_a_run_that_is_killed_and_goes_on_reports_its_goodput_everywhere(line_env, context):
    """The loop itself, by the real clocks: the parts add up, and the lost updates are told."""
    spec, seen = line_spec(totalSteps=UPDATE * 6), []
    stopped = train(spec, context(), after(2), ignore)
    saved = parse(read_manifest(stopped.checkpoint).goodput, "u1")

    def crash(snapshot):
        if snapshot.step == UPDATE * 4:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(spec, context(attempt=2), never, crash)
    file = context().out / goodput.FILE
    killed = json.loads(file.read_bytes())  # a second old at most: what it would say, had those updates taken 30 s
    killed["parts"]["useful"] = saved.parts.useful + 30.0
    file.write_text(json.dumps(killed))

    result = train(spec, context(attempt=3), never, seen.append)
    rows = [json.loads(line) for line in (context().out / "metrics.jsonl").read_text().splitlines()]
    last = seen[-1].goodput
    assert last.recompute_seconds == 30.0
    assert last.useful_seconds > saved.parts.useful
    assert last.start_up_seconds > 0 and last.checkpointing_seconds > 0
    assert last.fraction == pytest.approx(
        last.useful_seconds
        / (last.useful_seconds + last.start_up_seconds + last.recompute_seconds + last.checkpointing_seconds
           + last.waiting_seconds),
        abs=1e-3,
    )  # fmt: skip
    assert rows[-1]["time/goodput_recompute_s"] == pytest.approx(last.recompute_seconds, abs=1e-3)
    saved = parse(read_manifest(result.checkpoint).goodput, "u1")
    assert saved.attempt == 3 and saved.step == UPDATE * 6
    assert Progress.model_validate(Progress(step=1, total_steps=1, percent=100, goodput=last).to_wire()).goodput == last
