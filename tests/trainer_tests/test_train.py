import json
import time
from dataclasses import replace

import pytest
import torch
from headway.checkpoint import load_tensors, read_manifest
from headway.checkpoint.lineage import verify
from headway.errors import CheckpointError, SpecError
from headway.parallel import Group
from headway.session import Session
from headway.tracking import is_measured
from headway.train import train
from trainer_tests.conftest import line_spec

UPDATE = 12 * 8  # environment steps between two updates of line_spec


def never():
    return False


def ignore(snapshot):
    pass


def after(updates):
    """A stop() that asks to leave once it has been called `updates` times: once an update."""
    calls = iter(range(updates - 1))
    return lambda: next(calls, None) is None


def rows(run):
    lines = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not is_measured(k)} for line in lines]


def tensors(result):
    return {p.name: load_tensors(p) for p in result.checkpoint.glob("*.safetensors")}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].keys() == other[name].keys()
        for key in one[name]:
            assert torch.equal(one[name][key], other[name][key]), f"{name}: {key}"


def test_training_learns_passes_its_gates_and_says_so(line_env, context):
    snapshots = []
    result = train(line_spec(totalSteps=100_000), context(), never, snapshots.append)
    assert result.outcome == "done"
    assert result.message == f"passed all 2 stages after {result.step} steps"
    assert result.step < 100_000
    assert [s.step for s in snapshots] == [UPDATE * (i + 1) for i in range(len(snapshots))]
    stages = [s.curriculum.stage for s in snapshots]
    assert stages == sorted(stages) and {1, 2} == set(stages)
    assert snapshots[-1].curriculum.passed
    assert snapshots[-1].checkpoint.path == result.checkpoint


def test_training_ends_at_the_first_update_boundary_at_or_after_total_steps(line_env, context):
    result = train(line_spec(totalSteps=UPDATE * 2 + 1), context(), never, ignore)
    assert result.step == UPDATE * 3
    assert read_manifest(result.checkpoint).complete


def test_an_annealed_learning_rate_begins_whole_and_no_update_is_without(line_env, context):
    run, spec = context(), line_spec(totalSteps=UPDATE * 4)
    ppo = spec.algo.ppo.model_copy(update={"anneal_learning_rate": True})
    spec = spec.model_copy(update={"algo": spec.algo.model_copy(update={"ppo": ppo})})
    train(spec, run, never, ignore)
    rates = [row["ppo/learning_rate"] / ppo.learning_rate for row in rows(run)]
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_two_runs_of_one_seed_are_equal_and_another_seed_differs(line_env, context):
    runs = [context("a"), context("b"), context("c")]
    results = [
        train(line_spec(seed=s, totalSteps=UPDATE * 5), run, never, ignore)
        for s, run in zip((0, 0, 1), runs, strict=True)
    ]
    assert rows(runs[0]) == rows(runs[1]) != rows(runs[2])
    assert_equal(tensors(results[0]), tensors(results[1]))


def test_stopping_and_going_on_equals_never_stopping(line_env, context):
    spec = line_spec(totalSteps=UPDATE * 9)
    whole, parts = context("whole"), context("parts")
    expected = train(spec, whole, never, ignore)
    stopped = train(spec, parts, after(4), ignore)
    assert (stopped.outcome, stopped.step) == ("stopped", UPDATE * 4)
    result = train(spec, context("parts", attempt=2), never, ignore)
    assert result.outcome == "done"
    assert_equal(tensors(expected), tensors(result))
    assert rows(whole) == rows(parts)
    assert read_manifest(result.checkpoint).parent == stopped.checkpoint.name


def learnable(**changes):
    """A spec whose curriculum remembers levels, in a stage that no gate ends."""
    stage = {"name": "one", "levels": {"world": {"empty": {}}}, "gate": {"successRate": 0.99, "episodes": 4000}}
    learnability = {"levels": 16, "share": 0.6, "attempts": 2}
    return line_spec(**changes, curriculum={"stages": [stage], "learnability": learnability})


def test_remembered_levels_are_part_of_what_goes_on_exactly(line_env, context):
    spec, seen = learnable(totalSteps=UPDATE * 9), []
    whole, parts = context("whole"), context("parts")
    expected = train(spec, whole, never, seen.append)
    assert seen[-1].curriculum.remembered_levels == 16
    assert seen[-1].metrics["learnability/episodes"] > 0
    stopped = train(spec, parts, after(5), ignore)
    assert "curriculum.learnability.level" in tensors(stopped)["model.safetensors"]
    result = train(spec, context("parts", attempt=2), never, ignore)
    assert_equal(tensors(expected), tensors(result))
    assert rows(whole) == rows(parts)


def test_metrics_after_the_checkpoint_are_cut_back(line_env, context):
    spec = line_spec(totalSteps=UPDATE * 4)
    run = context()
    train(spec, run, after(2), ignore)
    with (run.out / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": UPDATE * 3}) + "\n")
    train(spec, context(attempt=2), never, ignore)
    assert [row["step"] for row in rows(run)] == [UPDATE, UPDATE * 2, UPDATE * 3, UPDATE * 4]


def test_a_superseded_attempt_that_starts_late_leaves_the_metrics_alone(line_env, context):
    train(line_spec(), context(), after(1), ignore)
    run = context(attempt=3)
    train(line_spec(), run, after(1), ignore)
    (run.out / "metrics.jsonl").open("a").write(json.dumps({"step": UPDATE * 3}) + "\n")  # attempt 3 goes on
    before = (run.out / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="attempt 3 has superseded this one"):
        train(line_spec(), context(attempt=2), never, ignore)
    assert (run.out / "metrics.jsonl").read_bytes() == before


def test_a_complete_run_that_is_started_again_trains_nothing(line_env, context):
    spec = line_spec(totalSteps=UPDATE * 2)
    run = context()
    first = train(spec, run, never, ignore)
    before = sorted((p, p.stat().st_mtime_ns) for p in run.checkpoints.rglob("*"))
    again = train(spec, context(attempt=2), never, ignore)
    assert (again.outcome, again.step, again.checkpoint) == ("done", first.step, first.checkpoint)
    assert sorted((p, p.stat().st_mtime_ns) for p in run.checkpoints.rglob("*")) == before


def test_a_complete_run_goes_on_if_total_steps_has_grown(line_env, context):
    train(line_spec(totalSteps=UPDATE * 2), context(), never, ignore)
    result = train(line_spec(totalSteps=UPDATE * 3), context(attempt=2), never, ignore)
    assert result.step == UPDATE * 3


def test_another_spec_is_refused_with_what_differs(line_env, context):
    train(line_spec(), context(), after(1), ignore)
    with pytest.raises(CheckpointError, match=r"train\.seed: 0 -> 5"):
        train(line_spec(seed=5), context(attempt=2), never, ignore)


def test_another_runs_checkpoints_are_refused_by_uid_and_never_begins_anew(line_env, context):
    train(line_spec(), context(), after(1), ignore)
    with pytest.raises(CheckpointError, match="uid u1, this run's is u2"):
        train(line_spec(), context(uid="u2"), never, ignore)
    result = train(line_spec(), context(uid="u2", resume="never"), after(1), ignore)
    assert result.step == UPDATE
    assert (context().checkpoints / "set-aside-1" / result.checkpoint.name).is_dir()


def test_resume_from_a_path_is_where_the_first_attempt_begins_and_later_ones_go_on(line_env, context):
    spec = line_spec()
    source = train(spec, context("source"), after(2), ignore)
    first = train(spec, context("b", uid="u2", resume=str(source.checkpoint)), after(1), ignore)
    assert first.step == UPDATE * 3
    second = train(spec, context("b", uid="u2", attempt=2, resume=str(source.checkpoint)), after(1), ignore)
    assert second.step == UPDATE * 4
    root = train(spec, context("c", uid="u3", resume=str(source.checkpoint.parent)), after(1), ignore)
    assert root.step == UPDATE * 3
    with pytest.raises(CheckpointError, match=r"checkpoint\.resume: 'nowhere'"):
        train(spec, context("d", resume="nowhere"), never, ignore)


def test_a_branch_of_another_run_may_learn_on_by_other_values_and_nothing_else_may_differ(line_env, context):
    source = train(line_spec(), context("source"), after(2), ignore)
    lower = {"ppo": {"rolloutSteps": 8, "minibatchSize": 32, "learningRate": 1e-4}}
    branch = context("b", uid="u2", resume=str(source.checkpoint))
    result = train(line_spec(algo=lower), branch, after(1), ignore)
    assert result.step == UPDATE * 3
    on = train(line_spec(), context("c", uid="u3", resume=str(source.checkpoint)), after(1), ignore)
    assert not torch.equal(tensors(result)["model.safetensors"]["network.actor.head.weight"],
                           tensors(on)["model.safetensors"]["network.actor.head.weight"])  # fmt: skip
    with pytest.raises(CheckpointError, match=r"\(train\.seed: 0 -> 5\)"):
        train(line_spec(algo=lower, seed=5), context("d", uid="u4", resume=str(source.checkpoint)), never, ignore)
    with pytest.raises(CheckpointError, match=r"learningRate"):  # the run itself stays what it is
        train(line_spec(algo=lower), context("source", attempt=2), never, ignore)


def test_a_run_leaves_at_the_step_that_it_is_told_and_nothing_is_done_twice(line_env, context):
    spec = line_spec(totalSteps=UPDATE * 4)
    left = train(spec, context(leave_at=UPDATE * 2 - 1), never, ignore)
    assert (left.outcome, left.step) == ("stopped", UPDATE * 2)
    again = train(spec, context(attempt=2, leave_at=UPDATE * 2), never, ignore)
    assert (again.outcome, again.step, again.checkpoint) == ("stopped", UPDATE * 2, left.checkpoint)
    whole = train(spec, context("whole"), never, ignore)
    assert_equal(tensors(train(spec, context(attempt=3), never, ignore)), tensors(whole))


def test_a_tensor_of_another_shape_is_refused_before_anything_is_trained(line_env, context):
    train(line_spec(), context(), after(1), ignore)
    other = line_spec(network={"mlp": {"hidden": [8, 8]}})
    said = r"does not fit this run: network\.actor\.head\.weight is torch\.float32 \[1, 16\], not .* \[1, 8\]"
    with pytest.raises(CheckpointError, match=said):
        train(other, context(attempt=2, accept_changes=True), never, ignore)


def test_a_changed_spec_is_gone_on_with_if_its_owner_insists_and_is_the_runs_own_from_then_on(
    line_env, context, caplog
):
    caplog.set_level("INFO", logger="headway")
    train(line_spec(), context(), after(2), ignore)
    lower = {"ppo": {"rolloutSteps": 8, "minibatchSize": 48, "epochs": 2, "learningRate": 0.001}}
    with pytest.raises(CheckpointError, match="insist on it with specChange: accept"):
        train(line_spec(algo=lower), context(attempt=2), never, ignore)
    changed = train(line_spec(algo=lower), context(attempt=2, accept_changes=True), after(1), ignore)
    assert changed.step == UPDATE * 3
    assert "resuming with another spec: train.algo.ppo.learningRate: 0.003 -> 0.001" in caplog.messages
    assert "resume is not exact: it goes on with another spec" in caplog.messages
    assert rows(context())[-1]["ppo/learning_rate"] == 0.001
    assert read_manifest(changed.checkpoint).spec["algo"]["ppo"]["learningRate"] == 0.001
    caplog.clear()
    train(line_spec(algo=lower), context(attempt=3), after(1), ignore)  # nothing to insist on any more
    assert not any("another spec" in message for message in caplog.messages)


def test_a_seed_cannot_change_under_a_checkpoint_whoever_insists(line_env, context):
    train(line_spec(), context(), after(1), ignore)
    with pytest.raises(CheckpointError, match=r"train\.seed: 0 -> 5: levels and noise under way are drawn from it"):
        train(line_spec(seed=5), context(attempt=2, accept_changes=True), never, ignore)


def test_precision_changes_with_a_loss_scale_of_its_own(line_env, context):
    train(line_spec(), context(), after(1), ignore)
    half = train(line_spec(precision="fp16"), context(attempt=2, accept_changes=True), after(1), ignore)
    assert "loss_scale.scale" in tensors(half)["model.safetensors"]
    full = train(line_spec(), context(attempt=3, accept_changes=True), after(1), ignore)
    assert "loss_scale.scale" not in tensors(full)["model.safetensors"]


def test_a_run_that_has_passed_all_goes_on_into_a_stage_that_is_added(line_env, context):
    spec = line_spec(totalSteps=UPDATE * 100)
    done = train(spec, context(), never, ignore)
    assert read_manifest(done.checkpoint).complete and done.step < UPDATE * 100
    wire = spec.to_wire()["curriculum"]
    more = line_spec(
        totalSteps=UPDATE * 100, curriculum=wire | {"stages": [*wire["stages"], wire["stages"][0] | {"name": "s2"}]}
    )
    snapshots = []
    train(more, context(attempt=2, accept_changes=True), lambda: any(s.curriculum.stage == 3 for s in snapshots),
          snapshots.append)  # fmt: skip
    assert snapshots[0].curriculum.stage == 2  # the gate counts its episodes anew
    assert snapshots[-1].curriculum.stage == 3


def test_deterministic_kernels_are_asked_for_while_training_and_are_in_the_fingerprint(line_env, context):
    seen = []
    spec = line_spec(totalSteps=UPDATE * 2, deterministic=True)
    result = train(spec, context(), never, lambda snapshot: seen.append(torch.are_deterministic_algorithms_enabled()))
    assert seen == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()
    assert read_manifest(result.checkpoint).fingerprint["deterministicAlgorithms"] is True
    plain = train(line_spec(totalSteps=UPDATE * 2), context("plain"), never, ignore)
    assert_equal(tensors(result), tensors(plain))  # on a CPU all kernels are so


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_resume_on_a_gpu_says_that_it_is_not_exact_unless_kernels_are_deterministic(
    line_env, context, monkeypatch, caplog, deterministic
):
    train(line_spec(deterministic=deterministic), context(), after(1), ignore)
    resumed = Session(line_spec(deterministic=deterministic), context(attempt=2), Group())
    resumed.run = replace(resumed.run, device="cuda:0")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert resumed.begin()
    said = "resume is not exact on a GPU without train.deterministic" in caplog.messages
    assert said != deterministic
    assert "resume is not exact: device: cpu -> cuda" in caplog.messages


def test_checkpoints_are_kept_by_number_and_by_time(line_env, context):
    run = context(checkpoint_every_s=0.0, keep=2)
    train(line_spec(totalSteps=UPDATE * 5), run, never, ignore)
    assert sorted(p.name for p in run.checkpoints.glob("step-*")) == ["step-000000384.a1", "step-000000480.a1"]


def test_what_is_reported_while_saves_run_beside_the_training_is_whole_and_the_last_one_is_of_the_end(
    line_env, context
):
    seen = []

    def report(snapshot):
        time.sleep(0.02)  # updates of LineEnv take milliseconds
        if snapshot.checkpoint is not None:
            assert verify(snapshot.checkpoint.path).manifest.step == snapshot.checkpoint.step
            seen.append((snapshot.step, snapshot.checkpoint.step))

    result = train(line_spec(totalSteps=UPDATE * 20), context(checkpoint_every_s=1e-6, keep=99), never, report)
    assert seen[-1] == (result.step, result.step)
    early = [(step, saved) for step, saved in seen if saved < step]
    assert early == seen[: len(early)] and early  # before the end, none is of the update that names it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"numEnvs": 16, "algo": {"ppo": {"rolloutSteps": 8, "minibatchSize": 64}}},
            r"train\.numEnvs: 16: .* multiple of 3",
        ),
        (
            {"algo": {"ppo": {"rolloutSteps": 8, "minibatchSize": 32}}},
            r"train\.algo\.ppo\.minibatchSize: 32: .* multiple of 3",
        ),
    ],
)
def test_totals_that_do_not_divide_by_the_ranks_are_refused(line_env, context, changes, message):
    with pytest.raises(SpecError, match=message):
        train(line_spec(**changes), context(world_size=3), never, ignore)


def test_a_pruned_run_saves_after_its_next_update_and_ends_at_once_when_started_again(line_env, context):
    spec = line_spec(totalSteps=UPDATE * 6)
    pruned = train(spec, context(), never, lambda snapshot: snapshot.update == 2)
    assert (pruned.outcome, pruned.step) == ("pruned", UPDATE * 3)
    assert read_manifest(pruned.checkpoint).step == UPDATE * 3
    snapshots = []
    again = train(spec, context(attempt=2), never, snapshots.append)
    assert (again.outcome, again.step, snapshots) == ("pruned", UPDATE * 3, [])


def test_a_run_that_is_pruned_as_it_finishes_is_finished(line_env, context):
    result = train(line_spec(totalSteps=UPDATE * 2), context(), never, lambda snapshot: True)
    assert result.outcome == "done"
