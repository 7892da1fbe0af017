import pytest
from headway.commands.eval import baseline_names, check_picture, policy_path, stage_number
from headway.errors import UserError
from headway.local.folder import Folder
from trainer_tests.envs_tests.foreign_specs import gym_spec
from trainer_tests.local_tests.test_document import run
from trainer_tests.local_tests.test_view import RUN


def test_the_policy_of_an_output_folder_is_the_best_else_the_newest_checkpoint(tmp_path):
    Folder(tmp_path).write(run())
    assert policy_path(tmp_path) == tmp_path / "checkpoints" / "default" / "nav"
    (tmp_path / "best.safetensors").touch()
    assert policy_path(tmp_path) == tmp_path / "best.safetensors"


def test_any_other_path_is_taken_as_it_is(tmp_path):
    assert policy_path(tmp_path) == tmp_path


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: does not exist: give an output folder"):
        policy_path(tmp_path / "nowhere")


def test_the_stage_is_the_last_unless_named():
    spec = RUN.spec.train
    assert (stage_number(spec, None), stage_number(spec, "empty")) == (1, 0)
    with pytest.raises(UserError, match=r"--stage: found 'end': give one of empty, sparse"):
        stage_number(spec, "end")


def test_baselines_are_a_list_all_or_none():
    known = {"go-straight": 1, "astar": 2}
    assert baseline_names("astar, go-straight", known) == ["astar", "go-straight"]
    assert baseline_names("none", known) == []
    assert baseline_names("all", known) == ["go-straight", "astar"]
    with pytest.raises(UserError, match=r"--baselines: found 'orca': give none, all, or some of go-straight, astar"):
        baseline_names("orca", known)


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_played(tmp_path):
    nav = RUN.spec.train
    for path in (None, tmp_path / "a.png", tmp_path / "a.GIF"):
        check_picture(path, nav)
    with pytest.raises(UserError, match=r"a.jpg: give a path that ends in .png for a picture, or in .gif"):
        check_picture(tmp_path / "a.jpg", nav)
    with pytest.raises(UserError, match=r"there is no folder .*none: make it"):
        check_picture(tmp_path / "none" / "a.png", nav)
    with pytest.raises(UserError, match=r"only headway/Nav-v0 can be drawn: leave it out"):
        check_picture(tmp_path / "a.png", gym_spec("CartPole-v1"))
