from headway.tracking import TRACKERS, make_tracker
from headway_api.train_spec import TensorBoard, Trackers


def test_every_tracker_of_the_contract_is_in_the_registry_and_no_other():
    assert {info.alias for info in Trackers.model_fields.values()} == set(TRACKERS)


def test_only_rank_0_leaves_anything(tmp_path):
    tracker = make_tracker(Trackers(), tmp_path, rank=1)
    tracker.resume(0, {})
    tracker.log(1, {"a": 1.0})
    tracker.close()
    assert tracker.state() == {}
    assert list(tmp_path.iterdir()) == []


def test_rank_0_writes_metrics_jsonl_even_if_no_tracker_is_named(tmp_path):
    tracker = make_tracker(Trackers(), tmp_path, rank=0)
    tracker.log(1, {"a": 1.0})
    tracker.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_each_tracker_gets_its_own_state_back(tmp_path):
    tracker = make_tracker(Trackers(tensorboard=TensorBoard()), tmp_path, rank=0)
    tracker.log(1, {"a": 1.0})
    state = tracker.state()
    tracker.close()
    assert set(state) == {"jsonl", "tensorboard"}
