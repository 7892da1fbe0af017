"""Evaluations numbered from metrics.jsonl, over restarts."""

import json

from headway.rank import with_evaluations
from headway.run_context import ProgressSnapshot
from headway.tracking.evaluations import read_evaluations
from headway_api.progress import CurriculumProgress

WHERE = CurriculumProgress(stage=1, stage_name="a", stages=1, episodes_in_stage=0)


def row(step, success=None):
    found = {} if success is None else {"evaluation/success_rate": success, "evaluation/stage": 1.0}
    return json.dumps({"step": step, "loss/policy": 0.5, **found}) + "\n"


def test_rows_with_an_evaluation_are_numbered_from_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(row(100) + row(200, 0.25) + row(300) + row(400, 0.5) + '{"step": 500, "evaluation/succ')
    found = [(point.index, point.step, point.metrics) for point in read_evaluations(path)]
    assert found == [(1, 200, {"evaluation/success_rate": 0.25}), (2, 400, {"evaluation/success_rate": 0.5})]


def test_a_run_without_metrics_has_no_evaluations(tmp_path):
    assert read_evaluations(tmp_path / "metrics.jsonl") == []


def test_a_resumed_run_reports_those_of_earlier_attempts_and_goes_on_counting(tmp_path):
    path, reported = tmp_path / "metrics.jsonl", []
    path.write_text(row(100, 0.25))  # what is left of an attempt that was killed
    report = with_evaluations(reported.append, path)

    def update(step, success=None):
        with path.open("a") as file:
            file.write(row(step, success))
        metrics = {} if success is None else {"evaluation/success_rate": success}
        report(ProgressSnapshot(1, step, 1000, 1.0, metrics, WHERE, None))

    update(200)
    update(300, 0.5)
    update(400)
    found = [[(point.index, point.step) for point in snapshot.evaluations] for snapshot in reported]
    assert found == [[(1, 100)], [(1, 100), (2, 300)], [(1, 100), (2, 300)]]
    path.write_text(row(100, 0.25) + row(200))  # rolled back
    update(300, 0.75)
    assert [(p.step, p.metrics["evaluation/success_rate"]) for p in reported[-1].evaluations] == [
        (100, 0.25),
        (300, 0.75),
    ]
