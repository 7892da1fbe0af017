import json

import pytest
import torch
from headway.checkpoint import load_history, load_tensors
from headway.checkpoint.lineage import search, verify
from headway.checkpoint.manifest import read_manifest
from headway.checkpoint.segments import SegmentWriter
from trainer_tests.checkpoint_tests import making
from trainer_tests.checkpoint_tests.making import Numbers, draft, store


def empty(length, steps, num_envs=2):
    history = Numbers(length, 0, num_envs)
    history.steps = steps
    return history


def save(root, history, step, attempt=1, writer=None, keep=99):
    where = store(root, attempt, keep=keep)
    where.segments = writer or where.segments
    return making.save(where, {}, {}, draft(step, attempt), history)


def write(writer, history):
    return writer.write(writer.cut(history))


def names(root):
    return sorted(path.name.removesuffix(".safetensors") for path in (root / "segments").iterdir())


def test_a_history_comes_back_as_it_was(tmp_path):
    saved = save(tmp_path, Numbers(128, 200), 1)
    back = empty(128, 200)
    load_history(tmp_path, read_manifest(saved), back, slice(0, 2))
    assert back.kept.keys() == set(range(72, 200))
    assert all(torch.equal(row, back.step(t)) for t, row in back.kept.items())


def test_whole_segments_are_written_once_and_the_newest_grows(tmp_path):
    history, writer = Numbers(128, 3), SegmentWriter(tmp_path, 1, 0)  # whole: 2 steps
    save(tmp_path, history, 1, writer=writer)
    assert names(tmp_path) == ["steps-0-2.a1.rank-0", "steps-2-3.a1.rank-0"]
    before = (tmp_path / "segments" / "steps-0-2.a1.rank-0.safetensors").stat()
    history.grow(2)
    save(tmp_path, history, 2, writer=writer, keep=1)
    assert names(tmp_path) == ["steps-0-2.a1.rank-0", "steps-2-4.a1.rank-0", "steps-4-5.a1.rank-0"]
    after = (tmp_path / "segments" / "steps-0-2.a1.rank-0.safetensors").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_what_has_been_overwritten_is_deleted_when_no_manifest_names_it(tmp_path):
    history, writer = Numbers(64, 10), SegmentWriter(tmp_path, 1, 0)  # whole: 1 step
    save(tmp_path, history, 1, writer=writer, keep=2)
    history.grow(60)  # steps 6 to 69 are there
    save(tmp_path, history, 2, writer=writer, keep=2)
    assert "steps-0-1.a1.rank-0" in names(tmp_path)  # the first checkpoint needs it
    save(tmp_path, history, 3, writer=writer, keep=2)
    assert min(int(name.split("-")[1]) for name in names(tmp_path)) == 6 and len(names(tmp_path)) == 64


def test_a_segment_that_is_partly_overwritten_gives_what_is_left(tmp_path):
    history = Numbers(128, 129)  # segments of two steps; step 0 is gone, steps 1 to 128 are there
    history.kept[0] = history.step(0)
    writer = SegmentWriter(tmp_path, 1, 0)
    history.steps = 128
    save(tmp_path, history, 1, writer=writer)
    history.steps = 129
    saved = save(tmp_path, history, 2, writer=writer)
    assert "steps-0-2.a1.rank-0" in names(tmp_path)
    back = empty(128, 129)
    load_history(tmp_path, read_manifest(saved), back, slice(0, 2))
    assert back.kept.keys() == set(range(1, 129))


def test_a_resumed_attempt_writes_only_what_is_new(tmp_path):
    history = Numbers(128, 5)
    saved = save(tmp_path, history, 1)
    writer = SegmentWriter(tmp_path, 2, 0)
    writer.accept(read_manifest(saved).segments, 128)
    history.grow(2)
    again = save(tmp_path, history, 2, attempt=2, writer=writer)
    written = [segment.name for segment in read_manifest(again).segments]
    assert [name.split(".")[1] for name in written] == ["a1", "a1", "a2", "a2"]
    assert written[2].startswith("steps-4-6.")  # the open one of before is written whole


def test_any_number_of_ranks_takes_its_environments_back(tmp_path):
    manifest = draft(1).model_copy(update={"world_size": 2})
    segments = []
    for rank in (0, 1):
        history = Numbers(64, 6)
        history.kept = {t: row + 100 * rank for t, row in history.kept.items()}
        segments += write(SegmentWriter(tmp_path, 1, rank), history)
    manifest = manifest.model_copy(update={"segments": segments})
    for envs in (slice(0, 4), slice(1, 3)):
        back = empty(64, 6)
        load_history(tmp_path, manifest, back, envs)
        assert torch.equal(back.kept[5], torch.tensor([50, 51, 150, 151])[envs])


def test_a_damaged_or_missing_segment_makes_the_checkpoint_be_passed_over(tmp_path):
    history, writer = Numbers(64, 3), SegmentWriter(tmp_path, 1, 0)
    first = save(tmp_path, history, 1, writer=writer)
    history.grow(1)
    second = save(tmp_path, history, 2, writer=writer)
    newest = tmp_path / "segments" / "steps-3-4.a1.rank-0.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    log: list[str] = []
    found = search(tmp_path, "u1", log)
    assert found is not None and found.directory == first
    assert "steps-3-4.a1.rank-0.safetensors is damaged" in log[-1]
    assert verify(second, with_replay=False).manifest.step == 2  # its policy can still be looked at
    newest.unlink()
    assert search(tmp_path, "u1", log) is not None and "is missing" in log[-1]


def test_a_manifest_with_a_gap_or_another_size_is_refused(tmp_path):
    saved = save(tmp_path, Numbers(64, 6), 1)
    manifest = read_manifest(saved)
    gap = manifest.model_copy(update={"segments": manifest.segments[:2] + manifest.segments[3:]})
    with pytest.raises(ValueError, match="steps 2 to 4 of the replay are not in its segments"):
        load_history(tmp_path, gap, empty(64, 6), slice(0, 2))
    with pytest.raises(ValueError, match="steps 6 to 9 of the replay are not in its segments"):
        load_history(tmp_path, manifest, empty(64, 9), slice(0, 2))
    wrong = manifest.segments[0].model_copy(update={"last": 2})
    with pytest.raises(ValueError, match="another number of rows"):
        load_history(tmp_path, manifest.model_copy(update={"segments": [wrong]}), empty(64, 2), slice(0, 2))


@pytest.mark.parametrize("name", ["../../etc/passwd", "steps-0-1.a1.rank-0.pkl", "steps-0-1.a1.rank-0.safetensors/x"])
def test_a_manifest_cannot_point_outside_its_folder(tmp_path, name):
    saved = save(tmp_path, Numbers(64, 2), 1)
    path = saved / "manifest.json"
    wire = json.loads(path.read_text())
    wire["segments"][0]["name"] = name
    path.write_text(json.dumps(wire))
    with pytest.raises(ValueError, match="segments"):
        read_manifest(saved)


def test_an_older_attempt_deletes_nothing_of_a_newer_one(tmp_path):
    newer = write(SegmentWriter(tmp_path, 2, 0), Numbers(64, 2))  # written, and no manifest names it yet
    save(tmp_path, Numbers(64, 3), 1, attempt=1, keep=1)
    assert {segment.name for segment in newer} <= {path.name for path in (tmp_path / "segments").iterdir()}


def test_a_run_that_begins_anew_sets_segments_aside_with_their_checkpoints(tmp_path):
    saved = save(tmp_path, Numbers(64, 2), 1)
    store(tmp_path, uid="u2").fence(None)
    assert not (tmp_path / "segments").exists()
    assert verify(tmp_path / "set-aside-1" / saved.name).manifest.step == 1


def test_segments_hold_tensors_and_nothing_else(tmp_path):
    save(tmp_path, Numbers(64, 1), 1)
    (path,) = (tmp_path / "segments").iterdir()
    assert load_tensors(path)["number"].tolist() == [[0, 1]]
