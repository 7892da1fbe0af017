"""N+M steps equal N steps, kill -9, resume, M steps: every tensor of every rank, and the metrics."""

import json
import os
import shutil
import signal
from functools import partial

import pytest
import torch
from headway.checkpoint import load_tensors
from headway.checkpoint.lineage import search
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
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]


def assert_equal(whole, killed):
    """The newest checkpoints of two runs, with their replays, and all their rows are the same to the last bit."""
    expected, result = newest(whole), newest(killed)
    assert expected.manifest.files.keys() == result.manifest.files.keys()
    pairs = [(load_tensors(expected.directory / n), load_tensors(result.directory / n)) for n in result.manifest.files]
    for one, other in [*pairs, (replay_of(whole), replay_of(killed))]:
        assert one.keys() == other.keys()
        for key in one:
            assert torch.equal(one[key], other[key]), key
    assert rows(whole) == rows(killed)


def dagger_spec():
    """Imitation of a planner that knows the map: both drive, and the ring of labelled steps wraps around."""
    dagger = {"expertSteps": UPDATE * 5, "rolloutSteps": 8, "minibatchSize": 48, "gradientSteps": 3, "capacity": 240}
    return TrainSpec.model_validate(nav_spec().to_wire() | {"algo": {"dagger": dagger}})


def replaying_spec(kind, **own):
    """Everything that a replay does at once; it wraps around, and the last save has whole and open segments."""
    replay = {"capacity": 12 * 30, "nSteps": 3, "prioritized": {}, "hindsight": {}}
    common = {"batchSize": 24, "learningStarts": UPDATE, "trainEvery": 2, "gradientSteps": 2, "updateSteps": UPDATE}
    wire = nav_spec().to_wire() | {"algo": {kind: common | {"replay": replay} | own}}
    if kind == "dqn":
        wire["env"]["nav"]["actions"] = {"discrete": {}}
    return TrainSpec.model_validate(wire)


def dqn_spec():
    return replaying_spec("dqn", dueling=True, target={"hard": {"everySteps": 50}})


def sac_spec():
    return replaying_spec("sac", policyDelay=2).model_copy(update={"precision": "bf16"})


def td3_spec():
    """In half precision: the factor of its losses goes on, too."""
    return replaying_spec("td3", annealLearningRate=True).model_copy(update={"precision": "fp16"})


def pqn_spec():
    wire = nav_spec().to_wire()
    wire["env"]["nav"]["actions"] = {"discrete": {}}
    return TrainSpec.model_validate(wire | {"algo": {"pqn": {"rolloutSteps": 8, "minibatchSize": 48}}})


SPECS = {"dqn": dqn_spec, "sac": sac_spec, "td3": td3_spec, "pqn": pqn_spec}


def replay_of(folder):
    """All rows of all ranks' segments, oldest first."""
    manifest = newest(folder).manifest
    root = newest(folder).directory.parent / "segments"
    segments = sorted(manifest.segments, key=lambda segment: (segment.rank, segment.first))
    loaded = [load_tensors(root / segment.name) for segment in segments]
    return {name: torch.cat([rows[name] for rows in loaded]) for name in (loaded[0] if loaded else ())}


def nav_spec():
    """People and another robot in clutter, everything that is random and remembered levels, on the real environment.

    Six updates of 12 environments.
    """
    wire = SPEC.to_wire()
    levels = {"world": {"clutter": {"sizeMeters": 5.0}}, "people": 2, "robots": 1, "minGoalMeters": 1.0}
    levels |= {"peopleModel": "orca", "peopleYield": 0.5}
    stages = [{"name": name, "levels": levels, "gate": {"successRate": 0.01, "episodes": 12}} for name in "ab"]
    curriculum = {"stages": stages, "stopAfterLastGate": False, "learnability": {"levels": 16, "attempts": 2}}
    noise = {"scanNoiseMeters": 0.02, "scanDropout": 0.02, "latencySteps": 2, "slip": 0.05, "dynamics": 0.1}
    env = {"nav": {"maxSteps": 15, "lidar": {"beams": 12}, "others": "self", "randomization": noise}}
    return TrainSpec.model_validate(wire | {"curriculum": curriculum, "env": env})


def self_play_spec(of=nav_spec):
    """The same with two past policies kept, each update's: the third replaces the first while it drives."""
    return TrainSpec.model_validate(of().to_wire() | {"selfPlay": {"pool": {"size": 2, "everySteps": UPDATE}}})


def learnable_spec():
    """One stage of LineEnv, half of whose episodes play remembered levels."""
    stage = {"name": "one", "levels": {"world": {"empty": {}}}, "gate": {"successRate": 0.99, "episodes": 4000}}
    curriculum = {"stages": [stage], "learnability": {"levels": 16, "attempts": 2}}
    return TrainSpec.model_validate(SPEC.to_wire() | {"curriculum": curriculum})


SELF_PLAY = {"selfplay": self_play_spec, "selfplay-dqn": partial(self_play_spec, dqn_spec)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "world_size"),
    [
        ("nav", 1), ("nav", 2), ("nav", 3), ("line", 2), ("dagger", 2),
        ("dqn", 1), ("dqn", 2), ("sac", 1), ("sac", 3), ("td3", 2), ("pqn", 2),
        ("selfplay", 1), ("selfplay", 2), ("selfplay-dqn", 2),
    ],
)  # fmt: skip
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, env, world_size):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    spec = (SPECS | {"nav": nav_spec, "line": learnable_spec, "dagger": dagger_spec} | SELF_PLAY)[env]()
    for code, output in gang.finish(train(whole, world_size, spec=spec, env=env)):
        assert code == 0, output
    dying = train(killed, world_size, killed_at=4, victim=world_size - 1, spec=spec, env=env)
    codes = [code for code, _ in gang.finish(dying)]
    assert codes[-1] == -9 and 0 not in codes
    assert newest(killed).manifest.step == UPDATE * 3  # at most one interval is lost
    for code, output in gang.finish(train(killed, world_size, attempt=2, spec=spec, env=env)):
        assert code == 0, output
        assert "not exact" not in output
    assert_ended_equal(whole, killed, world_size)
    if spec.self_play:
        assert all(row["selfplay/episodes"] > 0 for row in rows(whole)[3:])  # before the kill and after it


@pytest.mark.slow
@pytest.mark.parametrize(("env", "world_size"), [("nav", 1), ("sac", 2)])
def test_what_is_written_beside_the_training_goes_on_bit_for_bit(tmp_path, env, world_size):
    """Killed while a save is under way: 1 is published, 2 or 3 and perhaps 4 or 5 are on their way or there."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    spec = {"nav": nav_spec, "sac": sac_spec}[env]()
    for code, output in gang.finish(train(whole, world_size, spec=spec, env=env)):
        assert code == 0, output
    codes = gang.finish(train(killed, world_size, killed_at=6, victim=0, spec=spec, env=env, pause_s=0.3))
    assert codes[0][0] == -9
    assert UPDATE <= newest(killed).manifest.step <= UPDATE * 5
    for code, output in gang.finish(train(killed, world_size, attempt=2, spec=spec, env=env, pause_s=0.1)):
        assert code == 0, output
        assert "not exact" not in output
    assert_ended_equal(whole, killed, world_size)


def assert_ended_equal(whole, killed, world_size):
    """Both have ended, the second in its second attempt, with equal tensors and equal rows."""
    result = newest(killed)
    assert (result.manifest.step, result.manifest.attempt, result.manifest.complete) == (UPDATE * 6, 2, True)
    assert sorted(result.manifest.files) == ["model.safetensors", *(f"rank-{r}.safetensors" for r in range(world_size))]
    assert_equal(whole, killed)
    kept = replay_of(killed)
    assert not kept or len(kept["reward"]) == 30 * world_size
    assert any(row["learnability/episodes"] > 0 for row in rows(whole))  # what is remembered was played


ROLLING_BACK = SPECS | SELF_PLAY | {"nav": nav_spec, "dagger": dagger_spec}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "world_size", "killed_at"), [("nav", 1, 5), ("sac", 2, 5), ("dagger", 1, 4), ("selfplay", 1, 5)]
)
def test_a_run_that_rolled_back_and_was_killed_goes_on_bit_for_bit(tmp_path, env, world_size, killed_at):
    """Update 4 diverges. Killed at the fourth, nothing is saved since it rolled back; at the fifth, something is."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    spec = TrainSpec.model_validate(ROLLING_BACK[env]().to_wire() | {"onDivergence": "rollBack"})

    def start(folder, attempt=1, killed_at=0):
        given = (4, env, spec.to_wire(), folder, attempt, killed_at, world_size - 1)
        return gang.finish(gang.start(world_size, diverging.train_a_rank, *given))

    for code, output in start(whole):
        assert code == 0, output
    assert [code for code, _ in start(killed, killed_at=killed_at)][-1] == -9
    assert newest(killed).manifest.step == UPDATE * (killed_at - 1)
    assert newest(killed).manifest.loop["rollbacks"] == killed_at - 4
    for code, output in start(killed, attempt=2):
        assert code == 0, output
        assert "not exact" not in output
    assert_equal(whole, killed)
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
def test_ranks_that_see_different_checkpoints_go_on_from_the_one_that_rank_0_chose(tmp_path):
    """A node's view of shared storage may be behind, or ahead of, another's."""
    gang.finish(train(tmp_path, 1, spec=SPEC))
    mine, behind = tmp_path / "checkpoints", tmp_path / "behind"
    shutil.copytree(mine, behind)
    shutil.rmtree(behind / f"step-{UPDATE * 6:09d}.a1")
    for roots, step in (([mine, behind], 6), ([behind, mine], 5)):
        resumed = gang.start(2, gang.resume_a_rank, SPEC.to_wire(), roots, tmp_path / "out", UPDATE * 5)
        expected = roots[0] / f"step-{UPDATE * step:09d}.a1"
        for code, output in gang.finish(resumed):
            assert code == 0 and f"went on from {UPDATE * step} {expected}" in output, output
