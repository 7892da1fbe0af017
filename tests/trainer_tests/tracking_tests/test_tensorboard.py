import pytest
from headway.tracking.tensorboard import TensorBoardTracker
from tensorboard.backend.event_processing import event_accumulator as accumulator


def scalars(folder, tag="a"):
    events = accumulator.EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.mark.slow
def test_values_after_the_checkpoint_are_hidden_once_the_run_goes_on(tmp_path):
    first = TensorBoardTracker(tmp_path)
    for step in (10, 20, 30):
        first.log(step, {"a": float(step)})
    first.close()
    second = TensorBoardTracker(tmp_path)
    second.resume(20, {})
    second.log(30, {"a": 31.0})
    second.close()
    assert scalars(tmp_path) == [(10, 10.0), (20, 20.0), (30, 31.0)]


@pytest.mark.slow
def test_numbers_that_are_not_finite_are_left_out(tmp_path):
    tracker = TensorBoardTracker(tmp_path)
    tracker.log(1, {"a": float("nan")})
    tracker.log(2, {"a": 2.0})
    tracker.close()
    assert scalars(tmp_path) == [(2, 2.0)]
