import gc
import json
from pathlib import Path

import pytest
import torch
from headway.checkpoint import load_tensors
from headway.errors import CheckpointError, SpecError
from headway.evaluation import evaluate, trained
from headway.parallel import Group
from headway.policy import load_initial_weights, load_policy
from headway.session import Session
from headway.train import train
from headway_api.train_spec import TrainSpec
from trainer_tests.conftest import line_spec
from trainer_tests.envs_tests.conftest import build_spec
from trainer_tests.envs_tests.foreign_specs import gym_spec
from trainer_tests.line_env import LineEnv

UPDATE = 12 * 8


def never():
    return False


def ignore(snapshot):
    pass


def source(context, **changes):
    return train(line_spec(totalSteps=UPDATE * 2, **changes), context("source"), never, ignore)


def network(path):
    return {name: t for name, t in load_tensors(path / "model.safetensors").items() if name.startswith("network.")}


def change_hidden(folder):
    record = json.loads((folder / "manifest.json").read_text())
    record["spec"]["network"]["mlp"]["hidden"] = [9]
    (folder / "manifest.json").write_text(json.dumps(record))


def test_a_run_begins_with_anothers_weights_and_statistics(line_env, context):
    normalised = line_spec().algo.to_wire()
    normalised["ppo"]["normalizeObservations"] = True
    found = source(context, algo=normalised).checkpoint
    frozen = json.loads(json.dumps(normalised))
    frozen["ppo"] |= {"learningRate": 1e-30, "targetKl": 0.0}  # too small a step to change a weight
    spec = line_spec(algo=frozen, initFrom=str(found), totalSteps=UPDATE, seed=7)
    result = train(spec, context("b"), never, ignore)
    before, after = network(found), network(result.checkpoint)
    for name in before:
        same = torch.allclose(before[name], after[name], rtol=0.0, atol=1e-20)
        assert same == ("observation_scale" not in name), name
    assert float(after["network.observation_scale.count"]) == float(before["network.observation_scale.count"]) + UPDATE
    assert result.step == UPDATE  # weights only: the steps are its own


def test_a_resumed_run_has_its_own_weights(line_env, context, tmp_path):
    spec = line_spec(totalSteps=UPDATE * 3, initFrom=str(source(context).checkpoint))
    whole = train(spec, context("whole"), never, ignore)
    calls = iter(range(1))
    train(spec, context("parts"), lambda: next(calls, None) is None, ignore)
    load_from = tmp_path / "source"
    load_from.rename(tmp_path / "gone")  # a resumed run does not even look there
    parts = train(spec, context("parts", attempt=2), never, ignore)
    one, other = network(whole.checkpoint), network(parts.checkpoint)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_every_place_of_a_policy_will_do(line_env, context, tmp_path):
    out = tmp_path / "out"
    run = context("out", checkpoints=out / "checkpoints" / "here" / "run")
    found = train(line_spec(totalSteps=UPDATE), run, never, ignore).checkpoint
    expected = load_initial_weights(str(found))
    for place in (found.parent, out):
        given = load_initial_weights(str(place))
        assert all(torch.equal(given[name], expected[name]) for name in expected)


def test_what_cannot_be_taken_over_is_told_with_field_both_shapes_and_fix(line_env, context):
    found = source(context).checkpoint
    wide = line_spec(initFrom=str(found), network={"mlp": {"hidden": [8, 16]}})
    message = r"^train\.initFrom: '.*': its network does not fit: .* \[16.*\] there and .* \[8.*\] here: give both"
    with pytest.raises(SpecError, match=message):
        train(wide, context("b"), never, ignore)
    with pytest.raises(SpecError, match=r"^train\.initFrom: 'nowhere': no weights can be loaded: .*name a step-\*"):
        train(line_spec(initFrom="nowhere"), context("c"), never, ignore)


@pytest.mark.slow
@pytest.mark.timeout(600)  # it may be the first to need the kernel
@pytest.mark.parametrize(
    "kind",
    [{"mlp": {"hidden": [8]}}, {"cnn1d": {"channels": [4], "hidden": [8]}}, {"gru": {"hidden": [8], "size": 8}}],
    ids=["mlp", "cnn1d", "gru"],
)
def test_every_network_trains_resumes_and_is_evaluated_from_its_files(context, kind):
    wire = build_spec({"world": {"empty": {"sizeMeters": 6.0}}}, maxSteps=20, lidar={"beams": 12}).to_wire()
    ppo = {"rolloutSteps": 8, "minibatchSize": 32, "normalizeObservations": True, "normalizeValues": True}
    evaluation = {"everySteps": 64, "levels": 8}
    wire |= {"numEnvs": 8, "totalSteps": 192, "algo": {"ppo": ppo}, "network": kind, "evaluation": evaluation}
    spec = TrainSpec.model_validate(wire)
    whole = train(spec, context("whole"), never, ignore)
    calls = iter(range(1))
    train(spec, context("parts"), lambda: next(calls, None) is None, ignore)
    parts = train(spec, context("parts", attempt=2), never, ignore)
    one, other = network(whole.checkpoint), network(parts.checkpoint)
    assert all(torch.equal(one[name], other[name]) for name in one)
    policy = load_policy(parts.checkpoint)
    scores = evaluate(trained(policy.act), policy.spec, 0, "test", 8)
    assert scores == evaluate(trained(policy.act), policy.spec, 0, "test", 8, num_envs=3)
    best = load_policy(context("parts").out / "best.safetensors")
    assert best.spec == policy.spec


def test_a_file_of_another_shape_than_its_spec_says_is_refused(line_env, context):
    result = source(context)
    change_hidden(result.checkpoint)
    with pytest.raises(CheckpointError, match=r"network\.actor\.layers\.0\.weight is missing or of another shape"):
        load_policy(result.checkpoint)


def test_memory_begins_anew_with_environments_that_do(line_env, context, monkeypatch):
    gru = {"gru": {"hidden": [8], "size": 4}}
    ppo = {"rolloutSteps": 8, "minibatchSize": 48}
    spec = line_spec(network=gru, algo={"ppo": ppo}, totalSteps=100_000)
    calls = iter(range(1))
    train(spec, context(), lambda: next(calls, None) is None, ignore)
    for exact in (True, False):
        monkeypatch.setattr(LineEnv, "exact_state", exact)
        session = Session(spec, context(attempt=2), Group())
        assert session.begin()
        remembered = bool(session.algorithm.actor_memory.any()) and bool(session.algorithm.critic_memory.any())
        assert remembered == exact
        assert bool(session.algorithm.begins.all()) == (not exact)


def children():
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def test_a_policy_of_another_packages_environment_leaves_no_process_behind(context):
    before, wire = children(), gym_spec("trainer_tests.toy_gym:Toy-v0", length=4).to_wire()
    wire |= {"totalSteps": 16, "numEnvs": 2, "algo": {"ppo": {"rolloutSteps": 8, "minibatchSize": 16}}}
    result = train(TrainSpec.model_validate(wire), context(), never, ignore)
    gc.collect()
    assert load_policy(result.checkpoint).step == 16
    change_hidden(result.checkpoint)
    with pytest.raises(CheckpointError, match="of another shape") as refusal:
        load_policy(result.checkpoint)
    assert refusal.tb  # which holds on to what the failed call had open
    assert children() <= before
