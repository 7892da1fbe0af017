import pytest
from headway.local import status
from headway_api.progress import Progress, ProgressReport
from headway_api.training_run import TrainingRunStatus

T0, T1, T2, T3 = (f"2026-01-01T00:00:0{i}Z" for i in range(4))


def report(step=10):
    return ProgressReport(attempt=1, number=1, progress=Progress(step=step, total_steps=100, percent=step))


def started():
    return status.starting(None, T0)


def running():
    return status.reported(started(), report(), T1)


# state -> (phase, conditions that are true)
STATES = {
    "starting": (started, "Pending", {"SpecValid", "Reconciling"}),
    "running": (running, "Running", {"SpecValid", "Ready"}),
    "succeeded": (
        lambda: status.succeeded(running(), T2),
        "Succeeded",
        {"SpecValid", "Ready", "Succeeded", "Finished"},
    ),
    "pruned": (lambda: status.pruned(running(), T2), "Pruned", {"SpecValid", "Ready", "Finished"}),
    "stopped": (lambda: status.stopped(running(), "saved", T2), "Suspended", {"SpecValid", "Suspended"}),
    "failed": (lambda: status.failed(running(), "boom", T2), "Failed", {"SpecValid", "Stalled", "Failed", "Finished"}),
    "failed and started again": (
        lambda: status.starting(status.failed(running(), "boom", T2), T3),
        "Pending",
        {"SpecValid", "Reconciling"},
    ),
    "stopped and going on": (
        lambda: status.reported(status.starting(status.stopped(running(), "saved", T2), T2), report(), T3),
        "Running",
        {"SpecValid", "Ready"},
    ),
}


@pytest.mark.parametrize(("state", "phase", "true"), STATES.values(), ids=STATES.keys())
def test_each_state_has_its_phase_and_its_true_conditions(state, phase, true):
    found = state()
    assert found.phase == phase
    assert {condition.type for condition in found.conditions if condition.status == "True"} == true
    TrainingRunStatus.model_validate(found.to_wire())


def test_each_start_is_an_attempt_of_its_own():
    assert status.starting(status.stopped(started(), "", T1), T2).attempt == 2


def test_the_start_of_the_run_stays_and_the_end_is_forgotten_when_it_goes_on():
    again = status.starting(status.failed(running(), "boom", T2), T3)
    assert (again.start_time, again.completion_time, again.attempt_start_time) == (T0, "", "")


def test_a_pruned_run_is_finished_for_that_reason():
    assert status.pruned(running(), T2).condition("Finished").reason == "Pruned"


def test_a_transition_time_moves_only_with_the_truth():
    spec_valid, ready = (running().condition(kind) for kind in ("SpecValid", "Ready"))
    assert (spec_valid.last_transition_time, ready.last_transition_time) == (T0, T1)


def test_a_report_is_kept_with_the_time_at_which_it_was_read():
    assert running().progress.reported_at == T1
    assert running().progress.step == 10


def test_an_endless_error_is_cut_to_what_a_condition_holds():
    assert len(status.failed(started(), "x" * 10000, T1).condition("Failed").message) == 4000
