# ruff: noqa: E501 - a row of a table is one line
import pytest
from core_tests.makers import NOW, at, failed, finished, make_run, pod, running, see, started, text
from headway_operator.core import failure_policy
from headway_operator.core.failure_policy import Decision, decide, decide_on_silence, restarts_after

RUN = make_run(running())
STOPPED = '{"outcome": "stopped", "step": 100, "checkpoint": "/c/step-000000100.a1"}'

# what is seen of a gang that ran -> (reason, counted, final), or None
TABLE = [
    ("both run", [pod(0), pod(1)], None),
    ("one is complete and one runs", [finished(0), pod(1)], None),
    ("both are complete", [finished(0), finished(1)], None),
    ("one crashed", [failed(0), pod(1)], ("Crashed", True, False)),
    ("one was killed", [failed(0, exit_code=137), pod(1)], ("Crashed", True, False)),
    ("the input is bad", [failed(0, exit_code=2), pod(1)], ("PermanentError", True, True)),
    ("the input is bad and a peer crashed of it", [failed(0, exit_code=1), failed(1, exit_code=2)], ("PermanentError", True, True)),
    ("out of memory", [failed(0, exit_code=137, reason="OOMKilled"), pod(1)], ("OutOfMemory", True, False)),
    ("its watchdog", [failed(0, exit_code=74), pod(1)], ("Stalled", True, False)),
    ("preempted, still ending", [pod(0, disrupted=True, deleting=at(60)), pod(1)], ("Disrupted", False, False)),
    ("preempted, and the peer crashed of it", [pod(0, disrupted=True), failed(1)], ("Disrupted", False, False)),
    ("evicted", [pod(0, phase="Failed", pod_reason="Evicted"), pod(1)], ("Disrupted", False, False)),
    ("gone", [pod(1)], ("Lost", False, False)),
    ("all gone", [], ("Lost", False, False)),
    ("gone, and the peer crashed of it", [failed(1)], ("Lost", False, False)),
    ("complete and gone, while the other runs", [pod(1)], ("Lost", False, False)),
    ("told to stop by somebody", [failed(0, exit_code=75, message=STOPPED), pod(1)], ("Stopped", False, False)),
    ("exit 0 under SIGTERM", [pod(0, phase="Succeeded", exit_code=0, message=STOPPED), pod(1)], ("Stopped", False, False)),
    ("exit 0 without a word", [pod(0, phase="Succeeded", exit_code=0), pod(1)], ("Incomplete", True, False)),
    ("deleted by somebody, and saving", [pod(0, deleting=at(60)), pod(1)], None),
    ("preempted after it was complete", [finished(0) | {}, pod(1)], None),
]  # fmt: skip


@pytest.mark.parametrize(("what", "pods", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_the_chain(what, pods, expected):
    decision = decide(RUN, see(RUN, *pods), NOW)
    assert (decision and (decision.reason, decision.is_counted, decision.is_final)) == expected


def test_a_pod_that_was_never_made_is_not_lost():
    run = make_run(started())
    assert decide(run, see(run, pod(0)), NOW) is None


PENDING = pod(1, phase="Pending", unschedulable="0/3 nodes are available")
SAID = '{"outcome": "failed", "error": "rank 0: ModuleNotFoundError"}'
BEFORE_THE_GANG_RAN = [
    ("without a word, and the peer is unschedulable", [failed(0), PENDING], ("GangIncomplete", False, False)),
    ("without a word, and the peer is not made", [failed(0)], ("GangIncomplete", False, False)),
    ("without a word, and the peer runs", [failed(0), pod(1)], ("Crashed", True, False)),
    ("with the launcher's word", [failed(0, message=SAID), PENDING], ("Crashed", True, False)),
    ("with a traceback", [failed(0, message="Traceback\nImportError: no x"), PENDING], ("Crashed", True, False)),
    ("the input is bad", [failed(0, exit_code=2), PENDING], ("PermanentError", True, True)),
    ("exit 0 without a word", [pod(0, phase="Succeeded", exit_code=0), PENDING], ("Incomplete", True, False)),
]


@pytest.mark.parametrize(("what", "pods", "expected"), BEFORE_THE_GANG_RAN, ids=[row[0] for row in BEFORE_THE_GANG_RAN])
def test_the_chain_before_the_gang_ran(what, pods, expected):
    run = make_run(started(restarts={"counted": 0, "withoutCheckpoint": 10}))
    decision = decide(run, see(run, *pods), NOW)
    assert (decision.reason, decision.is_counted, decision.is_final) == expected


@pytest.mark.parametrize("ended", [{"exit_code": 75, "message": STOPPED}, {"exit_code": 137}])
def test_a_pod_that_was_deleted_before_the_gang_ran_has_not_failed(ended):
    deleted = failed(0, deleting=at(60), **ended)
    run = make_run(started())
    assert decide(run, see(run, deleted, pod(1)), NOW) is None
    assert decide(RUN, see(RUN, deleted, pod(1)), NOW) is not None
    bad = failed(0, deleting=at(60), exit_code=2)
    assert decide(run, see(run, bad, pod(1)), NOW).is_final


def test_waiting_for_a_peer_is_never_a_lack_of_progress():
    run = make_run(started(restarts={"withoutCheckpoint": 4}))
    seen = see(run, failed(0), PENDING)
    after = restarts_after(run, seen, decide(run, seen, NOW), NOW)
    assert (after.counted, after.uncounted, after.without_checkpoint) == (0, 1, 4)


def test_the_cause_is_told_in_the_trainers_own_words():
    pods = [
        failed(0, finished=at(-60), message="connection reset by peer"),
        failed(1, finished=at(-59), message='{"outcome": "failed", "error": "rank 1: reward is NaN at step 512"}'),
    ]
    decision = decide(RUN, see(RUN, *pods), NOW)
    assert decision.message == "node 1 left with exit code 1: rank 1: reward is NaN at step 512"


def test_the_first_of_a_gang_to_fail_is_not_judged_before_the_others_have_had_time_to_speak():
    one_failed = [failed(0, finished=at(-1)), pod(1)]
    assert decide(RUN, see(RUN, *one_failed), NOW) is None
    assert decide(RUN, see(RUN, *one_failed), at(3)).reason == "Crashed"
    both = [failed(0, finished=at(-1)), failed(1, finished=at(-1))]
    assert decide(RUN, see(RUN, *both), NOW).reason == "Crashed"


def test_a_kubelet_with_a_fast_clock_does_not_hold_up_the_judgement():
    assert decide(RUN, see(RUN, failed(0, finished=at(3600)), pod(1)), NOW).reason == "Crashed"


def restarted(**counts):
    return make_run(running(restarts=counts), failurePolicy={"maxRestarts": 2, "backoffSeconds": 10})


def test_counted_restarts_end_at_max_restarts():
    run = restarted(counted=2)
    decision = decide(run, see(run, failed(0), pod(1)), NOW)
    assert decision.is_final and decision.reason == "MaxRestartsExceeded"
    assert "maxRestarts (2)" in decision.message and "exit code 1" in decision.message


def test_disruptions_do_not_end_at_max_restarts():
    run = restarted(counted=2, withoutCheckpoint=9)
    assert not decide(run, see(run, pod(1)), NOW).is_final


def test_ten_disruptions_without_a_newer_checkpoint_end_the_run():
    run = restarted(withoutCheckpoint=10, checkpointStep=100)
    decision = decide(run, see(run, pod(1)), NOW)
    assert decision.is_final and decision.reason == "NoCheckpointProgress"


def test_a_newer_checkpoint_begins_the_ten_anew():
    progress = {"step": 300, "totalSteps": 4096, "percent": 7, "checkpoint": {"step": 256, "uri": "x", "time": "t"}}
    run = make_run(running(restarts={"withoutCheckpoint": 10, "checkpointStep": 100}, progress=progress))
    assert not decide(run, see(run, pod(1)), NOW).is_final
    after = restarts_after(run, see(run, pod(1)), Decision("Lost", "gone", is_counted=False), NOW)
    assert (after.without_checkpoint, after.checkpoint_step, after.uncounted) == (1, 256, 1)


def test_a_checkpoint_told_of_only_in_a_termination_message_counts():
    run = restarted(withoutCheckpoint=3, checkpointStep=50)
    seen = see(run, failed(0, exit_code=75, message=STOPPED), pod(1))
    assert failure_policy.newest_checkpoint(run, seen) == 100


@pytest.mark.parametrize(("before", "wait"), [(0, 10), (1, 20), (2, 40), (4, 160), (5, 300), (40, 300)])
def test_backoff_doubles_up_to_five_minutes(before, wait):
    run = restarted(withoutCheckpoint=before)
    after = restarts_after(run, see(run), Decision("Crashed", "x"), NOW)
    assert after.not_before == text(at(wait))
    assert after.counted == 1 and after.without_checkpoint == before + 1


def silent(reported=None, began=-10_000, attempt=1):
    progress = {"step": 1, "totalSteps": 2, "percent": 50, "attempt": attempt, "reportedAt": text(at(reported or 0))}
    status = running(attemptStartTime=text(at(began)), **({"progress": progress} if reported is not None else {}))
    return make_run(status, stallSeconds=600)


SILENCES = [
    ("reported within the limit", silent(reported=-1199), -10_000, at(1)),
    ("reported before the limit", silent(reported=-1200), -10_000, "Stalled"),
    ("never reported, began long ago: its network", silent(), -10_000, None),
    ("never reported, began just now", silent(began=-10), -10_000, at(1190)),
    ("silent, but this operator has only just begun to listen", silent(reported=-5000), -10, at(1190)),
    ("a report of an earlier attempt says nothing", silent(reported=-10, attempt=0), -10_000, "Stalled"),
]


@pytest.mark.parametrize(("what", "run", "observing", "expected"), SILENCES, ids=[row[0] for row in SILENCES])
def test_silence(what, run, observing, expected):
    verdict = decide_on_silence(run, at(observing), NOW)
    assert (verdict.reason if isinstance(verdict, Decision) else verdict) == expected


@pytest.mark.parametrize(
    ("run", "observing", "unheard"),
    [
        (silent(began=-1200), -10_000, True),
        (silent(began=-1199), -10_000, False),
        (silent(), -1199, False),
        (silent(reported=-5000), -10_000, False),
        (silent(reported=-5000, attempt=0), -10_000, False),
        (make_run(started()), -10_000, False),
    ],
)
def test_a_run_of_which_no_attempt_was_ever_heard_is_unheard_and_not_stalled(run, observing, unheard):
    assert failure_policy.is_unheard(run, at(observing), NOW) == unheard


def test_a_gang_that_does_not_run_yet_cannot_be_silent():
    assert decide_on_silence(make_run(started()), at(-10_000), NOW) is None
