"""A process is killed before each operation of a save in turn: of any rank's writer, at the manifest, in retention."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest
from headway.checkpoint import CheckpointStore, Retention, read_manifest
from headway.checkpoint.lineage import search
from trainer_tests.checkpoint_tests.making import Numbers, of_two, snapshot, store

MOMENTS = 32

# With one rank the writer's thread is killed, with two ("10") rank 1 has written before rank 0 begins.
KILLED_AT = """
import os, signal, sys
from pathlib import Path
from trainer_tests.checkpoint_tests.test_kills import save_one_rank, save_two_ranks
root, moment, order = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
count = 0
def maybe_die(event, arguments):
    global count
    if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return  # a kill before something is read is one after what was written last
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "sync") and str(root) in str(arguments[0]):
        count += 1
        if count == moment:
            print("before", event, Path(arguments[0]).relative_to(root), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
# What a process has written outlives its kill without being synced: only the moment counts.
os.fsync = lambda descriptor: maybe_die("sync", [os.readlink(f"/proc/self/fd/{descriptor}")])
sys.addaudithook(maybe_die)
save_one_rank(root, 20) if order == "one" else save_two_ranks(root, 20, [int(rank) for rank in order])
"""

FORKED = """
import os, sys
import trainer_tests.checkpoint_tests.test_kills
script, order, roots = sys.argv[1], sys.argv[2], sys.argv[3:]
for moment, root in enumerate(roots, 1):
    pid = os.fork()
    if pid == 0:
        sys.argv = ["x", root, str(moment), order]
        exec(compile(script, "killed", "exec"), {"__name__": "killed"})
        os._exit(0)
    print("code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def save_one_rank(root, step, attempt=1):
    """By the thread, as training does; the replay has one row more than at the step before."""
    from headway.checkpoint import Interval, Saver
    from headway.parallel import Group

    where = store(root, attempt, keep=1)
    if found := search(root, "u1", []):
        where.segments.accept(found.manifest.segments, 64)
    saver = Saver(where, Group(), Interval(60.0))
    saver.finish(lambda waits: snapshot(step, attempt, backlog=where.segments.cut(Numbers(64, step // 10 + 3))))


def save_two_ranks(root, step, order, attempt=1):
    """Each rank's part one after the other, then rank 0 publishes."""
    written = {}
    for rank in order:
        where = CheckpointStore(root, "u1", attempt, Retention(1), rank)
        if found := search(root, "u1", []):
            where.segments.accept(found.manifest.segments, 64)
        taken = of_two(step, rank, attempt, where.segments.cut(Numbers(64, step // 10 + 3)))
        written[rank] = where.write(taken)
    store(root, attempt, keep=1).publish(taken.draft, [written[0], written[1]])


def killed(roots, order):
    """Save at 20 in a process for each root, killed before its 1st, 2nd, ... operation; what was before each kill."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORKED), KILLED_AT, order, *map(str, roots)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    codes = [int(code) for code in re.findall(r"^code (-?\d+)$", run.stdout, re.M)]
    moments = re.findall(r"^before (.*)$", run.stdout, re.M)
    assert codes == [-signal.SIGKILL] * len(moments) + [0] * (len(roots) - len(moments)), run.stdout + run.stderr
    assert len(moments) < len(roots)  # the save has an end
    return moments


@pytest.mark.slow
@pytest.mark.parametrize("order", ["one", "10"])
def test_a_kill_before_any_operation_leaves_a_whole_checkpoint_and_the_next_attempt_goes_on(
    tmp_path, monkeypatch, order
):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    roots = [tmp_path / str(moment) for moment in range(MOMENTS)]
    for root in roots:
        store(root).fence(None)
        save_one_rank(root, 10) if order == "one" else save_two_ranks(root, 10, [0, 1])
    moments = killed(roots, order)
    for part in (
        "os.mkdir .step-000000020.a1.partial", "sync .step-000000020.a1.partial/rank-0.safetensors",
        "open .step-000000020.a1.partial/model.safetensors", "sync segments/steps-4-5.a1.rank-0.safetensors",
        "open .step-000000020.a1.partial/manifest.json", "os.rename .step-000000020.a1.partial",
        "os.remove step-000000010.a1/manifest.json", "os.rmdir step-000000010.a1",
        *(() if order == "one" else ("open .step-000000020.a1.partial/rank-1.safetensors",)),
    ):  # fmt: skip
        assert any(moment.startswith(part) for moment in moments), (part, moments)
    steps = []
    for root in roots:
        found = search(root, "u1", [])
        assert found is not None, root
        steps.append(found.manifest.step)
        store(root, attempt=2).fence(found.directory)
        save_one_rank(root, 30, attempt=2) if order == "one" else save_two_ranks(root, 30, [0, 1], attempt=2)
        assert search(root, "u1", []).manifest.step == 30
        assert sorted(p.name for p in root.iterdir()) == ["attempts", "segments", "step-000000030.a2"]
        named = {segment.name for segment in read_manifest(root / "step-000000030.a2").segments}
        assert {path.name for path in (root / "segments").iterdir()} == named
    assert steps == sorted(steps) and {10, 20} == set(steps)  # old before the rename, new after it
