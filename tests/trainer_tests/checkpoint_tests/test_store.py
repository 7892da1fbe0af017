import pytest
import torch
from headway.checkpoint import fingerprint, load_tensors
from headway.checkpoint.fingerprint import differences
from headway.errors import CheckpointError
from trainer_tests.checkpoint_tests.making import draft, save, store, write


def test_tensors_come_back_as_they_were(tmp_path):
    shared = {"a": torch.arange(6).view(2, 3).t(), "b": torch.tensor(3), "c": torch.zeros(0, 4)}
    saved = save(store(tmp_path), shared, {"flag": torch.tensor([True, False])}, draft(10))
    back = load_tensors(saved / "model.safetensors")
    assert back.keys() == shared.keys()
    assert all(torch.equal(back[name], shared[name]) for name in shared)
    assert load_tensors(saved / "rank-0.safetensors")["flag"].tolist() == [True, False]


def test_views_of_one_buffer_are_saved_apart(tmp_path):
    buffer = torch.arange(4.0)
    saved = save(store(tmp_path), {"a": buffer[:2], "b": buffer[2:]}, {}, draft(10))
    assert load_tensors(saved / "model.safetensors")["b"].tolist() == [2.0, 3.0]


def test_a_file_that_is_no_safetensors_is_one_clear_error(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04garbage that looks like a pickle")
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
        load_tensors(path)


def test_only_the_newest_are_kept_and_half_written_ones_are_cleared(tmp_path):
    store(tmp_path).fence(None)
    (tmp_path / ".step-000000005.a1.partial").mkdir()
    for step in (10, 20, 30):
        write(tmp_path, step, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["attempts", "step-000000020.a1", "step-000000030.a1"]


def test_what_a_newer_attempt_is_writing_is_left_alone(tmp_path):
    store(tmp_path).fence(None)
    for attempt in (1, 2):
        (tmp_path / f".step-000000005.a{attempt}.partial").mkdir()
    write(tmp_path, 10)
    assert [p.name for p in tmp_path.glob(".step-*")] == [".step-000000005.a2.partial"]


def test_an_attempt_that_begins_clears_what_was_left_half_written(tmp_path):
    (tmp_path / ".step-000000005.a3.partial").mkdir(parents=True)
    store(tmp_path).fence(None)  # of another run, or there would be a fence
    assert not list(tmp_path.glob(".step-*"))


def test_retention_never_deletes_the_parent_before_there_are_enough_children(tmp_path):
    store(tmp_path).fence(None)
    parent = write(tmp_path, 10)
    store(tmp_path, attempt=2).fence(parent)
    write(tmp_path, 20, attempt=2, keep=2)
    assert parent.exists()
    write(tmp_path, 30, attempt=2, keep=2)
    assert not parent.exists()


def test_a_rank_whose_file_is_not_visible_is_named_with_the_fix(tmp_path, monkeypatch):
    from headway.checkpoint import store as module

    real = module.write_tensors_hashed

    def elsewhere(path, tensors):
        record = real(path, tensors)
        if path.name.startswith("rank-"):
            path.unlink()  # as if another node's disk had it
        return record

    monkeypatch.setattr(module, "write_tensors_hashed", elsewhere)
    with pytest.raises(CheckpointError, match=r"rank-0\.safetensors of another node .* ReadWriteMany"):
        write(tmp_path, 10)


def test_fingerprints_name_what_differs():
    mine = fingerprint(2)
    assert differences(mine, mine) == []
    assert differences(mine | {"threads": 64}, mine) == [f"threads: 64 -> {mine['threads']}"]
    assert differences(fingerprint(2, micro_batch=64), fingerprint(2, micro_batch=32)) == ["microBatch: 64 -> 32"]


def test_a_checkpoint_from_before_there_were_pieces_had_whole_batches():
    before = {name: value for name, value in fingerprint(1).items() if name != "microBatch"}
    assert differences(before, fingerprint(1)) == []
    assert differences(before, fingerprint(1, micro_batch=8)) == ["microBatch: 0 -> 8"]
