import pytest
import torch
from headway.curriculum import Counts, CurriculumState, RunningCurriculum
from headway.curriculum.running import progress
from headway.parallel import Group
from trainer_tests.conftest import line_spec
from trainer_tests.curriculum_tests.making import GATE, curriculum, ends
from trainer_tests.line_env import LineEnv

STAGES = [
    {"name": name, "levels": {"world": {"empty": {}}}, "gate": {"successRate": 0.6, "episodes": 12, "confidence": 0}}
    for name in ("near", "far")
]
DEMOTION = {"gates": {"demotion": {"successRate": 0.2, "updates": 1}}}
LEARNABILITY = {"levels": 16, "share": 0.5}
LOST = ends([True] * 12, [False] * 12, stage=[1] * 12)


def running(**changes):
    spec = line_spec(curriculum={"stages": STAGES} | changes)
    made = RunningCurriculum(spec, LineEnv(12), Group())
    made.enter_stage()
    return made


def test_a_stage_is_passed_and_lost_and_everybody_hears_of_it(caplog):
    caplog.set_level("INFO", logger="headway")
    course = running(schedule=DEMOTION)
    course.add(ends([True] * 12, [True] * 12))
    metrics = course.advance(step=100)
    assert (metrics["curriculum/stage"], course.stage, course.env.stage) == (1.0, 1, 1)  # the row is of the old stage
    assert course.progress().episodes_in_stage == 0
    course.add(LOST)
    metrics = course.advance(step=200)
    assert (metrics["curriculum/demotions"], course.stage, course.env.stage) == (1.0, 0, 0)
    assert (course.progress().demotions, course.progress().advanced_at) == (1, 200)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "stage 1, near, passed at step 100", "stage 2, far, lost at step 200",
    ]  # fmt: skip


def test_no_success_is_shown_that_the_environment_does_not_tell():
    course = running()
    course.add(ends([True] * 12, [False] * 12))
    assert course.advance(step=1)["curriculum/gate_success_rate"] == 0.0
    course.env.knows_success = False
    assert "curriculum/gate_success_rate" not in course.advance(step=2)


def test_the_environment_hears_of_remembered_levels_after_every_update_and_of_none_in_a_new_stage():
    course = running(learnability=LEARNABILITY)
    course.add(ends([True] * 6 + [False] * 6, [False] * 12))
    course.advance(step=1)
    assert int((course.env.weights > 0).sum()) == 6 and course.env.share == 0.5
    assert course.progress().remembered_levels == 6
    course.add(ends([False] * 6 + [True] * 6, [True] * 12))
    course.add(ends([True] * 12, [True] * 12, level=[[1, i] for i in range(12)]))
    course.advance(step=2)
    assert course.stage == 1
    assert int(course.env.weights.sum()) == 0


def test_without_learnability_the_environment_is_not_asked_to_remember(monkeypatch):
    monkeypatch.delattr(LineEnv, "remember_levels")
    monkeypatch.setattr(LineEnv, "__init__", lambda self, num_envs: setattr(self, "num_envs", num_envs))
    running().advance(step=1)


def test_an_environment_that_tells_no_success_is_warned_of_once_and_shows_none(caplog):
    course = running()
    course.env.knows_success = False
    for step in (1, 2, 3):
        assert not caplog.records or step > 2  # not before the window is full: an environment may find out
        course.add(ends([step > 1] * 12, [False] * 12, level=[[step, i] for i in range(12)]))
        course.advance(step)
    assert [record.message for record in caplog.records] == [
        "train.curriculum.stages[near].gate.successRate: 0.6: this environment tells no success, so the gate never "
        "passes: set it to 0 and set gate.reward"
    ]
    shown = course.progress()
    assert (shown.success_rate, shown.collision_rate, shown.reward) == (None, 0.0, 0.0)


def saved(course):
    return course.record(), course.own_state(), course.shared_state()


def test_a_curriculum_goes_on_where_it_was():
    first = running(schedule=DEMOTION, learnability=LEARNABILITY)
    first.add(ends([True] * 12, [True] * 12))
    first.advance(step=10)
    first.add(ends([True] * 4 + [False] * 8, [False] * 12, stage=[1] * 12))
    first.advance(step=20)
    second = running(schedule=DEMOTION, learnability=LEARNABILITY)
    second.restore(*saved(first))
    assert second.progress() == first.progress()
    assert torch.equal(second.env.weights, first.env.weights) and second.env.stage == 1
    for course in (first, second):
        course.add(LOST)
    assert first.advance(step=30) == second.advance(step=30)
    assert first.state == second.state == CurriculumState(0, demotions=1, advanced_at=30)


@pytest.mark.parametrize(
    ("part", "message"),
    [("record", "in stage 3 of 2"), ("own", "window 'success' is missing"), ("shared", "'level' is missing")],
)
def test_a_curriculum_that_does_not_fit_the_spec_is_refused(part, message):
    record, own, shared = saved(running(learnability=LEARNABILITY))
    if part == "record":
        record = record.model_copy(update={"stage": 2})
    own, shared = {} if part == "own" else own, {} if part == "shared" else shared
    with pytest.raises(ValueError, match=message):
        running(learnability=LEARNABILITY).restore(record, own, shared)


def test_progress_counts_stages_from_one_and_knows_no_rate_without_episodes():
    three = curriculum(GATE, GATE, GATE)
    shown = progress(three, CurriculumState(1, advanced_at=9), Counts(0, 0, 0))
    assert (shown.stage, shown.stage_name, shown.stages, shown.success_rate) == (2, "s1", 3, None)
    assert (shown.collision_rate, shown.reward, shown.learnability) == (None, None, None)
    shown = progress(three, CurriculumState(2, passed=True, demotions=3), Counts(3, 4, 9, collisions=1, reward=5000000))
    assert (shown.success_rate, shown.collision_rate, shown.reward, shown.demotions) == (0.75, 0.25, 1.25, 3)


@pytest.mark.parametrize(
    ("schedule", "state", "words"),
    [
        ({"gates": {}}, CurriculumState(0), "in stage 1 of 2"),
        ({"gates": {}}, CurriculumState(1, passed=True), "passed all 2 stages"),
        ({"manual": {"stage": "far"}}, CurriculumState(1, passed=True), "passed the gate of far"),
    ],
)
def test_how_far_training_has_come_in_words(schedule, state, words):
    course = running(schedule=schedule)
    course.state = state
    assert course.where() == words
