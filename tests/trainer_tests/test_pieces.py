"""Whole runs whose batches go through the networks in pieces."""

import pytest
import torch
from headway.algos import batch_finder
from headway.checkpoint import read_manifest
from headway.envs import registry
from headway.envs.protocol import ActionSpace
from headway.parallel import Group
from headway.session import Session
from headway.train import train
from trainer_tests.conftest import line_spec
from trainer_tests.line_env import LineEnv
from trainer_tests.test_train import UPDATE, after, assert_equal, ignore, never, rows, tensors

ROLLOUT = {"rolloutSteps": 8, "minibatchSize": 48}
REPLAYED = {"batchSize": 24, "learningStarts": UPDATE, "updateSteps": UPDATE, "gradientSteps": 2}
GRU = {"gru": {"hidden": [8], "size": 4}}
CASES = {
    "ppo": {"ppo": ROLLOUT | {"normalizeObservations": True, "normalizeValues": True}},
    "gru": {"ppo": ROLLOUT},
    "dagger": {"dagger": ROLLOUT | {"expertSteps": UPDATE * 2, "gradientSteps": 2}},
    "pqn": {"pqn": ROLLOUT},
    "dqn": {"dqn": REPLAYED},
    "sac": {"sac": REPLAYED},
    "td3": {"td3": REPLAYED | {"replay": {"prioritized": {}}}},
}


class Steered(LineEnv):
    """By two commands: back and forth."""

    actions = ActionSpace(2, discrete=True)

    def step(self, action):
        return super().step(2.0 * action[:, None] - 1.0)


@pytest.fixture(autouse=True)
def on_a_line(line_env, monkeypatch):
    numbers = registry.make_vector_env

    def make(spec, num_envs, **given):
        if spec.env.nav.actions.discrete is None:
            return numbers(spec, num_envs, **given)
        return Steered(num_envs, given["offset"], spec.seed)

    monkeypatch.setattr(registry, "make_vector_env", make)


@pytest.fixture
def finds(monkeypatch):
    """Let the search find 16 rows: the passes are made and timed, the rates that it sees are made up."""
    tried = []
    real = batch_finder.measurement

    def measurement(algorithm, device):
        measure = real(algorithm, device)

        def measured(count):
            tried.append(count)
            assert measure(count) > 0
            return 1.0 if count == 16 else 0.5

        return measured

    monkeypatch.setattr(batch_finder, "measurement", measurement)
    monkeypatch.setattr(batch_finder, "SECONDS", 0.0)
    return tried


def spec_of(case, **changes):
    env = {"nav": {"actions": {"discrete": {}}}} if case in ("pqn", "dqn") else {"nav": {}}
    network = {"network": GRU} if case == "gru" else {}
    return line_spec(algo=CASES[case], env=env, totalSteps=UPDATE * 3, **network, **changes)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_run_that_has_found_its_rows_is_the_run_that_was_given_them(context, finds, case, precision):
    found = train(spec_of(case, microBatch="auto", precision=precision), context("found"), never, ignore)
    assert finds[0] == 16 and len(finds) == 2
    given = train(spec_of(case, microBatch=16, precision=precision), context("given"), never, ignore)
    assert_equal(tensors(found), tensors(given))
    assert rows(context("found")) == rows(context("given"))
    assert [row["batch/micro"] for row in rows(context("found"))] == [16.0] * 3
    assert read_manifest(found.checkpoint).loop["microBatch"] == 16


def test_the_column_is_there_where_batches_are_cut_and_reports_have_it(context):
    snapshots = []
    train(spec_of("ppo", microBatch=16), context("cut"), never, snapshots.append)
    assert snapshots[-1].metrics["batch/micro"] == 16.0
    for given in (0, 48, 64):  # the share is 48
        train(spec_of("ppo", microBatch=given), context(str(given)), never, ignore)
        assert "batch/micro" not in rows(context(str(given)))[-1]
    assert rows(context("48")) == rows(context("0"))


def test_what_was_found_is_kept_on_resume_and_the_resume_is_exact(context, finds, caplog):
    spec = spec_of("sac", microBatch="auto")
    whole = train(spec, context("whole"), never, ignore)
    train(spec, context("cut"), after(1), ignore)
    finds.clear()
    with caplog.at_level("INFO"):
        resumed = train(spec, context("cut", attempt=2), never, ignore)
    assert finds == []  # no second search
    assert "auto: 16 rows, as found when the run began" in caplog.text and "not exact" not in caplog.text
    assert_equal(tensors(resumed), tensors(whole))
    assert rows(context("cut")) == rows(context("whole"))


def test_a_resume_with_other_rows_goes_on_and_says_that_it_is_not_exact(context, caplog):
    train(spec_of("ppo", microBatch=16), context(), after(1), ignore)
    result = train(spec_of("ppo", microBatch=8), context(attempt=2), never, ignore)
    assert "resume is not exact: microBatch: 16 -> 8" in caplog.text
    assert (result.outcome, result.step) == ("done", UPDATE * 3)
    assert [row["batch/micro"] for row in rows(context())] == [16.0, 8.0, 8.0]


def test_a_run_that_is_given_rows_does_not_forget_what_was_found(context, finds):
    train(spec_of("ppo", microBatch="auto"), context(), after(1), ignore)
    finds.clear()
    train(spec_of("ppo", microBatch=8), context(attempt=2), after(1), ignore)
    train(spec_of("ppo", microBatch="auto"), context(attempt=3), never, ignore)
    assert finds == []
    assert [row["batch/micro"] for row in rows(context())] == [16.0, 8.0, 16.0]


def test_a_search_leaves_no_gradient_behind(context, finds):
    session = Session(spec_of("td3", microBatch="auto"), context(), Group())
    session.begin()
    learner = session.algorithm.learner
    for gradient in (learner.actor, learner.critics):
        assert torch.count_nonzero(gradient.flat.buffer) == 0
    assert torch.count_nonzero(learner.totals) == 0
