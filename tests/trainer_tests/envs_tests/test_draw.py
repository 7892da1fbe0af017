import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.vector import NavVectorEnv
from headway.errors import SpecError
from PIL import Image

SMALL = {"empty": {"sizeMeters": 5.0}}
LARGE = {"clutter": {"sizeMeters": 8.0, "fill": 0.1}}
MIXTURE = {"world": {"mixture": [SMALL, LARGE]}, "minGoalMeters": 1.0}
LONG = {"maxSteps": 10}
STAND = torch.tensor([[-1.0, 0.0]])


def scenes(env):
    env.reset()
    return env.arrays.count[:, a.SCENE].copy()


def write_maps(folder, count):
    for k in range(count):
        Image.fromarray(np.full((40, 40 + k), 255, np.uint8)).save(folder / f"m{k}.pgm")
        (folder / f"m{k}.yaml").write_text(f"image: m{k}.pgm\nresolution: 0.1\norigin: [0, 0, 0]\n")
    return {"world": {"map": {"yaml": f"{folder}/*.yaml"}}, "minGoalMeters": 1.0}


def ends(env, steps=10):
    """The ends of the episodes that all environments finish after standing still."""
    for _ in range(steps):
        step = env.step(STAND.expand(env.num_envs, 2))
    return step.episodes


def test_a_mixture_draws_its_worlds_evenly(make_spec):
    drawn = np.bincount(scenes(NavVectorEnv(make_spec(MIXTURE), 1000)))
    assert abs(drawn[0] - 500) < 80  # the standard deviation is 16
    assert drawn.sum() == 1000


def test_a_mixture_of_a_list_and_a_world_gives_each_entry_the_same_share(make_spec, tmp_path):
    maps = write_maps(tmp_path, 4)["world"]
    env = NavVectorEnv(make_spec({"world": {"mixture": [SMALL, maps]}, "minGoalMeters": 1.0}), 1000)
    drawn = np.bincount(scenes(env))
    assert abs(drawn[0] - 500) < 80
    assert all(abs(count - 125) < 60 for count in drawn[1:])


def test_an_earlier_stage_plays_its_own_worlds(make_spec):
    env = NavVectorEnv(make_spec({"world": SMALL}, MIXTURE, replay=0.5), 400)
    env.set_stage(1)
    env.reset()
    stage, scene = env.arrays.count[:, a.STAGE], env.arrays.count[:, a.SCENE]
    assert set(scene[stage == 0]) == {0}
    assert set(scene[stage == 1]) == {1, 2}


def test_files_held_out_are_played_in_their_split_alone(make_spec, tmp_path):
    levels = write_maps(tmp_path, 10)
    levels["world"]["map"]["heldOut"] = 0.2
    envs = [NavVectorEnv(make_spec(levels), 200, split=split) for split in ("train", "validation", "test")]
    widths = [{int(env.arrays.scenes["width"][k]) for k in scenes(env)} for env in envs]
    assert [len(w) for w in widths] == [6, 2, 2]
    assert len(set.union(*widths)) == 10


def test_a_bad_file_of_any_split_is_told_at_once(make_spec, tmp_path):
    levels = write_maps(tmp_path, 10)
    levels["world"]["map"]["heldOut"] = 0.2
    for bad in range(10):
        (tmp_path / f"m{bad}.pgm").rename(tmp_path / "away.pgm")
        with pytest.raises(SpecError, match=f"m{bad}.pgm.*no such file beside m{bad}.yaml"):
            NavVectorEnv(make_spec(levels), 1)
        (tmp_path / "away.pgm").rename(tmp_path / f"m{bad}.pgm")


@pytest.mark.parametrize("ranks", [2, 4])
def test_any_split_over_ranks_sees_the_same_levels(make_spec, ranks):
    spec = make_spec({"world": SMALL}, MIXTURE, replay=0.3, **LONG)
    table = torch.tensor([[5, 1], [9, 2], [2, 0]]), torch.tensor([1, 0, 7])

    def played(envs):
        rows = []
        for env in envs:
            env.set_stage(1)
            env.remember_levels(*table, 0.5)
            env.reset()
        for _ in range(3):
            parts = [ends(env) for env in envs]
            rows += [torch.cat([torch.cat([e.level, e.slot[:, None], e.stage[:, None]], 1) for e in parts])]
            rows += [torch.from_numpy(np.concatenate([env.arrays.robot for env in envs]))]
        return rows

    whole = played([NavVectorEnv(spec, 8)])
    parts = played([NavVectorEnv(spec, 8 // ranks, 8 // ranks * r) for r in range(ranks)])
    assert all(torch.equal(x, y) for x, y in zip(whole, parts, strict=True))


def test_a_remembered_level_is_the_level_that_was_played(make_spec):
    spec = make_spec({**MIXTURE, "people": 2}, **LONG)
    env = NavVectorEnv(spec, 4)
    first = env.reset()["observation"].clone()
    names = ends(env).level
    assert names.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    again = NavVectorEnv(spec, 40, offset=100)
    again.remember_levels(names, torch.tensor([0, 1, 0, 3]), 1.0)
    rows = again.reset()["observation"].clone()
    slot = ends(again).slot
    assert set(slot.tolist()) == {1, 3}
    assert all(torch.equal(row, first[k]) for row, k in zip(rows, slot.tolist(), strict=True))


def test_shares_and_weights_are_kept(make_spec):
    env = NavVectorEnv(make_spec({"world": SMALL}, {"world": SMALL}, replay=0.25, **LONG), 4000)
    env.set_stage(1)
    env.remember_levels(torch.tensor([[0, 1], [0, 2], [0, 3]]), torch.tensor([1, 0, 3]), 0.5)
    env.reset()
    slot = env.arrays.count[:, a.SLOT]
    # A quarter replays the earlier stage; half of the others, 1,500 of 4,000, play levels 0 and 2 as 1 to 3.
    assert abs((slot == 0).sum() - 375) < 90
    assert (slot == 1).sum() == 0
    assert abs((slot == 2).sum() - 1125) < 140
    assert (slot[env.arrays.count[:, a.STAGE] == 0] == -1).all()


def test_weights_of_zero_and_another_stage_play_fresh_levels(make_spec):
    env = NavVectorEnv(make_spec({"world": SMALL}, {"world": SMALL}), 50)
    env.remember_levels(torch.tensor([[0, 1]]), torch.tensor([0]), 0.9)
    env.reset()
    assert (env.arrays.count[:, a.SLOT] == -1).all()
    env.remember_levels(torch.tensor([[0, 1]]), torch.tensor([1]), 0.9)
    env.set_stage(1)
    env.reset()
    assert (env.arrays.count[:, a.SLOT] == -1).all()


def test_state_with_remembered_levels_goes_on_bit_for_bit(make_spec):
    spec = make_spec({**MIXTURE, "people": 1}, **LONG)
    table = torch.tensor([[3, 1], [4, 0], [8, 2]]), torch.tensor([2, 5, 1])
    env, other = NavVectorEnv(spec, 8), NavVectorEnv(spec, 8)
    env.remember_levels(*table, 0.6)
    env.reset()
    for _ in range(14):
        env.step(STAND.expand(8, 2))
    other.set_state(env.get_state())
    other.remember_levels(*table, 0.6)
    for _ in range(40):
        left, right = env.step(STAND.expand(8, 2)), other.step(STAND.expand(8, 2))
        assert torch.equal(left.observation["observation"], right.observation["observation"])
        ended = left.episodes.ended
        assert torch.equal(left.episodes.slot[ended], right.episodes.slot[ended])


@pytest.mark.parametrize(
    ("levels", "weights"), [([[0, -1]], [1]), ([[0, 1]], [-1]), ([[0, 1]], [1, 2]), ([[0, 1]], [2**60])]
)
def test_tables_that_name_no_level_are_refused(make_spec, levels, weights):
    with pytest.raises(ValueError, match="remembered levels"):
        NavVectorEnv(make_spec(MIXTURE), 1).remember_levels(torch.tensor(levels), torch.tensor(weights), 0.5)


def test_a_scene_of_another_stage_is_no_state(make_spec):
    env = NavVectorEnv(make_spec({"world": SMALL}, MIXTURE), 2)
    env.reset()
    state = env.get_state()
    state["count"][0, a.SCENE] = 1
    with pytest.raises(ValueError, match="scene of another stage"):
        env.set_state(state)
