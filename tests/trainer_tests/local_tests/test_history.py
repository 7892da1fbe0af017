import json

from headway.local.history import StagePassed, read_rows, stage_line, stages_passed
from trainer_tests.curriculum_tests.making import GATE, curriculum

# Steps of 100 at 50 steps/s are 2 s each.
ROWS = [
    {"step": 100, "curriculum/stage": 1.0, "curriculum/gate_success_rate": 0.5, "time/steps_per_s": 50.0},
    {"step": 200, "curriculum/stage": 1.0, "curriculum/gate_success_rate": 0.9, "time/steps_per_s": 50.0},
    {"step": 300, "curriculum/stage": 2.0, "curriculum/gate_success_rate": 0.8, "time/steps_per_s": 100.0},
]
STAGES = ["empty", "sparse"]
FIRST = StagePassed(1, "empty", at_step=200, steps=200, seconds=4.0, success_rate=0.9)


def test_a_stage_is_passed_by_the_last_update_made_in_it():
    assert stages_passed(ROWS, STAGES, all_passed=False) == [FIRST]


def test_the_last_stage_counts_once_the_curriculum_says_so():
    last = StagePassed(2, "sparse", at_step=300, steps=100, seconds=1.0, success_rate=0.8)
    assert stages_passed(ROWS, STAGES, all_passed=True) == [FIRST, last]


def test_a_stage_that_the_run_was_led_back_to_has_to_be_passed_again():
    back = ROWS[1] | {"step": 400}
    assert stages_passed([*ROWS, back], STAGES, all_passed=False) == []
    again = stages_passed([*ROWS, back, ROWS[2] | {"step": 500}], STAGES, all_passed=False)
    assert again == [StagePassed(1, "empty", at_step=400, steps=100, seconds=2.0, success_rate=0.9)]


def test_a_stage_that_was_skipped_was_not_passed():
    rows = [ROWS[0], ROWS[2] | {"curriculum/stage": 3.0}]
    assert [stage.number for stage in stages_passed(rows, ["a", "b", "c"], all_passed=True)] == [1, 3]


def test_a_stage_in_one_line():
    gates, steps = curriculum(GATE, GATE), curriculum(GATE, GATE, schedule={"steps": {"starts": [0, 200]}})
    assert stage_line(FIRST, gates) == "stage 1/2 empty passed with 90 % success: 200 steps, 4s"
    assert stage_line(FIRST, steps) == "stage 1/2 empty ended with 90 % success: 200 steps, 4s"


def test_a_stage_whose_environment_tells_no_success_has_none():
    untold = [{key: value for key, value in row.items() if "success" not in key} for row in ROWS]
    (stage,) = stages_passed(untold, STAGES, all_passed=False)
    assert stage.success_rate is None
    assert stage_line(stage, curriculum(GATE, GATE)) == "stage 1/2 empty passed: 200 steps, 4s"


def test_a_run_without_rows_has_passed_nothing():
    assert stages_passed([], STAGES, all_passed=True) == []


def test_a_torn_last_row_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(ROWS[1])[:20])
    assert read_rows(path) == ROWS[:1]
    assert read_rows(tmp_path / "none") == []
