import errno
import threading

import pytest
import torch
from headway.checkpoint import CheckpointStore, Interval, Retention, Saver, Snapshot, load_tensors, read_manifest
from headway.checkpoint import segments as segments_module
from headway.checkpoint import store as store_module
from headway.checkpoint import writer as writer_module
from headway.checkpoint.interval import best_interval
from headway.checkpoint.lineage import search
from headway.errors import CheckpointError
from headway.parallel import Group
from trainer_tests.checkpoint_tests.making import Numbers, draft, of_two, snapshot, store
from trainer_tests.checkpoint_tests.ranks import together
from trainer_tests.waiting import wait_for


class Gate:
    """Holds every write of a rank's own file until `open` is set, and fails those of which `errors` has one."""

    def __init__(self, monkeypatch):
        self.open, self.errors, self.real = threading.Event(), {}, store_module.write_tensors_hashed
        monkeypatch.setattr(store_module, "write_tensors_hashed", self)

    def __call__(self, path, tensors):
        assert self.open.wait(20)
        found = self.real(path, tensors)
        if (errors := self.errors.get(path.name)) and (error := errors.pop(0)):
            raise error
        return found


@pytest.fixture
def gate(monkeypatch):
    return Gate(monkeypatch)


def full():
    return OSError(errno.ENOSPC, "No space left on device")


def saver(root, keep=99, interval=None):
    found = Saver(store(root, keep=keep), Group(), interval or Interval(60.0))
    found.store.fence(None)
    return found


def boundary(saver, step, due=False, leaving=False, take=None, group=None):
    """What the loop does after an update."""
    busy = (group or saver.group).any(saver.is_busy)[0]
    saver.at_boundary(take or (lambda waits: snapshot(step)), due, leaving, busy)


def idle(saver):
    wait_for(lambda: not saver.is_busy)


def steps(root):
    return sorted(int(path.name[5:14]) for path in root.glob("step-*"))


def test_training_goes_on_while_it_is_written_and_changes_nothing_of_it(tmp_path, gate):
    mine, weight = saver(tmp_path), torch.tensor([1.0])
    boundary(mine, 10, due=True, take=lambda waits: Snapshot.of(draft(10), {"weight": weight}, {}))
    weight.fill_(2.0)  # the next update
    boundary(mine, 20, due=True)
    assert (mine.is_busy, mine.saved, steps(tmp_path)) == (True, None, [])
    gate.open.set()
    idle(mine)
    assert mine.saved is None  # nobody knows of it before a boundary
    boundary(mine, 30)
    assert mine.saved.step == 10
    assert load_tensors(mine.saved.path / "model.safetensors")["weight"].tolist() == [1.0]


def test_a_save_that_is_due_while_one_is_under_way_begins_at_the_boundary_after_it(tmp_path, gate):
    mine = saver(tmp_path)
    boundary(mine, 10, due=True)
    boundary(mine, 20, due=True)
    gate.open.set()
    idle(mine)
    boundary(mine, 30, due=True)
    idle(mine)
    boundary(mine, 40)
    assert (mine.saved.step, steps(tmp_path)) == (30, [10, 30])


def test_who_leaves_waits_for_the_save_under_way_and_saves_the_last_update(tmp_path, gate):
    mine = saver(tmp_path)
    boundary(mine, 10, due=True)
    threading.Timer(0.2, gate.open.set).start()

    def take(waits):
        assert waits and steps(tmp_path) == [10]
        return snapshot(20)

    boundary(mine, 20, leaving=True, take=take)
    assert (mine.saved.step, steps(tmp_path), mine.is_busy) == (20, [10, 20], False)


def test_a_save_at_every_update_is_waited_for(tmp_path, gate):
    mine = saver(tmp_path, interval=Interval(0.0))
    gate.open.set()
    for step in (10, 20):
        assert mine.is_due
        boundary(mine, step, due=True)
        assert mine.saved.step == step


def test_a_full_disk_costs_one_checkpoint_and_the_next_one_is_tried_when_due(tmp_path, gate, caplog):
    mine, history = saver(tmp_path, keep=1), Numbers(64, 3)
    gate.open.set()
    gate.errors["model.safetensors"] = [None, full()]

    def take(step):
        return lambda waits: snapshot(step, backlog=mine.store.segments.cut(history, waits))

    for step in (10, 20):
        history.grow(1)
        boundary(mine, step, due=True, take=take(step))
        idle(mine)
    boundary(mine, 30)
    (line,) = caplog.messages
    assert "a checkpoint could not be saved" in line and f"{tmp_path}: No space left on device (" in line
    assert "free, " in line and " B needed by rank 0): training goes on" in line
    assert (mine.saved.step, steps(tmp_path), list(tmp_path.glob(".step-*"))) == (10, [10], [])
    assert search(tmp_path, "u1", []).manifest.step == 10  # with its segments
    boundary(mine, 40, due=True, take=take(40))
    idle(mine)
    boundary(mine, 50)
    assert (mine.saved.step, steps(tmp_path)) == (40, [40])
    named = {segment.name for segment in read_manifest(mine.saved.path).segments}
    assert {path.name for path in (tmp_path / "segments").iterdir()} == named
    assert search(tmp_path, "u1", []).manifest.step == 40


def test_segments_of_a_save_that_failed_are_deleted_and_written_again(tmp_path, monkeypatch):
    mine, history, real = saver(tmp_path), Numbers(64, 2), segments_module.write_tensors_hashed
    boundary(mine, 10, leaving=True, take=lambda waits: snapshot(10, backlog=mine.store.segments.cut(history)))
    history.grow(3)

    def fills(path, tensors):
        if path.name.startswith("steps-4"):
            path.write_bytes(b"half")
            raise full()
        return real(path, tensors)

    monkeypatch.setattr(segments_module, "write_tensors_hashed", fills)
    boundary(mine, 20, due=True, take=lambda waits: snapshot(20, backlog=mine.store.segments.cut(history)))
    idle(mine)
    boundary(mine, 30)
    assert sorted(path.name[:9] for path in (tmp_path / "segments").iterdir()) == ["steps-0-1", "steps-1-2"]
    monkeypatch.setattr(segments_module, "write_tensors_hashed", real)
    boundary(mine, 40, leaving=True, take=lambda waits: snapshot(40, backlog=mine.store.segments.cut(history)))
    assert search(tmp_path, "u1", []).manifest.step == 40


def test_a_save_that_fails_before_it_writes_deletes_nothing_of_the_one_before(tmp_path, monkeypatch):
    mine, history = saver(tmp_path), Numbers(64, 2)
    boundary(mine, 10, leaving=True, take=lambda waits: snapshot(10, backlog=mine.store.segments.cut(history)))

    def unreadable(root, uid):
        raise OSError(errno.EIO, "Input/output error", str(root / "attempts"))

    with monkeypatch.context() as broken:
        broken.setattr(store_module, "read_fences", unreadable)
        boundary(mine, 20, due=True, take=lambda waits: snapshot(20, backlog=mine.store.segments.cut(history)))
        idle(mine)
        boundary(mine, 30)
    assert search(tmp_path, "u1", []).manifest.step == 10


def test_the_last_save_is_tried_twice(tmp_path, gate, caplog):
    mine = saver(tmp_path)
    gate.open.set()
    gate.errors["rank-0.safetensors"] = [full()]
    boundary(mine, 10, leaving=True)
    assert mine.saved.step == 10 and "the last checkpoint could not be saved" in caplog.text
    gate.errors["rank-0.safetensors"] = [full(), full()]
    with pytest.raises(CheckpointError, match=r"No space left .* make room .* newest checkpoint is .*step-000000010"):
        boundary(mine, 20, leaving=True)
    assert (steps(tmp_path), list(tmp_path.glob(".step-*"))) == ([10], [])


@pytest.mark.parametrize("operation", ["sync_directory", "write"])
def test_a_checkpoint_that_cannot_be_published_leaves_nothing(tmp_path, monkeypatch, operation):
    """The manifest cannot be written, or the names of the root do not last: after the rename."""
    mine, real = saver(tmp_path), getattr(store_module, operation)
    boundary(mine, 10, leaving=True)

    def fails(path, *content):
        if path in (tmp_path, tmp_path / ".step-000000020.a1.partial" / "manifest.json"):
            raise full()
        return real(path, *content)

    monkeypatch.setattr(store_module, operation, fails)
    boundary(mine, 20, due=True)
    idle(mine)
    boundary(mine, 30)
    assert (mine.saved.step, steps(tmp_path), list(tmp_path.glob(".step-*"))) == (10, [10], [])


def test_old_checkpoints_that_cannot_be_deleted_are_a_warning(tmp_path, monkeypatch, caplog):
    mine = saver(tmp_path, keep=1)
    boundary(mine, 10, leaving=True)

    def fails(path):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(store_module, "delete_checkpoint", fails)
    boundary(mine, 20, leaving=True)
    assert mine.saved.step == 20 and "could not be deleted: [Errno 30]" in caplog.text


def test_what_is_wrong_in_the_thread_is_raised_at_the_next_boundary(tmp_path, gate):
    mine = saver(tmp_path)
    gate.open.set()
    gate.errors["rank-0.safetensors"] = [ZeroDivisionError("what")]
    boundary(mine, 10, due=True)
    idle(mine)
    with pytest.raises(ZeroDivisionError, match="what"):
        boundary(mine, 20)


def test_a_superseded_attempt_is_told_at_the_next_boundary(tmp_path):
    mine = saver(tmp_path)
    store(tmp_path, attempt=2).fence(None)
    boundary(mine, 10, due=True)
    idle(mine)
    with pytest.raises(CheckpointError, match="attempt 2 has superseded this one"):
        boundary(mine, 20)


def test_more_rows_than_are_copied_are_read_as_they_are_written_and_training_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(segments_module, "COPIED_AT_MOST", 100)  # of 16 bytes a step
    mine, history = saver(tmp_path), Numbers(64, 7)
    for step, grown, is_live in ((10, 0, True), (20, 6, False)):
        history.grow(grown)
        backlog = mine.store.segments.cut(history)
        assert (backlog.bytes, backlog.is_live) == (112 - 16 * (step == 20), is_live)
        boundary(mine, step, due=True, take=lambda waits, step=step, backlog=backlog: snapshot(step, backlog=backlog))
        assert not (is_live and mine.is_busy)
        history.kept[history.steps - 1].zero_()  # the next update
        idle(mine)
        boundary(mine, step + 1)
        assert search(tmp_path, "u1", []).manifest.step == step
        newest = tmp_path / "segments" / read_manifest(mine.saved.path).segments[-1].name
        assert load_tensors(newest)["number"].tolist() == [[10 * history.steps - 10, 10 * history.steps - 9]]


def test_the_interval_follows_from_what_a_save_has_cost_training(tmp_path, gate, monkeypatch):
    """The clock goes on by a second at each look: 2 s at the boundary where it began, 1 s where its end was seen."""
    mine, now = saver(tmp_path, interval=Interval("auto")), [1000.0]
    monkeypatch.setattr(writer_module.time, "monotonic", lambda: now.append(now[-1] + 1.0) or now[-1])
    gate.open.set()
    mine.at_boundary(lambda waits: snapshot(10), True, False, False)
    mine._job.wait()
    mine.at_boundary(lambda waits: snapshot(20), False, False, False)
    assert mine.interval.seconds == best_interval(3.0, 86400.0)


# --- two ranks ------------------------------------------------------------------------------------------------------


def ranks(root, program):
    """`program(saver)` on two ranks."""
    store(root).fence(None)
    return together(2, lambda group: program(made(root, group)))


def made(root, group):
    return Saver(CheckpointStore(root, "u1", 1, Retention(99), group.rank), group, Interval(60.0))


def at(saver, step, **more):
    boundary(saver, step, take=lambda waits: of_two(step, saver.group.rank), **more)


def test_two_ranks_publish_once_both_have_written_and_know_it_alike(tmp_path, gate):
    gate.open.set()

    def program(saver):
        at(saver, 10, due=True)
        idle(saver)
        saver.group.gather(b"")  # both have written
        at(saver, 20)
        between, due = saver.saved, steps(tmp_path) if saver.is_busy else None
        idle(saver)
        saver.group.gather(b"")
        at(saver, 30)
        return between, due, saver.saved.step

    first, second = ranks(tmp_path, program)
    assert second == (None, None, 10) and (first[0], first[2]) == (None, 10)
    found = search(tmp_path, "u1", [])
    assert sorted(found.manifest.files) == ["model.safetensors", "rank-0.safetensors", "rank-1.safetensors"]
    assert load_tensors(found.directory / "rank-1.safetensors")["rank"] == 1


def test_nothing_is_published_while_a_rank_still_writes(tmp_path, monkeypatch):
    release, real = threading.Event(), store_module.write_tensors_hashed

    def slow(path, tensors):
        assert not path.name.startswith("rank-1") or release.wait(20)
        return real(path, tensors)

    monkeypatch.setattr(store_module, "write_tensors_hashed", slow)

    def program(saver):
        at(saver, 10, due=True)
        if saver.group.is_main:
            idle(saver)  # it has written; rank 1 has not
        for step in (20, 30):
            at(saver, step, due=True)
        before = saver.saved, steps(tmp_path)
        release.set()
        at(saver, 40, leaving=True)
        return before, saver.saved.step

    assert ranks(tmp_path, program) == [((None, []), 40)] * 2
    assert steps(tmp_path) == [10, 40]


def test_a_disk_that_refuses_one_rank_takes_the_checkpoint_from_all(tmp_path, gate, caplog):
    gate.open.set()
    gate.errors["rank-1.safetensors"] = [full()]

    def program(saver):
        history = Numbers(64, 2)

        def take(waits):
            return Snapshot(of_two(10, 0).draft, {}, {}, saver.store.segments.cut(history, waits))

        boundary(saver, 10, due=True, take=take)
        idle(saver)
        saver.group.gather(b"")
        at(saver, 20)
        return saver.saved, saver.is_busy

    assert ranks(tmp_path, program) == [(None, False)] * 2
    assert list(tmp_path.rglob("*rank*")) == []
    (line,) = caplog.messages
    assert "needed by rank 1" in line


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("what"), RuntimeError, "rank 1 could not save: what"),
        (CheckpointError("leave"), CheckpointError, "leave"),
    ],
)
def test_what_is_wrong_on_one_rank_ends_all(tmp_path, gate, error, kind, message):
    gate.open.set()
    gate.errors["rank-1.safetensors"] = [error]

    def program(saver):
        at(saver, 10, due=True)
        at(saver, 20, leaving=True)

    first, second = ranks(tmp_path, program)
    assert second is error
    assert type(first) is kind and str(first) == message
