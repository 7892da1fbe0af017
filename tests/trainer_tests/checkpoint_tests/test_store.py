import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from headway.checkpoint import fingerprint, load_tensors
from headway.checkpoint.fingerprint import differences
from headway.checkpoint.lineage import search
from headway.errors import CheckpointError
from trainer_tests.checkpoint_tests.making import draft, store, write


def test_tensors_come_back_as_they_were(tmp_path):
    shared = {"a": torch.arange(6).view(2, 3).t(), "b": torch.tensor(3), "c": torch.zeros(0, 4)}
    saved = store(tmp_path).save(shared, {"flag": torch.tensor([True, False])}, draft(10))
    back = load_tensors(saved.path / "model.safetensors")
    assert back.keys() == shared.keys()
    assert all(torch.equal(back[name], shared[name]) for name in shared)
    assert load_tensors(saved.path / "rank-0.safetensors")["flag"].tolist() == [True, False]


def test_views_of_one_buffer_are_saved_apart(tmp_path):
    buffer = torch.arange(4.0)
    saved = store(tmp_path).save({"a": buffer[:2], "b": buffer[2:]}, {}, draft(10))
    assert load_tensors(saved.path / "model.safetensors")["b"].tolist() == [2.0, 3.0]


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


def test_retention_never_deletes_the_parent_before_there_are_enough_children(tmp_path):
    store(tmp_path).fence(None)
    parent = write(tmp_path, 10)
    store(tmp_path, attempt=2).fence(parent)
    write(tmp_path, 20, attempt=2, keep=2)
    assert parent.exists()
    write(tmp_path, 30, attempt=2, keep=2)
    assert not parent.exists()


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    store(tmp_path).fence(None)
    write(tmp_path, 10)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 20)
    found = search(tmp_path, "u1", [])
    assert found is not None and found.manifest.step == 10


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


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from trainer_tests.checkpoint_tests.making import write
root, moment = Path(sys.argv[1]), int(sys.argv[2])
count = 0
def maybe_die(event, arguments):
    global count
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir") and str(root) in str(arguments[0]):
        count += 1
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(maybe_die)
write(root, 20, keep=1)
print(count)
"""


@pytest.mark.slow
def test_a_kill_at_any_file_operation_leaves_a_whole_checkpoint(tmp_path):
    """One process is killed before each operation in turn; fork from one warm parent keeps it quick."""
    script = textwrap.dedent(KILLED_AT)
    parent = textwrap.dedent(
        """
        import os, sys
        import trainer_tests.checkpoint_tests.making
        script, roots = sys.argv[1], sys.argv[2:]
        for moment, root in enumerate(roots, 1):
            pid = os.fork()
            if pid == 0:
                sys.argv = ["x", root, str(moment)]
                exec(compile(script, "killed", "exec"), {"__name__": "killed"})
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    roots = [tmp_path / str(i) for i in range(30)]
    for root in roots:
        store(root).fence(None)
        write(root, 10)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", parent, script, *map(str, roots)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    codes = [int(line) for line in run.stdout.split() if line.startswith("-") or line == "0"]
    killed = codes.count(-signal.SIGKILL)
    assert 8 <= killed < len(roots), run.stdout + run.stderr  # every moment was reached, and the save has an end
    steps = []
    for root in roots:
        found = search(root, "u1", [])
        assert found is not None, root
        steps.append(found.manifest.step)
    assert steps == sorted(steps) and {10, 20} == set(steps)  # old before the rename, new after it


def test_fingerprints_name_what_differs():
    mine = fingerprint(2)
    assert differences(mine, mine) == []
    assert differences(mine | {"threads": 64}, mine) == [f"threads: 64 -> {mine['threads']}"]
