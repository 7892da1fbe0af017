"""N+M steps equal N steps, kill -9, resume, M steps: every tensor of every rank, and the metrics."""

import json
import os
import random
import signal
from functools import partial

import pytest
import torch
from headway.bench.resume import prove
from headway.bench.resume_compare import first_difference
from headway.bench.resume_specs import ALGORITHMS, EVERYTHING, Case, strategies
from headway.checkpoint import load_tensors
from headway.checkpoint.lineage import search
from headway.tracking import is_measured
from headway_api.train_spec import TrainSpec
from trainer_tests.conftest import line_spec
from trainer_tests.parallel_tests import diverging, gang

UPDATE = 12 * 8
SPEC = line_spec(totalSteps=UPDATE * 6)


def train(folder, world_size, attempt=1, killed_at=0, victim=0, spec=SPEC, env="line", pause_s=0.0):
    return gang.start(world_size, gang.train_a_rank, env, spec.to_wire(), folder, attempt, killed_at, victim, pause_s)


def newest(folder):
    found = search(folder / "checkpoints", "u1", [])
    assert found is not None
    return found


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not is_measured(k)} for line in lines]


def learnable_spec():
    """One stage of LineEnv, half of whose episodes play remembered levels."""
    stage = {"name": "one", "levels": {"world": {"empty": {}}}, "gate": {"successRate": 0.99, "episodes": 4000}}
    curriculum = {"stages": [stage], "learnability": {"levels": 16, "attempts": 2}}
    return TrainSpec.model_validate(SPEC.to_wire() | {"curriculum": curriculum})


def a_sample():
    """Of each algorithm everything at once, and one strategy more; the same ones each time."""
    draws = random.Random(4)
    for algo in ALGORITHMS:
        yield Case(algo, EVERYTHING, draws.choice((1, 2, 3)))
        yield Case(algo, draws.choice(strategies(algo)[:-1]), draws.choice((1, 1, 2)))


def is_at_work(case, rows):
    """Say whether what the case is about has happened in its run."""
    several = strategies(case.algo)[1:-1] if case.strategy == EVERYTHING else (case.strategy,)
    shown = {
        "curriculum": lambda row: row["curriculum/stage"] == 2 or row["learnability/episodes"] > 0,
        "selfplay": lambda row: row["selfplay/episodes"] > 0,
        "evaluation": lambda row: "evaluation/success_rate" in row,
    }
    return all(any(map(shown[name], rows)) for name in several if name in shown)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(a_sample()), ids=lambda case: case.name)
def test_a_run_that_is_killed_at_any_moment_goes_on_bit_for_bit(tmp_path, case):
    result = prove(case, points=1, seed=0, folder=tmp_path)
    assert result.exact, result.reason
    assert len(result.doing) == 1
    assert is_at_work(case, rows(tmp_path / "whole"))


@pytest.mark.slow
def test_at_most_one_interval_is_lost(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for code, output in gang.finish(train(whole, 2, spec=learnable_spec())):
        assert code == 0, output
    codes = [code for code, _ in gang.finish(train(killed, 2, killed_at=4, victim=1, spec=learnable_spec()))]
    assert codes[-1] == -9 and 0 not in codes
    assert newest(killed).manifest.step == UPDATE * 3
    for code, output in gang.finish(train(killed, 2, attempt=2, spec=learnable_spec())):
        assert code == 0, output
        assert "not exact" not in output
    result = newest(killed).manifest
    assert (result.step, result.attempt, result.complete) == (UPDATE * 6, 2, True)
    assert sorted(result.files) == ["model.safetensors", "rank-0.safetensors", "rank-1.safetensors"]
    assert first_difference(whole, killed, "u1") is None
    assert any(row["learnability/episodes"] > 0 for row in rows(whole))  # what is remembered was played


@pytest.mark.slow
@pytest.mark.parametrize("case", [Case("ppo", EVERYTHING, 1), Case("sac", EVERYTHING, 2)], ids=lambda case: case.name)
def test_what_is_written_beside_the_training_goes_on_bit_for_bit(tmp_path, case):
    """Killed while a save is under way: 1 is published, 2 or 3 and perhaps 4 or 5 are on their way or there."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    start = partial(train, world_size=case.ranks, spec=case.spec(), env="nav")
    for code, output in gang.finish(start(whole)):
        assert code == 0, output
    codes = gang.finish(start(killed, killed_at=6, victim=0, pause_s=0.3))
    assert codes[0][0] == -9
    assert UPDATE <= newest(killed).manifest.step <= UPDATE * 5
    for code, output in gang.finish(start(killed, attempt=2, pause_s=0.1)):
        assert code == 0, output
        assert "not exact" not in output
    assert newest(killed).manifest.complete and first_difference(whole, killed, "u1") is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "killed_at"),
    [(Case("ppo", EVERYTHING, 1), 5), (Case("sac", EVERYTHING, 2), 5), (Case("dagger", "curriculum", 1), 4)],
    ids=lambda given: getattr(given, "name", given),
)
def test_a_run_that_rolled_back_and_was_killed_goes_on_bit_for_bit(tmp_path, case, killed_at):
    """Update 4 diverges. Killed at the fourth, nothing is saved since it rolled back; at the fifth, something is."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    spec = TrainSpec.model_validate(case.spec().to_wire() | {"onDivergence": "rollBack"})

    def start(folder, attempt=1, killed_at=0):
        given = (4, "nav", spec.to_wire(), folder, attempt, killed_at, case.ranks - 1)
        return gang.finish(gang.start(case.ranks, diverging.train_a_rank, *given))

    for code, output in start(whole):
        assert code == 0, output
    assert [code for code, _ in start(killed, killed_at=killed_at)][-1] == -9
    assert newest(killed).manifest.step == UPDATE * (killed_at - 1)
    assert newest(killed).manifest.loop["rollbacks"] == killed_at - 4
    for code, output in start(killed, attempt=2):
        assert code == 0, output
        assert "not exact" not in output
    assert first_difference(whole, killed, "u1") is None
    assert (newest(killed).manifest.step, newest(killed).manifest.loop["rollbacks"]) == (UPDATE * 6, 1)
    assert [row.get("rollbacks") for row in rows(killed)] == [None] * 3 + [1.0] * 3


@pytest.mark.slow
def test_all_ranks_stop_alike_where_learning_has_diverged(tmp_path):
    given = (3, "line", SPEC.to_wire(), tmp_path, 1, 0, 0)
    (code, output), (other_code, other_output) = gang.finish(gang.start(2, diverging.train_a_rank, *given))
    last, other_last = output.splitlines()[-1], other_output.splitlines()[-1]
    assert code == other_code == 1 and last == other_last and "loss/policy is nan" in last
    assert len(json.loads((tmp_path / "diverged-step-288.json").read_text())["ranks"]) == 2
    assert newest(tmp_path).manifest.step == UPDATE * 2


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_run_goes_on_without_a_rank_that_hung_and_that_one_writes_nothing_when_it_wakes(tmp_path, victim):
    hanging = gang.start(
        2, gang.train_a_rank, "line", SPEC.to_wire(), tmp_path, 1, 4, victim, 0.0, signal.SIGSTOP, 3.0
    )  # fmt: skip
    with gang.ended(hanging):
        assert hanging[1 - victim].wait(60) == 1
        assert "for 3 s: given up (metrics, update 4)" in hanging[1 - victim].log.read_text()
        for code, output in gang.finish(train(tmp_path, 2, attempt=2)):
            assert code == 0, output
        written = contents(tmp_path)
        os.kill(hanging[victim].process.pid, signal.SIGCONT)
        assert hanging[victim].wait(60) == 1
        assert contents(tmp_path) == written
    assert newest(tmp_path).manifest.complete and len(rows(tmp_path)) == 6


@pytest.mark.slow
def test_another_number_of_ranks_goes_on_and_says_that_it_is_not_exact(tmp_path):
    killed = gang.finish(train(tmp_path, 2, killed_at=4))
    assert killed[0][0] == -9
    ((code, output),) = gang.finish(train(tmp_path, 1, attempt=2))
    assert code == 0, output
    assert "resume is not exact: worldSize: 2 -> 1" in output
    assert newest(tmp_path).manifest.step == UPDATE * 6


@pytest.mark.slow
def test_levels_are_remembered_alike_whatever_the_number_of_ranks(tmp_path):
    """Before learning: afterwards the ranks' gradients add up in another order."""
    tables = []
    for world_size in (1, 2, 3):
        folder = tmp_path / str(world_size)
        algo = {"ppo": {"rolloutSteps": 40, "minibatchSize": 48}}
        wire = learnable_spec().to_wire() | {"totalSteps": 12 * 40, "algo": algo}  # one update
        gang.finish(train(folder, world_size, spec=TrainSpec.model_validate(wire)))
        model = load_tensors(newest(folder).directory / "model.safetensors")
        tables.append({name: model[name] for name in model if name.startswith("curriculum.learnability.")})
    assert int((tables[0]["curriculum.learnability.attempts"] > 0).sum()) == 16
    for other in tables[1:]:
        assert all(torch.equal(tables[0][name], other[name]) for name in tables[0])


@pytest.mark.slow
def test_a_refusal_reaches_every_rank_as_the_same_message(tmp_path):
    gang.finish(train(tmp_path, 2))
    refused = gang.finish(train(tmp_path, 2, attempt=2, spec=line_spec(seed=9)))
    for code, output in refused:
        assert code != 0 and "train.seed: 0 -> 9" in output


@pytest.mark.slow
def test_where_ranks_see_different_newest_checkpoints_all_go_on_from_rank_0s(tmp_path):
    """Another node's view of shared storage may lag behind, or run ahead."""
    older, newer = tmp_path / "older", tmp_path / "newer"
    gang.finish(train(older, 2, killed_at=3))
    gang.finish(train(newer, 2, killed_at=5))
    assert [newest(folder).manifest.step for folder in (older, newer)] == [UPDATE * 2, UPDATE * 4]
    begun = gang.finish(gang.start(2, gang.begin_where_each_looks, SPEC.to_wire(), [older, newer], -1))
    for code, output in begun:
        assert code == 0 and f"begins at {UPDATE * 2} after step-000000192.a1" in output, output
    blind = gang.finish(gang.start(2, gang.begin_where_each_looks, SPEC.to_wire(), [newer, newer], 1))
    assert blind[1][0] != 0 and "step-000000384.a1, which rank 0 goes on from, cannot be read by rank 1" in blind[1][1]
    assert blind[0][0] != 0  # and does not train alone
