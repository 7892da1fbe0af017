import json
import math
import threading
import time
from pathlib import Path

import pytest
from headway.errors import UserError
from headway.reporter import MAX_METRICS, Reporter, post_to, to_progress, write_to
from headway.run_context import CheckpointRef, ProgressSnapshot
from headway_api import names
from headway_api.progress import CurriculumProgress, EvaluationPoint, ProgressReply, ProgressReport
from trainer_tests.waiting import wait_for


def snapshot(step=1000, update=1, **changes):
    fields = {
        "update": update,
        "step": step,
        "total_steps": 4000,
        "steps_per_second": 50.0,
        "metrics": {"loss/value": 0.5},
        "curriculum": CurriculumProgress(
            stage=1, stage_name="empty", stages=4, success_rate=0.876, episodes_in_stage=10
        ),
        "checkpoint": None,
    }
    return ProgressSnapshot(**{**fields, **changes})


def reporter(server, attempt=1, timeout_s=0.5):
    send = post_to(server.url, server.ca, server.token, timeout_s)
    return Reporter(attempt, send, flush_s=5, first_retry_s=0.05)


# --- the view of the contract -----------------------------------------------------------------------------------


def test_progress_has_percent_eta_and_success_for_people():
    progress = to_progress(snapshot(), attempt=2, number=7)
    # 3000 steps are left at 50 steps/s
    assert (progress.percent, progress.eta_seconds, progress.eta, progress.success) == (25, 60, "1m00s", "88%")
    assert (progress.attempt, progress.number) == (2, 7)


def test_a_passed_curriculum_is_100_percent_whatever_steps_are_left():
    passed = snapshot().curriculum.model_copy(update={"passed": True})
    progress = to_progress(snapshot(curriculum=passed), 1, 1)
    assert (progress.percent, progress.eta_seconds) == (100, 0)
    going_on = to_progress(snapshot(curriculum=passed), 1, 1, ends_with_gates=False)
    assert (going_on.percent, going_on.eta_seconds) == (25, 60)


@pytest.mark.parametrize("speed", [0.0, math.nan, math.inf])
def test_no_speed_means_no_eta(speed):
    assert to_progress(snapshot(steps_per_second=speed), 1, 1).eta_seconds is None


def test_metrics_that_are_not_finite_or_not_nameable_are_dropped():
    metrics = {"a": 1.0, "b": math.nan, "c": -math.inf, "with space": 1.0, "x" * 65: 1.0, "": 1.0}
    assert to_progress(snapshot(metrics=metrics), 1, 1).metrics == {"a": 1.0}


def test_at_most_64_metrics_are_reported():
    metrics = {f"m{i}": float(i) for i in range(100)}
    assert len(to_progress(snapshot(metrics=metrics), 1, 1).metrics) == MAX_METRICS == 64


def test_the_checkpoint_is_named_with_its_time():
    checkpoint = to_progress(snapshot(checkpoint=CheckpointRef(7, Path("/c/step-7"), 0.0)), 1, 1).checkpoint
    assert (checkpoint.step, checkpoint.uri, checkpoint.time) == (7, "/c/step-7", "1970-01-01T00:00:00Z")


# --- over the wire ----------------------------------------------------------------------------------------------


def test_a_report_reaches_the_server_with_the_token(server):
    with reporter(server, attempt=3) as report:
        report(snapshot(step=500))
        wait_for(lambda: server.recorded)
    path, body = server.recorded[0]
    assert path == names.PROGRESS_PATH
    assert ProgressReport.model_validate(body).progress.step == 500
    assert body["attempt"] == 3
    assert server.tokens[0] == "Bearer first"


def test_the_token_is_read_anew_each_time_because_it_rotates(server):
    with reporter(server) as report:
        report(snapshot())
        wait_for(lambda: server.recorded)
        server.token.write_text("second")
        report(snapshot(update=2))
        wait_for(lambda: len(server.recorded) == 2)
    assert server.tokens == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("faults", [[500, 500], [429], [401, 403], ["hang"], ["forget"]])
def test_a_report_is_sent_again_until_it_is_acknowledged(server, faults):
    server.faults = list(faults)
    with reporter(server) as report:
        report(snapshot(step=700))
        wait_for(lambda: server.recorded)
    assert [body["progress"]["step"] for _, body in server.recorded] == [700]
    assert server.requests == len(faults) + 1


def test_a_lost_reply_does_not_record_a_report_twice(server):
    server.faults = ["lose"]
    with reporter(server) as report:
        report(snapshot())
        wait_for(lambda: server.requests == 2)
    assert [body["number"] for _, body in server.recorded] == [1]


def test_only_the_newest_of_many_snapshots_is_sent(server):
    server.next_seconds = 0.5
    with reporter(server) as report:
        report(snapshot(step=1))
        wait_for(lambda: server.recorded)
        for step in range(2, 50):
            report(snapshot(step=step, update=step))
    assert [body["progress"]["step"] for _, body in server.recorded] == [1, 49]


def test_the_answer_that_asks_to_stop_is_remembered(server):
    with reporter(server) as report:
        assert not report(snapshot())
        wait_for(lambda: server.recorded)
        server.stop = True
        wait_for(lambda: report(snapshot(update=2)))
        server.stop = False
        report(snapshot(step=3, update=3))
        wait_for(lambda: server.recorded[-1][1]["progress"]["step"] == 3)
        assert report(snapshot(update=4))


def test_the_newest_evaluations_are_reported():
    found = tuple(EvaluationPoint(index=k, step=k, metrics={}) for k in range(1, 40))
    assert to_progress(snapshot(evaluations=found), 1, 1).evaluations == list(found[-32:])


def test_the_server_sets_the_pace(server):
    server.next_seconds = 0.4
    with reporter(server) as report:
        for update in range(1, 11):
            report(snapshot(update=update))
            time.sleep(0.1)
    assert 3 <= server.requests <= 5


def test_the_end_does_not_wait_for_the_servers_pace(server):
    server.next_seconds = 3600
    begun = time.monotonic()
    with reporter(server) as report:
        report(snapshot(step=1))
        wait_for(lambda: server.recorded)
        report(snapshot(step=2, update=2))
    assert server.recorded[-1][1]["progress"]["step"] == 2
    assert time.monotonic() - begun < 3


def test_the_end_waits_a_bounded_time_for_a_server_that_is_gone(server):
    server.server.shutdown()
    server.server.server_close()
    report = Reporter(1, post_to(server.url, server.ca, server.token, 0.5), flush_s=0.5, first_retry_s=0.05)
    report(snapshot())
    begun = time.monotonic()
    report.close()
    assert time.monotonic() - begun < 1.5


def test_an_attempt_that_resumed_from_before_the_last_report_is_heard_all_the_same(server):
    server.acknowledged = 40  # a killed attempt had come to update 40
    with reporter(server, attempt=2) as report:
        report(snapshot(step=900, update=31))
        wait_for(lambda: server.recorded)
    assert [body["number"] for _, body in server.recorded] == [41]


def test_a_server_of_another_ca_is_told_nothing(server, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    from trainer_tests.reporter_tests.conftest import make_certificate

    make_certificate(other)
    with Reporter(1, post_to(server.url, other / "ca.crt", server.token), flush_s=0.5, first_retry_s=0.1) as report:
        report(snapshot())
    assert server.requests == 0


def test_plain_http_is_refused():
    with pytest.raises(UserError, match="give an https:// URL"):
        post_to("http://operator:8443", Path("ca"), Path("token"))


def test_whatever_the_sender_raises_training_never_sees_it():
    calls = threading.Semaphore(0)

    def broken(report):
        calls.release()
        raise MemoryError("worse than usual")

    with Reporter(1, broken, flush_s=0.2, first_retry_s=0.01) as report:
        report(snapshot())
        assert calls.acquire(timeout=5)
        report(snapshot(update=2))
        assert calls.acquire(timeout=5)


def test_a_call_returns_at_once_even_if_the_server_hangs():
    release = threading.Event()

    def hanging(report):
        release.wait(5)
        return ProgressReply(acknowledged=report.number, next_seconds=1)

    report = Reporter(1, hanging, flush_s=0.1)
    begun = time.monotonic()
    for update in range(1, 100):
        report(snapshot(update=update))
    assert time.monotonic() - begun < 0.2
    release.set()
    report.close()


# --- local runs -------------------------------------------------------------------------------------------------


def test_a_local_run_keeps_the_newest_report_in_a_file(tmp_path):
    with Reporter(1, write_to(tmp_path / "out" / "progress.json")) as report:
        report(snapshot(step=1))
        report(snapshot(step=2, update=2))
    written = ProgressReport.model_validate(json.loads((tmp_path / "out" / "progress.json").read_text()))
    assert written.progress.step == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["progress.json"]
