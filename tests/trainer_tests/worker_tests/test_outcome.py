import json
import os
import signal

import pytest
from headway.launch.outcome import AGENT_GRACE_S, Outcome, of_failed_ranks, of_finished_ranks
from headway.launch.record import Notes, Record
from hypothesis import example, given
from hypothesis import strategies as st

NOW = 1000.0


def done(rank):
    return Record(rank, "done", 0, NOW, step=7, checkpoint="/c/step-7")


def stopped(rank):
    return Record(rank, "stopped", 0, NOW, step=7, checkpoint="/c/step-7")


def pruned(rank):
    return Record(rank, "pruned", 0, NOW, step=7, checkpoint="/c/step-7")


def failed(rank, at, error, code=1):
    return Record(rank, "failed", code, at, error=error)


@pytest.mark.parametrize(
    ("records", "outcome", "code"),
    [
        ([done(0), done(1)], "done", 0),
        ([done(0), stopped(1)], "stopped", 75),
        ([stopped(0), stopped(1)], "stopped", 75),
        ([pruned(0), pruned(1)], "pruned", 0),
        ([pruned(0), stopped(1)], "stopped", 75),  # started again, it ends at once: the checkpoint says that it is over
        ([done(0)], "failed", 1),
        ([], "failed", 1),
    ],
)
def test_a_node_is_done_only_if_each_of_its_ranks_is(records, outcome, code):
    result = of_finished_ranks(records, range(2))
    assert (result.outcome, result.exit_code) == (outcome, code)


def witness(rank, at, error, lost, hung=False):
    return Record(rank, "failed", 1, at, error=error, lost=lost, hung=hung)


SILENT = "rank 1 (node 0) has given no sign of life for 60 s: given up (collect, update 12)"
CLOSED = "RuntimeError: Connection closed by peer"
OLD = NOW - AGENT_GRACE_S - 1
FAILURES = {
    "the earliest error is the cause": (
        [failed(0, NOW - 1, CLOSED), failed(1, NOW - 2, "ValueError: nan")],
        {0: 1, 1: 1},
        (1, "rank 1: ValueError: nan"),
    ),
    "a rank killed without a word comes before the errors that follow": (
        [failed(0, NOW - 1, CLOSED)],
        {0: 1, 1: -signal.SIGKILL},
        (137, "rank 1: killed by SIGKILL (often: out of memory)"),
    ),
    "a kill long after an error was the agent's own": (
        [failed(0, OLD, "ValueError: nan")],
        {0: 1, 1: -signal.SIGKILL},
        (1, "rank 0: ValueError: nan"),
    ),
    "SIGTERM is the agent's, and no cause": (
        [failed(0, NOW - 1, "ValueError: nan")],
        {0: 1, 1: -signal.SIGTERM},
        (1, "rank 0: ValueError: nan"),
    ),
    "a rank that hung is named by those who gave it up, and not as killed": (
        [witness(0, NOW - 2, SILENT, [1], hung=True), witness(2, NOW - 1, SILENT, [1], hung=True)],
        {0: 1, 1: -signal.SIGKILL, 2: 1},
        (1, SILENT),
    ),
    "so is one on another node": ([witness(0, NOW - 2, SILENT, [1], hung=True)], {0: 1}, (1, SILENT)),
    "a killed rank says more by its signal than those who found it gone": (
        [witness(0, NOW - 1, "rank 1 (node 0) is gone", [1])],
        {0: 1, 1: -signal.SIGKILL},
        (137, "rank 1: killed by SIGKILL (often: out of memory)"),
    ),
    "a rank's own error counts before the word of a witness, whoever wrote first": (
        [witness(0, NOW - 2, "rank 1 (node 0) is gone", [1]), failed(1, NOW - 1, "ValueError: nan")],
        {0: 1, 1: 1},
        (1, "rank 1: ValueError: nan"),
    ),
    "a rank that was given up and went on is no cause by its own words": (
        [witness(0, NOW - 2, SILENT, [1], hung=True), witness(1, NOW - 1, "node 0 is gone", [])],
        {0: 1, 1: 1},
        (1, SILENT),
    ),
    "SIGTERM alone is named": ([], {0: -signal.SIGTERM}, (143, "rank 0: killed by SIGTERM")),
    "a rank that left without a note comes before the errors that follow": (
        [failed(0, NOW - 1, CLOSED)],
        {0: 1, 1: 74},
        (74, "rank 1: no sign of life within stallSeconds; its stacks are in the log"),
    ),
    "bad input is not the rank's affair": (
        [failed(1, NOW - 1, "train.numEnvs: 5: choose 6", code=2)],
        {1: 2},
        (2, "train.numEnvs: 5: choose 6"),
    ),
    "an exit code without a note stays": ([], {0: 9}, (9, "rank 0: left with exit code 9")),
    "the watchdog's code is explained": (
        [],
        {0: 74},
        (74, "rank 0: no sign of life within stallSeconds; its stacks are in the log"),
    ),
}


@pytest.mark.parametrize(("records", "codes", "expected"), FAILURES.values(), ids=FAILURES.keys())
def test_which_rank_is_named_as_the_cause(records, codes, expected):
    result = of_failed_ranks(records, codes, NOW)
    assert (result.exit_code, result.error) == expected


def test_a_rank_that_saved_and_left_is_no_failure():
    assert of_failed_ranks([], {0: 75}, NOW) == Outcome("stopped", 75)


@given(st.text(max_size=6000))
@example("é\n" * 3000)
def test_the_message_is_json_below_4096_bytes_and_keeps_the_beginning_of_the_error(error):
    message = Outcome("failed", 1, error=error).message()
    kept = json.loads(message)["error"]
    assert len(message.encode()) < 4096
    assert kept == error or error.startswith(kept.removesuffix("…"))


def test_the_exit_code_is_no_part_of_the_message():
    assert json.loads(Outcome("done", 0, 7, "/c").message()) == {
        "outcome": "done",
        "step": 7,
        "checkpoint": "/c",
        "error": "",
    }


def test_notes_come_back_by_rank(tmp_path):
    notes = Notes(tmp_path)
    for rank in (10, 2):
        notes.leave(done(rank))
    notes.leave(witness(3, NOW, SILENT, [1], hung=True))
    assert notes.records() == [done(2), witness(3, NOW, SILENT, [1], hung=True), done(10)]


def test_a_rank_that_has_started_is_known_by_its_process(tmp_path):
    notes = Notes(tmp_path)
    assert notes.pid(3) is None and not notes.any_begun()
    notes.begin(3)
    assert notes.pid(3) == os.getpid() and notes.any_begun()
    assert notes.records() == []


def test_a_request_to_stop_is_seen_by_a_rank_that_starts_after_it(tmp_path):
    Notes(tmp_path).ask_to_stop()
    assert Notes(tmp_path).asked_to_stop()
