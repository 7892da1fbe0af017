import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.grid import flood
from headway.envs.nav.shapes import OBSTACLE
from headway.envs.nav.step import world_of
from headway.envs.nav.vector import NavVectorEnv
from headway.evaluation import BASELINES, evaluate
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.envs_tests.conftest import build_spec

CLUTTER = {"world": {"clutter": {"fill": 0.14, "walls": 1}}, "minGoalMeters": 5.0}


def connected(env, i, radius):
    """Say whether the robot's disc can drive from start to goal; found by flooding the level anew."""
    row = env.arrays.robot[i]
    world = world_of(env.arrays, env.arrays.scenes[env.arrays.count[i, a.SCENE]], i)
    cell = [round((float(row[k]) + 0.1) / 0.2) for k in (a.X, a.Y, a.GOAL_X, a.GOAL_Y)]
    reached, queue = np.zeros(world.grid.shape, np.uint8), np.zeros(world.grid.size, np.int32)
    flood(world, cell[0], cell[1], np.float32(radius / 0.2), reached, queue)
    return bool(reached[cell[3], cell[2]])


@settings(max_examples=40)
@given(
    fill=st.floats(0.0, 0.4),
    walls=st.integers(0, 8),
    size=st.floats(4.0, 16.0),
    radius=st.floats(0.05, 0.6),
    seed=st.integers(0, 1000),
)
def test_start_and_goal_are_connected_with_the_promised_margin(fill, walls, size, radius, seed):
    levels = {"world": {"clutter": {"fill": fill, "walls": walls, "sizeMeters": size}}, "minGoalMeters": 1.0}
    spec = build_spec(levels, seed=seed, robot={"footprint": {"disc": {"radiusMeters": radius}}}, lidar={"beams": 4})
    env = NavVectorEnv(spec, 4)
    env.reset()
    for i in range(4):
        assert connected(env, i, radius + 0.1)


def test_goal_distances_keep_to_the_stage(make_spec):
    env = NavVectorEnv(make_spec({**CLUTTER, "minGoalMeters": 4.0, "maxGoalMeters": 4.5}), 200)
    env.reset()
    distance = env.arrays.robot[:, a.GOAL_DISTANCE]
    assert distance.min() >= 4.0 - 1e-4
    assert distance.max() <= 4.5 + 1e-4


@pytest.mark.parametrize("fill", [0.0, 0.1, 0.2])
def test_obstacles_cover_the_wanted_share(make_spec, fill):
    env = NavVectorEnv(make_spec({"world": {"clutter": {"fill": fill}}}), 50)
    env.reset()
    inner = env.arrays.grid[:, 1:51, 1:51] == OBSTACLE
    assert fill <= inner.mean() + 1e-3
    assert inner.mean() <= fill + 0.02


def test_walls_have_open_gaps(make_spec):
    # Without clutter all free cells of a walled square are connected for the robot, in every level.
    env = NavVectorEnv(make_spec({"world": {"clutter": {"fill": 0.0, "walls": 1}}}), 50)
    env.reset()
    for i in range(50):
        free = np.argwhere(env.arrays.grid[i] > 3)
        reached, queue = np.zeros((52, 52), np.uint8), np.zeros(52 * 52, np.int32)
        flood(
            world_of(env.arrays, env.arrays.scenes[0], i),
            int(free[0, 1]),
            int(free[0, 0]),
            np.float32(1.75),
            reached,
            queue,
        )
        assert all(reached[y, x] for y, x in free)
    inner = env.arrays.grid[:, 1:51, 1:51] == OBSTACLE
    assert (inner.sum(axis=(1, 2)) >= 20).all()


def layouts(spec, split, count=40):
    env = NavVectorEnv(spec, count, split=split, level_stride=count)
    env.reset()
    return {env.arrays.grid[i].tobytes() + env.arrays.robot[i].tobytes() for i in range(count)}


def test_splits_share_no_level(make_spec):
    spec = make_spec(CLUTTER)
    sets = [layouts(spec, split) for split in ("train", "validation", "test")]
    assert len(set.union(*sets)) == 120
    assert layouts(spec, "test") == sets[2]


def test_level_ids_are_played_once_by_any_number_of_environments(make_spec):
    # Of 12 ids, 3 environments with a stride of 3 play the same levels as 12 with a stride of 12.
    spec = make_spec(CLUTTER, maxSteps=10)
    few = NavVectorEnv(spec, 3, split="test", level_stride=3)
    few.reset()
    seen = []
    for _ in range(4):
        seen += [few.arrays.grid[i].tobytes() for i in range(3)]
        while not few.step(torch.tensor([[-1.0, 0.0]]).expand(3, 2)).truncated.all():
            pass
    many = NavVectorEnv(spec, 12, split="test", level_stride=12)
    many.reset()
    assert seen == [many.arrays.grid[i].tobytes() for i in range(12)]


@pytest.mark.slow
def test_the_worlds_are_no_toys_and_not_impossible(make_spec):
    scores = {name: evaluate(make(), make_spec(CLUTTER), 0, "test", 300) for name, make in BASELINES.items()}
    assert scores["go-straight"].success.value <= 0.25
    assert scores["astar"].success.value >= 0.99
