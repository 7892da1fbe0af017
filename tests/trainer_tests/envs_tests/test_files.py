from pathlib import Path

import pytest
from headway.envs.nav.files import find_files, of_split
from headway.errors import SpecError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


def test_a_pattern_names_its_files_in_order(tmp_path):
    touch(tmp_path, "b.yaml", "a.yaml", "c.txt", "deep/d.yaml")
    assert [p.name for p in find_files("f", f"{tmp_path}/*.yaml")] == ["a.yaml", "b.yaml"]
    assert [p.name for p in find_files("f", f"{tmp_path}/**/*.yaml")] == ["a.yaml", "b.yaml", "d.yaml"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    touch(tmp_path, "a[1].yaml", "a1.yaml")
    assert [p.name for p in find_files("f", f"{tmp_path}/a[1].yaml")] == ["a[1].yaml"]


def test_a_plain_path_is_passed_on_for_its_reader_to_report():
    assert find_files("f", "none.yaml") == [Path("none.yaml")]


def test_a_pattern_that_matches_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"stages\[x\].*maps/\*\.yaml.*no file matches") as error:
        find_files("train.curriculum.stages[x].levels.world.map.yaml", "maps/*.yaml")
    assert str(tmp_path) in str(error.value)


def test_splits_are_disjoint_and_complete():
    files = [Path(f"maps/{k:02}.yaml") for k in range(20)]
    parts = [of_split("f", files, 0.15, 3, split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [14, 3, 3]
    assert sorted(k for part in parts for k in part) == list(range(20))


def test_the_split_follows_seed_and_names_and_not_the_folder():
    here = [Path(f"/a/maps/{k:02}.yaml") for k in range(20)]
    there = [Path(f"/b/c/{k:02}.yaml") for k in range(20)]
    assert of_split("f", here, 0.2, 3, "test") == of_split("f", there, 0.2, 3, "test")
    assert of_split("f", here, 0.2, 3, "test") != of_split("f", here, 0.2, 4, "test")


def test_nothing_held_out_shares_all_files():
    files = [Path(f"{k}.yaml") for k in range(3)]
    assert [of_split("f", files, 0.0, 0, split) for split in ("train", "test")] == [[0, 1, 2]] * 2


def test_a_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(SpecError, match="none is left to train on"):
        of_split("f", [Path("a"), Path("b")], 0.1, 0, "train")
