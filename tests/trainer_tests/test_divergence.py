"""Runs that diverge: they stop with what is no number named, or roll back and draw other numbers."""

import json
import re

import pytest
import torch
from headway.algos import ppo
from headway.checkpoint import load_tensors, read_manifest, write_tensors
from headway.checkpoint.lineage import file_hash
from headway.envs import registry
from headway.envs.protocol import NotFiniteActionError
from headway.errors import SpecError
from headway.randomness import shifted
from headway.train import train
from trainer_tests.conftest import line_spec
from trainer_tests.line_env import LineEnv
from trainer_tests.test_train import UPDATE, assert_equal, ignore, never, rows, tensors

ROLL_BACK = {"totalSteps": UPDATE * 6, "onDivergence": "rollBack"}


@pytest.fixture
def breaks(monkeypatch):
    """Let PPO's update number `update`, from 1, find a weight that is no number, the first `times` times.

    Returns the seed that each update drew by, in a list that grows.
    """

    def at(update, times=1):
        left, learn, seeds = [times], ppo.PPO.update, []

        def broken(self, next_features, fraction_left):
            seeds.append(self.seed)
            if self.updates == update - 1 and left[0] > 0:
                left[0] -= 1
                self.network.actor.head.weight.data[0, 0] = float("nan")
            return learn(self, next_features, fraction_left)

        monkeypatch.setattr(ppo.PPO, "update", broken)
        return seeds

    return at


def test_a_run_that_diverges_stops_names_the_tensors_and_saves_nothing_of_it(line_env, context, breaks):
    run = context(checkpoint_every_s=0.0)
    breaks(3)
    said = (
        r"^train\.algo\.ppo\.learningRate: 0\.003: loss/policy is nan at gradient step 1, in update 3, at environment "
        r"step 288; not finite: network\.actor\.head\.weight \(1 of 16\), .* and \d+ more; see .*diverged-step-288\."
        "json: lower it, or set train.onDivergence to rollBack$"
    )
    with pytest.raises(SpecError, match=said):
        train(line_spec(), run, never, ignore)
    assert sorted(p.name for p in run.checkpoints.glob("step-*")) == ["step-000000096.a1", "step-000000192.a1"]
    record = json.loads((run.out / "diverged-step-288.json").read_text())
    assert (record["what"], record["update"], record["step"]) == ("loss/policy is nan at gradient step 1", 3, 288)
    (findings,) = record["ranks"]
    by_name = {finding["name"]: finding for finding in findings}
    assert by_name["network.actor.head.weight"] | {"least": 0, "largest": 0} == {
        "name": "network.actor.head.weight", "shape": [1, 16], "nan": 1, "infinite": 0, "rows": [1, 1], "columns": [0],
        "least": 0, "largest": 0,
    }  # fmt: skip
    assert by_name["gradient.actor.head.weight"]["nan"] == 16
    assert by_name["environment.reward"]["nan"] == by_name["target"]["nan"] == 0


class Broken(LineEnv):
    """Its environment 5 gives no reward at step 20."""

    at = 20

    def step(self, action):
        step = super().step(action)
        self.at -= 1
        if self.at == 0:
            step.reward[5] = float("nan")
        return step


def test_an_environment_that_gives_no_number_is_named_and_not_the_learning_rate(context, monkeypatch):
    monkeypatch.setattr(
        registry, "make_vector_env", lambda spec, num_envs, offset, threads, device="cpu": Broken(num_envs)
    )
    said = (
        r"^train\.env\.nav: 'headway/Nav-v0': loss/policy is nan at gradient step 1, in update 3, .*not finite: "
        r"environment\.reward \(1 of 96\), .*: the environment gave what is no number, so it is not the learning "
        "rate's fault: mend it$"
    )
    with pytest.raises(SpecError, match=said):
        train(line_spec(), context(), never, ignore)


class Mute(LineEnv):
    """It takes no action that is no number, as real ones do; and forgets how to at step 20."""

    left = 20

    def step(self, action):
        self.left -= 1
        if not bool(torch.isfinite(action).all()) or self.left == 0:
            raise NotFiniteActionError("no number")
        return super().step(action)


def test_an_action_that_is_no_number_is_told_once_all_ranks_have_come_there(context, monkeypatch):
    monkeypatch.setattr(registry, "make_vector_env", lambda spec, num_envs, offset, threads, device: Mute(num_envs))
    with pytest.raises(SpecError, match=r"learningRate: 0\.003: an action is nan on one rank or more, in update 3"):
        train(line_spec(), context(), never, ignore)


def test_a_loss_that_explodes_stops_the_run_with_the_largest_tensors_named(line_env, context, monkeypatch):
    learn = ppo.PPO.update

    def explode(self, next_features, fraction_left):
        return learn(self, next_features, fraction_left) | ({"loss/value": 1e20} if self.updates == 8 else {})

    monkeypatch.setattr(ppo.PPO, "update", explode)
    said = r"loss/value is 1e\+20 after a median of .* over 7 updates, in update 8, .*; all tensors are finite, the la"
    with pytest.raises(SpecError, match=said):
        train(line_spec(totalSteps=UPDATE * 20), context(), never, ignore)


def test_the_course_of_losses_is_part_of_the_checkpoint(line_env, context, monkeypatch):
    spec = line_spec(totalSteps=UPDATE * 9)
    stop = iter([False, False, False, True])
    left = train(spec, context(), lambda: next(stop), ignore)
    course = read_manifest(left.checkpoint).loop["course"]
    assert course["loss/value"] == [abs(row["loss/value"]) for row in rows(context())]
    result = train(spec, context(attempt=2), never, ignore)
    assert len(read_manifest(result.checkpoint).loop["course"]["loss/policy"]) == 9


def test_what_is_no_number_is_never_saved_whoever_did_not_see_it(line_env, context, monkeypatch):
    run, state = context(), ppo.PPO.get_state
    monkeypatch.setattr(ppo.PPO, "get_state", lambda self: state(self) | {"updates": torch.tensor(float("nan"))})
    with pytest.raises(SpecError, match="updates is nan as it was to be saved, in update 6"):
        train(line_spec(totalSteps=UPDATE * 6), run, never, ignore)
    assert not list(run.checkpoints.glob("step-*"))


def test_a_run_that_rolls_back_goes_on_from_its_checkpoint_by_other_draws(line_env, context, breaks, caplog):
    plain, broken = context("plain", checkpoint_every_s=0.0), context("broken", checkpoint_every_s=0.0)
    expected = train(line_spec(totalSteps=UPDATE * 6), plain, never, ignore)
    seeds, snapshots = breaks(4), []
    result = train(line_spec(**ROLL_BACK), broken, never, snapshots.append)
    assert (result.outcome, result.step) == ("done", UPDATE * 6)
    assert "rolling back, time 1 of at most 3" in caplog.text
    assert seeds == [0] * 4 + [shifted(0, 1)] * 3
    one, other = rows(plain), rows(broken)
    assert [row["step"] for row in other] == [UPDATE * k for k in range(1, 7)]
    assert other[:3] == one[:3]
    assert [row.get("rollbacks") for row in other] == [None] * 3 + [1.0] * 3
    assert all(row["ppo/approx_kl"] != same["ppo/approx_kl"] for row, same in zip(other[3:], one[3:], strict=True))
    assert read_manifest(result.checkpoint).loop["rollbacks"] == 1
    episodes = (
        tensors(result)["rank-0.safetensors"]["env.episode"],
        tensors(expected)["rank-0.safetensors"]["env.episode"],
    )
    assert bool((episodes[0] >= 2**28).all()) and bool((episodes[1] < 100).all())
    assert [snapshot.step for snapshot in snapshots] == [UPDATE * k for k in range(1, 7)]


def test_without_a_checkpoint_a_run_begins_anew_by_other_draws(line_env, context, breaks):
    plain, broken = context("plain"), context("broken")
    train(line_spec(totalSteps=UPDATE * 6), plain, never, ignore)
    (broken.out).mkdir()
    breaks(3)
    train(line_spec(**ROLL_BACK), broken, never, ignore)
    one, other = rows(plain), rows(broken)
    assert [row["step"] for row in other] == [row["step"] for row in one]
    assert all(row["rollbacks"] == 1.0 for row in other)
    assert other[0]["ppo/approx_kl"] != one[0]["ppo/approx_kl"]
    assert not list(broken.checkpoints.glob("set-aside-*"))


def test_after_three_rollbacks_a_run_stops(line_env, context, breaks):
    run = context(checkpoint_every_s=0.0)
    breaks(3, times=9)
    with pytest.raises(SpecError, match=r"in update 3, .*, after 3 rollbacks: lower it$"):
        train(line_spec(**ROLL_BACK), run, never, ignore)
    assert len(rows(run)) == 2


def test_each_rollback_draws_otherwise_and_their_number_goes_on_over_a_resume(line_env, context, breaks):
    run = context(checkpoint_every_s=0.0)
    breaks(3, times=2)
    stop = iter([False] * 3 + [True])
    left = train(line_spec(**ROLL_BACK), run, lambda: next(stop), ignore)
    assert (left.step, read_manifest(left.checkpoint).loop["rollbacks"]) == (UPDATE * 4, 2)
    result = train(line_spec(**ROLL_BACK), context(attempt=2, checkpoint_every_s=0.0), never, ignore)
    whole = context("whole", checkpoint_every_s=0.0)
    breaks(3, times=2)
    assert_equal(tensors(train(line_spec(**ROLL_BACK), whole, never, ignore)), tensors(result))
    assert rows(whole) == rows(run)
    breaks(3, times=1)
    once = context("once", checkpoint_every_s=0.0)
    train(line_spec(**ROLL_BACK), once, never, ignore)
    assert rows(once)[2]["ppo/approx_kl"] != rows(whole)[2]["ppo/approx_kl"]


def test_a_checkpoint_that_holds_what_is_no_number_is_passed_over(line_env, context, breaks, caplog):
    stop = iter([False, False, True])
    left = train(line_spec(**ROLL_BACK), context(checkpoint_every_s=0.0), lambda: next(stop), ignore)
    model = left.checkpoint / "model.safetensors"
    state = load_tensors(model)
    state["network.actor.head.bias"][0] = float("inf")
    write_tensors(model, state)
    manifest = left.checkpoint / "manifest.json"
    record = json.loads(manifest.read_text())
    record["files"]["model.safetensors"]["sha256"] = file_hash(model)
    manifest.write_text(json.dumps(record))
    result = train(line_spec(**ROLL_BACK), context(attempt=2), never, ignore)
    assert re.search(r"step-000000288\.a1 passed over: network\.actor\.head\.bias is inf in it", caplog.text)
    assert (result.outcome, rows(context())[2]["rollbacks"]) == ("done", 1.0)


def test_what_a_run_does_when_it_diverges_may_change_under_it(line_env, context, breaks):
    breaks(3)
    run = context(checkpoint_every_s=0.0)
    with pytest.raises(SpecError):
        train(line_spec(), run, never, ignore)
    breaks(3)
    result = train(line_spec(**ROLL_BACK), context(attempt=2, checkpoint_every_s=0.0), never, ignore)
    assert (result.outcome, result.step) == ("done", UPDATE * 6)
