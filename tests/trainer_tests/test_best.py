import json

import pytest
from headway.best import RECORD, WEIGHTS, forget_best
from headway.checkpoint import read_manifest
from headway.session import Best
from headway.tracking.evaluations import read_evaluations
from headway.train import train
from headway_api.train_spec import TrainSpec
from trainer_tests.envs_tests.conftest import build_spec


def test_a_farther_stage_beats_a_higher_rate_and_a_rate_does_not_depend_on_the_number_of_levels():
    first, none = Best(stage=0, successes=190, levels=200), Best()
    later, fewer_levels = Best(stage=1, successes=20, levels=200), Best(stage=1, successes=11, levels=100)
    assert none.rank < first.rank < later.rank < fewer_levels.rank


def test_a_run_begun_anew_forgets_the_policy_of_the_one_before(tmp_path):
    for name in (WEIGHTS, RECORD, "metrics.jsonl"):
        (tmp_path / name).touch()
    forget_best(tmp_path)
    forget_best(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(("stage", "played"), [("current", 1.0), ("last", 2.0)])
def test_an_evaluation_plays_the_stage_that_it_is_told_to(context, stage, played):
    levels = {"world": {"empty": {"sizeMeters": 6.0}}}
    wire = build_spec(levels, levels, maxSteps=20, lidar={"beams": 12}).to_wire()
    ppo = {"rolloutSteps": 8, "minibatchSize": 32}
    evaluation = {"everySteps": 64, "levels": 8, "stage": stage}
    wire |= {"numEnvs": 8, "totalSteps": 64, "algo": {"ppo": ppo}, "network": {"mlp": {}}, "evaluation": evaluation}
    run = context("run")
    result = train(TrainSpec.model_validate(wire), run, lambda: False, lambda snapshot: None)
    (found,) = read_evaluations(run.out / "metrics.jsonl")
    assert found.step == 64
    row = json.loads((run.out / "metrics.jsonl").read_text())
    assert row["evaluation/stage"] == played
    best = read_manifest(result.checkpoint).best  # which retention goes by
    assert best == [played - 1.0, row["evaluation/success_rate"], row["evaluation/reward"]]
