import json

import pytest
from headway.checkpoint.lineage import Position, choose, lineage, read_fences, search
from headway.checkpoint.manifest import spec_differences, spec_hash
from headway.errors import CheckpointError
from trainer_tests.checkpoint_tests.making import store, write
from trainer_tests.conftest import line_spec


def at(attempt, step):
    return Position(attempt=attempt, step=step)


@pytest.mark.parametrize(
    ("name", "there", "parents", "expected"),
    [
        ("nothing there", [], {}, []),
        ("no fence: all count, the newest attempt first", [at(1, 10), at(1, 20)], {}, [at(1, 20), at(1, 10)]),
        ("one attempt", [at(1, 10), at(1, 20)], {1: None}, [at(1, 20), at(1, 10)]),
        (
            "a zombie of attempt 1 wrote 30 after attempt 2 went on from 20",
            [at(1, 10), at(1, 20), at(1, 30), at(2, 25)], {1: None, 2: at(1, 20)},
            [at(2, 25), at(1, 20), at(1, 10)],
        ),
        (
            "attempt 2 died before it saved: what attempt 1 wrote later still does not count",
            [at(1, 20), at(1, 30)], {1: None, 2: at(1, 20)}, [at(1, 20)],
        ),
        (
            "three generations",
            [at(1, 10), at(1, 20), at(2, 30), at(2, 40), at(3, 35)], {1: None, 2: at(1, 10), 3: at(2, 30)},
            [at(3, 35), at(2, 30), at(1, 10)],
        ),
        ("attempt 2 began anew", [at(1, 10), at(2, 5)], {1: None, 2: None}, [at(2, 5)]),
        ("a forged fence that is its own parent ends", [at(1, 10)], {1: at(1, 10)}, [at(1, 10)]),
        ("a forged fence whose parent is younger ends", [at(1, 10)], {1: at(2, 10), 2: at(1, 10)}, [at(1, 10)]),
    ],
)  # fmt: skip
def test_lineage(name, there, parents, expected):
    assert lineage(there, parents) == expected, name


def test_directory_names_round_trip_and_others_are_not_checkpoints():
    assert at(2, 123456).directory == "step-000123456.a2"
    assert Position.parse("step-000123456.a2") == at(2, 123456)
    for name in ("step-1", ".step-000000001.a1.partial", "step-000000001.a1x", "step--1.a1", "attempts"):
        assert Position.parse(name) is None


def test_the_newest_whole_checkpoint_is_found_and_every_broken_one_is_named(tmp_path):
    whole, short, flipped, missing, bare, forged = (write(tmp_path, step) for step in (10, 20, 30, 40, 50, 60))
    with (short / "model.safetensors").open("r+b") as file:
        file.truncate(5)
    content = bytearray((flipped / "rank-0.safetensors").read_bytes())
    content[-1] ^= 1
    (flipped / "rank-0.safetensors").write_bytes(content)
    (missing / "rank-0.safetensors").unlink()
    (bare / "manifest.json").unlink()
    (forged / "manifest.json").write_text('{"format": 1')
    log = []
    found = search(tmp_path, "u1", log)
    assert found is not None and found.directory == whole
    text = "\n".join(sorted(log))
    for line in (
        "step-000000020.a1 passed over: model.safetensors has 5 bytes",
        "step-000000030.a1 passed over: rank-0.safetensors is damaged",
        "step-000000040.a1 passed over: rank-0.safetensors is missing",
        "step-000000050.a1 passed over: no manifest.json",
        "step-000000060.a1 passed over: manifest.json",
    ):
        assert line in text


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "rank-0.pickle", "sub/rank-0.safetensors"])
def test_a_manifest_cannot_name_files_outside_its_directory(tmp_path, name):
    directory = write(tmp_path, 10)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"][name] = {"size": 1, "sha256": "0" * 64}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    log = []
    assert search(tmp_path, "u1", log) is None
    assert "files" in log[0]


def test_a_checkpoint_moved_to_another_name_is_passed_over(tmp_path):
    write(tmp_path, 10).rename(tmp_path / "step-000000099.a1")
    log = []
    assert search(tmp_path, "u1", log) is None
    assert "its manifest is of step 10, attempt 1" in log[0]


def test_what_a_superseded_attempt_writes_is_ignored_and_it_is_told_to_leave(tmp_path):
    first = store(tmp_path, attempt=1)
    first.fence(None)
    parent = write(tmp_path, 10, attempt=1)
    store(tmp_path, attempt=2).fence(parent)
    assert read_fences(tmp_path, "u1") == {1: None, 2: at(1, 10)}
    with pytest.raises(CheckpointError, match=r"attempt 2 has superseded this one \(1\)"):
        write(tmp_path, 20, attempt=1)
    # It had already passed that check when attempt 2 began, and renames late:
    elsewhere = write(tmp_path.parent / "elsewhere", 20, attempt=1)
    elsewhere.rename(tmp_path / elsewhere.name)
    log = []
    found = search(tmp_path, "u1", log)
    assert found is not None and found.manifest.step == 10
    assert log == ["step-000000020.a1 passed over: of a superseded attempt"]


def test_the_same_attempt_started_again_by_hand_goes_on(tmp_path):
    store(tmp_path).fence(None)
    directory = write(tmp_path, 10)
    store(tmp_path).fence(directory)
    write(tmp_path, 20)
    found = search(tmp_path, "u1", [])
    assert found is not None and found.manifest.step == 20


def test_beginning_anew_sets_aside_what_was_there(tmp_path):
    store(tmp_path).fence(None)
    old = write(tmp_path, 10)
    assert choose(tmp_path, "u2", "never", []) is None
    store(tmp_path, uid="u2").fence(None)
    assert not old.exists() and (tmp_path / "set-aside-1" / old.name / "manifest.json").is_file()
    assert search(tmp_path, "u2", []) is None


def test_never_is_for_the_first_attempt_and_a_restart_goes_on(tmp_path):
    store(tmp_path).fence(None)
    assert choose(tmp_path, "u1", "never", []) is None  # killed before it saved
    own = write(tmp_path, 10)
    found = choose(tmp_path, "u1", "never", [])
    assert found is not None and found.directory == own


def test_a_run_that_another_of_its_name_has_set_aside_saves_no_more(tmp_path):
    store(tmp_path).fence(None)
    write(tmp_path, 10)
    store(tmp_path, uid="u2").fence(None)  # made anew under the same name, while the old pod still saves
    with pytest.raises(CheckpointError, match=r"run u2 has begun anew in place of this one \(u1\)"):
        write(tmp_path, 20)
    assert write(tmp_path, 5, uid="u2").is_dir()
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-000000005.a1"]


def test_a_path_is_where_the_first_attempt_begins_and_later_it_is_said_to_be_passed_over(tmp_path):
    source, own = write(tmp_path / "source", 10), tmp_path / "own"
    log = []
    found = choose(own, "u2", str(source), log)
    assert found is not None and (found.directory, log) == (source, [])
    store(own, uid="u2").fence(source)
    mine = write(own, 20, uid="u2")
    found = choose(own, "u2", str(source), log)
    assert found is not None and found.directory == mine
    assert log == [f"{source} passed over: only a first attempt begins there, and this run has checkpoints of its own"]


def test_only_what_is_learned_counts_as_another_spec():
    old = line_spec().to_wire()
    same = line_spec(totalSteps=9, evaluation={"everySteps": 5}, trackers={"tensorboard": {}}, onDivergence="rollBack")
    assert spec_differences(old, same.to_wire()) == []
    assert spec_hash(line_spec()) == spec_hash(same)
    other = line_spec(seed=4, network={"mlp": {"hidden": [16, 8]}})
    assert spec_differences(old, other.to_wire()) == ["train.network.mlp.hidden[1]: 16 -> 8", "train.seed: 0 -> 4"]
    assert spec_hash(line_spec()) != spec_hash(other)
