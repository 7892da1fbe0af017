from core_tests.fake_study import World, make_study
from core_tests.makers import at
from headway_api import load, names
from hypothesis import given, settings
from hypothesis import strategies as st


def play(world, passes=60):
    """Go on until the study is over; every run ends well as soon as it is seen."""
    for _ in range(passes):
        world.step()
        for name in world.active():
            world.end(name)
        if world.study.status.is_true(names.FINISHED):
            return
    raise AssertionError("the study does not end")


def test_a_study_from_its_first_trial_to_its_best():
    world = World(make_study())
    world.step()
    assert sorted(world.open) == [0, 1] and world.runs == {}
    world.step()
    assert world.active() == ["search-0", "search-1"]
    run = world.runs["search-1"]
    assert run["spec"]["train"]["algo"]["ppo"]["learningRate"] == 1e-3 + 1e-5
    assert run["metadata"]["labels"][names.LABEL_TRIAL] == "1"
    assert run["metadata"]["ownerReferences"][0]["uid"] == world.study.metadata.uid
    play(world)
    assert world.tells == [0, 1, 2, 3]
    status = world.study.status
    assert (status.phase, status.finished, status.steps) == ("Succeeded", "4/4", 4 * 4096)
    assert status.best[0].run == "search-0"
    best = load.validate(load.parse_yaml(world.config_maps["search-best"]))
    assert best.spec.train.algo.ppo.learning_rate == 1e-3
    assert best.metadata.name not in world.config_maps  # a run has a ConfigMap of its own name


@settings(max_examples=20)
@given(st.lists(st.integers(0, 6), max_size=12))
def test_killed_after_any_action_exactly_n_are_told_and_none_twice(cuts):
    world = World(make_study())
    for cut in cuts:
        world.step(cut)
        assert len(world.open) <= 2
        for name in world.active()[:1]:
            world.end(name)
    play(world)
    assert sorted(world.tells) == [0, 1, 2, 3]
    assert world.open == {}
    assert {outcome for outcome, _, _ in world.told.values()} == {"complete"}


def test_the_outcome_of_a_trial_is_its_runs():
    world = World(make_study(budget={"trials": 3, "parallel": 3}))
    world.step(), world.step()
    world.end("search-0", names.REASON_PRUNED, 1024)
    world.end("search-1", names.REASON_FAILED, 512)
    world.end("search-2")
    play(world)
    assert world.told[0] == ("pruned", 1024, "")
    assert world.told[1] == ("failed", 512, "boom")
    assert world.told[2][0] == "complete"


def test_a_run_that_somebody_has_deleted_has_failed():
    world = World(make_study())
    for _ in range(3):
        world.step()
    world.runs["search-0"]["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    world.step()
    assert world.tells == []  # it may still be saving
    del world.runs["search-0"]
    world.step()
    assert world.told[0] == ("failed", 0, "search-0 was deleted")
    play(world)
    assert sorted(world.tells) == [0, 1, 2, 3]


def test_seeds_run_one_after_the_other_and_the_trial_is_told_after_the_last():
    world = World(make_study(seedsPerTrial=2, budget={"trials": 1}))
    world.step(), world.step()
    assert world.active() == ["search-0-0"]
    world.end("search-0-0")
    world.step()
    assert world.tells == []
    world.step()
    assert world.active() == ["search-0-1"]
    assert world.runs["search-0-0"]["spec"]["train"]["seed"] != world.runs["search-0-1"]["spec"]["train"]["seed"]
    play(world)
    assert world.told == {0: ("complete", 2 * 4096, "")}


def test_only_what_is_told_is_deleted_and_the_newest_stay():
    world = World(make_study(trialHistoryLimit=1))
    world.step(), world.step()
    world.end("search-0")
    world.step()  # reported as ended
    world.step()  # told
    assert set(world.runs) == {"search-0", "search-1"}
    world.now = at(60)
    world.end("search-1")
    for _ in range(3):
        world.step()
    assert "search-0" not in world.runs and "search-1" in world.runs


def test_the_history_is_as_short_as_it_is_asked_to_be_when_the_study_is_finished():
    world = World(make_study(trialHistoryLimit=1))
    for _ in range(40):
        world.step()
        for name in world.active():
            world.end(name)
        if world.study.status.is_true(names.FINISHED):
            break
    assert world.study.status.is_true(names.FINISHED) and len(world.runs) == 1


def test_a_service_that_is_away_is_a_reason_and_loses_nothing():
    world = World(make_study())
    world.step(), world.step()
    world.end("search-0")
    world.is_away = True
    plan = world.step()
    condition = world.study.status.condition(names.RECONCILING)
    assert (condition.status, condition.reason) == ("True", "StudyServiceAway")
    assert "connection refused" in condition.message
    assert plan.requeue_after and not plan.delete and not plan.create
    world.is_away = False
    play(world)
    assert sorted(world.tells) == [0, 1, 2, 3]


def test_suspension_reaches_the_runs_and_is_taken_back():
    world = World(make_study())
    world.step(), world.step()
    for want in (True, False):
        spec = world.study.spec.model_copy(update={"suspend": want})
        world.study = world.study.model_copy(update={"spec": spec})
        world.step()
        assert [run["spec"].get("suspend", False) for run in world.runs.values()] == [want, want]
    play(world)
    assert sorted(world.tells) == [0, 1, 2, 3]


def test_suspension_does_not_wait_for_a_service_that_is_away_and_resumption_does():
    world = World(make_study())
    world.step(), world.step()
    world.is_away = True
    for want in (True, False):
        spec = world.study.spec.model_copy(update={"suspend": want})
        world.study = world.study.model_copy(update={"spec": spec})
        world.step()
        assert [run["spec"].get("suspend", False) for run in world.runs.values()] == [True, True]
    assert world.step().suspend == ()
    world.is_away = False
    world.step()
    assert [run["spec"]["suspend"] for run in world.runs.values()] == [False, False]


def test_a_budget_that_is_used_up_saves_and_ends_what_runs():
    world = World(make_study(budget={"trials": 4, "parallel": 2, "seconds": 100}))
    world.step(), world.step()
    world.now = at(100)
    world.step()
    assert all(run["spec"]["suspend"] for run in world.runs.values())
    for run in world.runs.values():
        run["status"] = {
            "conditions": [
                {
                    "type": "Suspended",
                    "status": "True",
                    "reason": "Suspended",
                    "lastTransitionTime": "2026-01-31T12:00:00Z",
                }
            ]
        }
    world.step(), world.step()
    assert world.runs == {} and world.study.status.phase == "Running", "first they go: who is finished is not looked at"
    world.step()
    assert world.told == {n: ("pruned", 0, "the study has taken 100 s (budget.seconds)") for n in (0, 1)}
    assert world.study.status.phase == "Failed"  # no trial is complete


def test_too_many_failures_fail_the_study():
    world = World(make_study(budget={"trials": 4, "parallel": 1, "failed": 1}))
    world.step(), world.step()
    world.end("search-0", names.REASON_FAILED)
    world.step(), world.step()
    assert (world.study.status.phase, world.tells) == ("Failed", [0])
    assert "budget.failed" in world.study.status.condition(names.FAILED).message


def test_a_bad_space_is_told_in_the_first_pass_and_the_service_is_not_asked():
    parameter = {"path": "train.algo.ppo.nothing", "float": {"low": 0.1, "high": 0.2}}
    world = World(make_study(parameters=[parameter]))
    plan = world.step()
    assert world.study.status.condition(names.SPEC_VALID).status == "False"
    assert "train.algo.ppo" in world.study.status.condition(names.READY).message
    assert not plan.open and world.open == {}


def test_values_that_make_no_run_fail_the_trial_alone():
    world = World(make_study(budget={"trials": 2, "parallel": 1}))
    world.values = lambda number: {"train.algo.ppo.learningRate": -1.0 if number == 0 else 1e-3}
    play(world)
    assert [world.told[n][0] for n in (0, 1)] == ["failed", "complete"]
