"""Evaluation while training, on the real environment, and the policy that comes out."""

import json

import pytest
import torch
from headway.checkpoint import load_tensors
from headway.errors import CheckpointError
from headway.policy import load_policy
from headway.train import train
from headway_api.train_spec import TrainSpec

UPDATE = 8 * 8


def spec(**changes):
    """The real environment in a small empty room: goals are near, episodes are short."""
    wire = {
        "totalSteps": UPDATE * 4, "numEnvs": 8, "network": {"mlp": {"hidden": [8]}},
        "env": {"nav": {"maxSteps": 20, "lidar": {"beams": 8}}},
        "algo": {"ppo": {"rolloutSteps": 8, "minibatchSize": 64, "epochs": 1}},
        "curriculum": {"stages": [{"name": "one", "levels": {
            "world": {"empty": {"sizeMeters": 4.0}}, "minGoalMeters": 0.5, "maxGoalMeters": 2.0,
        }}]},
    }  # fmt: skip
    return TrainSpec.model_validate(wire | changes)


def run(context, spec, name="a"):
    given = context(name)
    result = train(spec, given, lambda: False, lambda snapshot: None)
    lines = [json.loads(line) for line in (given.out / "metrics.jsonl").read_text().splitlines()]
    return given, result, lines


@pytest.mark.slow
def test_evaluation_comes_at_its_steps_and_at_the_end_and_touches_no_training_state(context):
    scored, first, rows = run(context, spec(evaluation={"everySteps": UPDATE * 3, "levels": 10}), "scored")
    plain, second, plain_rows = run(context, spec(), "plain")
    assert [row["step"] for row in rows if "evaluation/success_rate" in row] == [UPDATE * 3, UPDATE * 4]
    kept = [{k: v for k, v in row.items() if not k.startswith(("evaluation/", "time/"))} for row in rows]
    assert kept == [{k: v for k, v in row.items() if not k.startswith("time/")} for row in plain_rows]
    for name in ("model.safetensors", "rank-0.safetensors"):
        one, other = load_tensors(first.checkpoint / name), load_tensors(second.checkpoint / name)
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert (scored.out / "best.safetensors").is_file()
    assert not (plain.out / "best.safetensors").exists()


@pytest.mark.slow
def test_a_policy_loads_from_a_checkpoint_from_their_root_and_from_the_best(context):
    given, result, rows = run(context, spec(evaluation={"everySteps": UPDATE * 4, "levels": 10}))
    features = torch.randn(3, 30, generator=torch.Generator().manual_seed(0))
    policies = [load_policy(p) for p in (result.checkpoint, given.checkpoints, given.out / "best.safetensors")]
    assert [p.step for p in policies] == [UPDATE * 4] * 3
    actions = [p.act(features) for p in policies]
    assert actions[0].shape == (3, 2) and float(actions[0].abs().max()) <= 1.0
    assert torch.equal(actions[0], actions[1]) and torch.equal(actions[0], actions[2])
    record = json.loads((given.out / "best.json").read_text())
    assert record["validation"]["success"]["rate"] == rows[-1]["evaluation/success_rate"]


def test_what_is_no_policy_is_one_clear_message(tmp_path):
    with pytest.raises(CheckpointError, match="no policy can be loaded: no whole checkpoint there"):
        load_policy(tmp_path)
    (tmp_path / "best.json").write_text('{"step": 1}')
    with pytest.raises(CheckpointError, match="no policy can be loaded: 'spec'"):
        load_policy(tmp_path / "best.safetensors")
