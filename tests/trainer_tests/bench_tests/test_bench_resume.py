"""`headway bench resume`: what it runs, when it kills, how it compares; the runs themselves: test_exact_resume.py."""

import json
import random
import shutil

import pytest
import torch
from headway.bench.resume import Pace, Result, moment
from headway.bench.resume_compare import first_difference
from headway.bench.resume_specs import UPDATES, Case, cases, strategies
from headway.checkpoint import load_tensors, read_manifest
from headway.checkpoint.files import write_tensors_hashed
from headway.cli import main
from headway.commands import bench_resume
from headway.train import train
from trainer_tests.conftest import line_spec


def test_each_algorithm_has_every_strategy_that_it_can_have():
    assert strategies("ppo") == (
        "plain", "curriculum", "selfplay", "evaluation", "bf16", "fp16", "everything"
    )  # fmt: skip
    assert set(strategies("sac")) - set(strategies("ppo")) == {"per", "her", "nstep"}
    assert "selfplay" not in strategies("ppo-gru")
    assert len(cases((1, 2))) == 2 * len(cases((1,)))
    for case in cases((1,)):
        case.spec()  # is valid


def test_everything_at_once_is_every_strategy():
    spec = Case("sac", "everything", 1).spec()
    replay = spec.algo.sac.replay
    assert replay.prioritized and replay.hindsight and replay.n_steps == 3
    assert spec.self_play and spec.evaluation.every_steps and spec.curriculum.learnability
    assert spec.curriculum.schedule.gates.demotion and spec.precision == "bf16"


def test_a_name_matches_by_its_parts():
    case = Case("sac", "per", 2)
    assert all(case.matches(name) for name in ("sac", "per", "sac/per", "per/2", "sac/per/2"))
    assert not any(case.matches(name) for name in ("dqn", "sac/her", "sac/per/1", "sa"))


def test_checkpoints_tell_the_pace():
    assert Pace.of([4.0, 5.0, 5.5, 8.0]) == Pace(4.0, 1.0, 0.5)


def test_a_kill_falls_into_its_part_of_the_run_and_never_after_its_end():
    pace, draws = Pace(9.0, 1.0, 0.5), random.Random(0)
    found = [moment(draws, 0.5, 0.25, progress=0.0, pace=pace) for _ in range(200)]
    assert {at.progress for at in found} == {3 / UPDATES, 4 / UPDATES}
    assert 0.9 < max(at.lag_s for at in found) < 1.0 and 0.4 < max(at.tail_s for at in found) < 0.5
    beginning = [moment(draws, 0.0, 0.1, progress=0.0, pace=pace) for _ in range(200)]
    assert (
        8.0 < max(at.lag_s for at in beginning) < 9.0
    )  # before anything is saved: loading, beginning, the first update
    assert all(moment(draws, 0.9, 0.1, 0.0, pace).progress == (UPDATES - 2) / UPDATES for _ in range(20))


@pytest.fixture
def twins(line_env, context):
    """Two output folders of the same run."""
    run = context("one")
    train(line_spec(totalSteps=96 * 2), run, lambda: False, lambda snapshot: None)
    other = run.out.parent / "other"
    shutil.copytree(run.out, other)
    return run.out, other


def damage(out, name, change):
    """Change one tensor of the last checkpoint's model, and its hash with it."""
    (directory,) = (out / "checkpoints").glob("step-*")
    tensors = load_tensors(directory / "model.safetensors")
    change(tensors[name])
    record = write_tensors_hashed(directory / "model.safetensors", tensors)
    manifest = read_manifest(directory).to_wire()
    manifest["files"]["model.safetensors"] = record.to_wire()
    (directory / "manifest.json").write_text(json.dumps(manifest))


def test_equal_ends_have_no_difference(twins):
    assert first_difference(*twins, "u1") is None


def test_one_number_in_one_tensor_is_found_and_told_with_its_size(twins):
    damage(twins[1], "network.actor.head.bias", lambda tensor: tensor.add_(0.25))
    assert str(first_difference(*twins, "u1")) == "model.safetensors: network.actor.head.bias differs by up to 0.25"


def test_an_adjacent_number_is_another_one(twins):
    damage(twins[1], "network.actor.head.weight", lambda t: t[0, 3:4].copy_(torch.nextafter(t[0, 3:4], t[0, 3:4] + 1)))
    assert "network.actor.head.weight differs" in str(first_difference(*twins, "u1"))


def test_metrics_are_compared_but_for_the_time(twins):
    path = twins[1] / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["time/steps_per_s"] += 1.0
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert first_difference(*twins, "u1") is None
    rows[1]["loss/value"] += 0.5
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert str(first_difference(*twins, "u1")) == "metrics.jsonl, row 2: loss/value differs by up to 0.5"
    path.write_text(json.dumps(rows[0]) + "\n")
    assert first_difference(*twins, "u1").file == "metrics.jsonl, row 2"


@pytest.fixture
def proofs(monkeypatch):
    """Cases that are run, in the place of running them; sac/plain/1 differs."""
    asked = []

    def prove(case, points, seed, folder, device):
        asked.append(case.name)
        differs = case.name == "sac/plain/1"
        return Result(
            case, not differs, "rank-0.safetensors: env.robot differs by up to 1" if differs else "", ["save"]
        )

    monkeypatch.setattr("headway.bench.resume.prove", prove)
    return asked


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_for_each_and_one_for_all_and_the_exit_code_tells(proofs, capsys):
    assert main(["bench", "resume", "--only", "td3/plain", "sac/plain", "--ranks", "1"]) == 1
    sac, td3, total = lines_of(capsys)
    assert (sac["name"], sac["value"], sac["differs"]) == (
        "resume_exact", 0, "rank-0.safetensors: env.robot differs by up to 1",
    )  # fmt: skip
    assert (td3["value"], td3["params"]["kills"], td3["killed_in"]) == (1, 1, {"save": 1})
    assert (total["value"], total["unit"]) == (1, "of 2")
    assert main(["bench", "resume", "--only", "td3/plain/1"]) == 0


def test_what_this_code_has_shown_is_not_run_again_and_what_failed_is(proofs, capsys, tmp_path, monkeypatch):
    call = ["bench", "resume", "--only", "td3/plain", "sac/plain", "--ranks", "1", "--results", str(tmp_path / "r")]
    main(call)
    main(call)
    assert proofs == ["sac/plain/1", "td3/plain/1", "sac/plain/1"]
    main([*call, "--points", "3"])
    monkeypatch.setattr(bench_resume, "code_hash", lambda: "another")
    main(call)
    assert proofs[3:] == ["sac/plain/1", "td3/plain/1"] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "sax"], "--only: found 'sax': give names such as"),
        (["--points", "0"], "--points: found 0: give a number from 1 to"),
        (["--ranks", "1", "5"], "--ranks: found 5: give a number from 1 to 4"),
    ],
)
def test_what_there_is_not_is_refused(proofs, capsys, arguments, said):
    assert main(["bench", "resume", *arguments]) == 2
    assert said in capsys.readouterr().err and proofs == []


def test_the_list_runs_nothing(proofs, capsys):
    assert main(["bench", "resume", "--list", "--only", "dagger/plain"]) == 0
    assert capsys.readouterr().out.split() == ["dagger/plain/1", "dagger/plain/2", "dagger/plain/3"]
    assert proofs == []
