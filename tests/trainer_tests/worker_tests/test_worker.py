import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from headway import worker
from headway.launch.record import Notes, Record
from headway_api import names
from trainer_tests.waiting import wait_for

pytestmark = pytest.mark.slow


def test_a_gang_that_is_done_leaves_with_0_and_says_where_the_checkpoint_is(launch, tmp_path):
    code, message = launch("done", nproc=2).wait()
    assert code == 0
    assert message == {"outcome": "done", "step": 42, "checkpoint": str(tmp_path / "step-42"), "error": ""}


def test_a_gang_in_which_one_rank_was_stopped_is_not_done(launch):
    code, message = launch("half_done", nproc=2).wait()
    assert (code, message["outcome"]) == (names.EXIT_SAVED_AND_LEFT, "stopped")


def test_sigterm_waits_for_the_save_and_leaves_with_75(launch, tmp_path):
    launcher = launch("until_stopped", nproc=2)
    wait_for(lambda: (tmp_path / "pid-0").exists() and (tmp_path / "pid-1").exists())
    launcher.terminate()
    code, message = launcher.wait()
    assert (code, message["outcome"], message["step"]) == (names.EXIT_SAVED_AND_LEFT, "stopped", 42)
    assert (tmp_path / "saved").exists()


def test_sigterm_before_any_rank_has_started_leaves_at_once(launch):
    launcher = launch("until_stopped", PET_NNODES="2", PET_NODE_RANK="1", PET_MASTER_ADDR="nowhere.invalid")
    time.sleep(3)  # it looks for node 0, in native code
    begun = time.monotonic()
    launcher.terminate()
    code, message = launcher.wait()
    assert (code, message["outcome"]) == (names.EXIT_SAVED_AND_LEFT, "stopped")
    assert time.monotonic() - begun < 5


def test_the_end_of_standard_input_stops_a_launcher_that_was_told_to_heed_it(launch, tmp_path):
    launcher = launch("until_stopped", eof=True)
    wait_for(lambda: (tmp_path / "pid-0").exists())
    launcher.process.stdin.close()
    assert launcher.wait()[0] == names.EXIT_SAVED_AND_LEFT


def test_a_rank_that_raises_ends_the_others_and_names_its_error(launch):
    begun = time.monotonic()
    code, message = launch("rank_1_raises", nproc=2).wait()
    assert code == names.EXIT_ERROR
    assert message["outcome"] == "failed"
    assert message["error"] == "rank 1: RuntimeError: the loss is not finite"
    assert time.monotonic() - begun < 20


def test_the_first_error_is_named_and_not_those_that_follow_from_it(launch):
    assert launch("both_raise", nproc=2).wait()[1]["error"] == "rank 1: RuntimeError: the loss is not finite"


def test_a_killed_rank_ends_the_others_and_its_signal_is_the_exit_code(launch):
    code, message = launch("rank_1_is_killed", nproc=2).wait()
    assert code == 128 + signal.SIGKILL
    assert message["error"] == "rank 1: killed by SIGKILL (often: out of memory)"


@pytest.mark.parametrize(("ranks", "victim"), [(2, 1), (3, 0)])
def test_a_killed_rank_is_named_and_not_those_that_have_lost_it(launch, ranks, victim):
    code, message = launch("votes", nproc=ranks, FAKE_VICTIM=str(victim), FAKE_SIGNAL="SIGKILL").wait()
    assert code == 128 + signal.SIGKILL
    assert message["error"] == f"rank {victim}: killed by SIGKILL (often: out of memory)"


def test_bad_input_leaves_with_2_and_without_a_traceback(launch):
    launcher = launch("bad_checkpoint")
    code, message = launcher.wait()
    assert code == names.EXIT_BAD_INPUT
    assert message["error"] == "checkpoint.resume: ./nowhere: does not exist: give a step-* folder"
    assert "Traceback" not in launcher.output.read_text()


@pytest.mark.parametrize(
    ("behaviour", "code", "outcome"), [("leaves_75", 75, "stopped"), ("stalls", names.EXIT_STALLED, "failed")]
)
def test_the_exit_code_of_a_rank_that_leaves_without_a_note_is_kept(launch, behaviour, code, outcome):
    found, message = launch(behaviour).wait()
    assert (found, message["outcome"]) == (code, outcome)


def test_a_long_error_still_fits_a_termination_message(launch):
    launcher = launch("long_error")
    _, message = launcher.wait()
    assert message["error"].startswith("rank 0: RuntimeError")
    assert len(launcher.log.read_bytes()) < 4096


def test_ranks_share_the_cores_and_know_it_before_torch_starts(launch, tmp_path):
    cores = len(os.sched_getaffinity(0))
    launch("says_threads", nproc=2, OMP_NUM_THREADS="", NUMBA_NUM_THREADS="").wait()
    share = str(max(1, cores // 2))
    assert (tmp_path / "threads").read_text().split() == [share] * 3


def test_ranks_know_when_their_launcher_was_started(launch, tmp_path):
    before = time.time()
    launch("says_when_it_was_launched").wait()
    assert before < float((tmp_path / "launched").read_text()) < time.time()


def test_a_launcher_whose_parent_knows_better_when_it_was_started_passes_that_on(launch, tmp_path):
    launch("says_when_it_was_launched", HEADWAY_LAUNCHED_AT="1234.5").wait()
    assert (tmp_path / "launched").read_text() == "1234.5"


def test_ranks_ignore_ctrl_c(launch):
    assert launch("ignores_sigint").wait()[0] == 0


def test_a_rank_leaves_when_its_launcher_was_killed(launch, tmp_path):
    launcher = launch("until_stopped")
    pid = int(wait_for(lambda: (tmp_path / "pid-0").exists() and (tmp_path / "pid-0").read_text()))
    launcher.process.kill()
    wait_for(lambda: not _alive(pid))


def test_a_missing_variable_is_named(launch):
    launcher = launch("done", HEADWAY_UID="")
    assert launcher.wait() != 0
    assert "HEADWAY_UID: is not set" in launcher.output.read_text()


def test_a_launcher_waits_for_its_peers_as_long_as_the_operator_lets_it(monkeypatch, tmp_path):
    seen = []

    class Launch:
        def __init__(self, config, program):
            seen.append(config)

        def __call__(self, *arguments):
            return {}

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", Launch)
    settings = SimpleNamespace(nnodes=2, nproc=1, uid="u", attempt=1, master_addr="a", master_port=1, node_rank=1)
    gang = worker._Gang(settings, Notes(tmp_path), ["true"])
    gang.run()
    assert gang.error is None and seen[0].rdzv_configs["timeout"] > 90 * 86400


def test_a_rank_that_hangs_is_named_killed_and_ends_the_launcher(launch):
    code, message = launch("votes", nproc=3, FAKE_VICTIM="1", FAKE_SIGNAL="SIGSTOP").wait()
    assert code == names.EXIT_ERROR
    assert message["error"] == "rank 1 (node 0) has given no sign of life for 3 s: given up (votes, update 3)"


def test_a_stopped_rank_that_others_have_given_up_is_killed_and_one_on_another_node_is_let_be(tmp_path):
    hung = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    os.kill(hung.pid, signal.SIGSTOP)
    (tmp_path / "rank-1.started").write_text(str(hung.pid))
    gang = worker._Gang(SimpleNamespace(), Notes(tmp_path), ["true"])
    gang.end_hung_ranks()
    assert not gang.ended
    gang.notes.leave(Record(0, "failed", 1, time.time(), lost=[1, 5], hung=True))
    gang.end_hung_ranks()
    assert hung.wait(30) in (-signal.SIGKILL, -signal.SIGABRT)
    gang.end_hung_ranks()  # its number may be another's by now


@pytest.mark.parametrize(
    ("hung", "words"), [(0, "node 0, which keeps the ranks' store, has not answered"), (1, "rank 1 (node 1) has given")]
)
def test_a_node_that_hangs_is_named_by_the_other_and_ends_once_it_goes_on(launch, tmp_path, hung, words):
    nodes = _two_nodes()
    launchers = [launch("votes", PET_NODE_RANK=str(rank), **nodes) for rank in range(2)]
    wait_for(lambda: all((tmp_path / f"votes-{rank}").exists() for rank in range(2)))
    processes = [launchers[hung].process.pid, *_children(launchers[hung].process.pid)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    code, message = launchers[1 - hung].wait()
    assert code == names.EXIT_ERROR
    assert f"{words} " in message["error"] and "for 3 s: given up (votes, update" in message["error"]
    votes = (tmp_path / f"votes-{hung}").read_text()
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
    code, message = launchers[hung].wait()
    assert (code, message["outcome"]) == (names.EXIT_ERROR, "failed")
    assert int((tmp_path / f"votes-{hung}").read_text()) <= int(votes) + 1  # it may have been about to write that one


def test_two_nodes_find_each_other_even_if_the_first_comes_last(launch, tmp_path):
    nodes = _two_nodes()
    second = launch("meets_the_others", PET_NODE_RANK="1", **nodes)
    time.sleep(3)
    first = launch("meets_the_others", PET_NODE_RANK="0", **nodes)
    wait_for(lambda: (tmp_path / "votes-0").exists() and (tmp_path / "votes-1").exists())
    assert (tmp_path / "votes-0").read_text() == "[True]"
    second.terminate()  # one node is told, and both leave
    assert [node.wait()[0] for node in (first, second)] == [names.EXIT_SAVED_AND_LEFT] * 2


@pytest.mark.parametrize(
    ("nnodes", "records", "expected"),
    [
        (2, [Record(1, "failed", 1, 0.0, lost=[0], hung=True)], True),
        (2, [Record(1, "failed", 1, 0.0, lost=[])], True),  # node 0 and its store are gone
        (2, [Record(1, "failed", 1, 0.0, error="a bug")], False),
        (2, [Record(1, "failed", 1, 0.0, lost=[1])], False),  # a rank of its own
        (2, [Record(1, "done", 0, 0.0)], False),
        (2, [], False),
        (1, [Record(1, "failed", 1, 0.0, lost=[0])], False),
    ],
)
def test_who_is_only_a_witness_of_another_nodes_end(tmp_path, nnodes, records, expected):
    settings = SimpleNamespace(nnodes=nnodes, nproc=1, node_rank=1)
    gang = worker._Gang(settings, Notes(tmp_path), ["true"])
    for record in records:
        gang.notes.leave(record)
    assert gang.is_only_a_witness() == expected


def test_a_witness_says_what_it_saw_and_stays_until_the_cluster_has_had_time_to_see_it_too(launch, tmp_path):
    nodes = _two_nodes() | {"FAKE_WITNESS_S": "60"}
    first, second = (launch("votes", PET_NODE_RANK=rank, **nodes) for rank in ("0", "1"))
    wait_for((tmp_path / "votes-1").exists)
    for pid in (first.process.pid, *_children(first.process.pid)):
        os.kill(pid, signal.SIGKILL)
    wait_for(second.log.exists)
    time.sleep(0.5)
    assert second.process.poll() is None
    second.terminate()
    code, message = second.wait(10)
    assert code == names.EXIT_ERROR and "node 0, which keeps the ranks' store, is gone" in message["error"]


def _two_nodes():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return {"PET_NNODES": "2", "PET_MASTER_ADDR": "localhost", "PET_MASTER_PORT": port}


def _children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()  # the agent's thread has started them
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")")[-1].split()[0] != "Z"
