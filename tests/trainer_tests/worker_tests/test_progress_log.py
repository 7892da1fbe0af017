import logging

from headway.launch.progress_log import EVERY_S, logged
from trainer_tests.local_tests.test_view import RUN
from trainer_tests.reporter_tests.test_reporter import snapshot


def test_the_log_gets_a_line_now_and_then_and_at_each_new_stage(caplog):
    now, reported = [0.0], []
    report = logged(reported.append, RUN, clock=lambda: now[0])
    second = snapshot().curriculum.model_copy(update={"stage": 2, "stage_name": "sparse"})
    with caplog.at_level(logging.INFO):
        for at, changes in ((0.0, {}), (1.0, {}), (EVERY_S + 1, {}), (EVERY_S + 2, {"curriculum": second})):
            now[0] = at
            report(snapshot(**changes))
    assert len(reported) == 4
    assert [record.message.split("  ")[1] for record in caplog.records] == [
        "stage 1/2 empty",
        "stage 1/2 empty",
        "stage 2/2 sparse",
    ]
