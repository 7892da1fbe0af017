"""The generated worlds: what each kind promises."""

import math

import numpy as np
import pytest
from headway.envs.nav import arrays as a
from headway.envs.nav.grid import flood
from headway.envs.nav.shapes import OBSTACLE, SHAPES, outlines
from headway.envs.nav.step import world_of
from headway.envs.nav.vector import NavVectorEnv
from headway.errors import SpecError
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.envs_tests.conftest import build_spec

KINDS = ["empty", "clutter", "cells", "polygons", "rooms", "automaton"]
DISC = {"footprint": {"disc": {"radiusMeters": 0.25}}}
JACKAL = {"footprint": {"rectangle": {"lengthMeters": 0.508, "widthMeters": 0.43}}}


def begun(world, n=6, seed=0, robot=DISC, **levels):
    spec = build_spec({"world": world, "minGoalMeters": 1.0, **levels}, seed=seed, robot=robot, lidar={"beams": 2})
    env = NavVectorEnv(spec, n)
    env.reset()
    return env


def world(env, i):
    scene = env.arrays.scenes[env.arrays.count[i, a.SCENE]]
    return world_of(env.arrays, scene, i), scene


def connected(env, i, radius):
    """Flood anew, with a disc of `radius` metres, from the robot's cell; say whether the goal's cell is reached."""
    made, scene = world(env, i)
    row = env.arrays.robot[i]
    cells = [int((float(row[k]) - scene[o]) / scene["cell"]) for k, o in
             ((a.X, "origin_x"), (a.Y, "origin_y"), (a.GOAL_X, "origin_x"), (a.GOAL_Y, "origin_y"))]  # fmt: skip
    reached, queue = np.zeros(made.grid.shape, np.uint8), np.zeros(made.grid.size, np.int32)
    flood(made, cells[0], cells[1], np.float32(radius / scene["cell"]), reached, queue)
    return bool(reached[cells[3], cells[2]])


WORLDS = st.one_of(
    st.builds(lambda s, c, f: {"cells": {"sizeMeters": s, "cellMeters": c, "fill": f}},
              st.floats(3.0, 12.0), st.floats(0.3, 2.0), st.floats(0.0, 0.6)),
    st.builds(lambda s, n, r: {"polygons": {"sizeMeters": s, "count": n, "minMeters": r[0], "maxMeters": r[1]}},
              st.floats(4.0, 12.0), st.integers(0, 64), st.tuples(st.floats(0.05, 2.0), st.floats(2.0, 4.0))),
    st.builds(lambda s, r, d, f: {"rooms": {"sizeMeters": s, "roomMeters": r, "doorMeters": d, "fill": f}},
              st.floats(6.0, 14.0), st.floats(1.5, 15.0), st.floats(0.6, 4.0), st.floats(0.0, 0.3)),
    st.builds(lambda w, long, f, k: {"automaton": {"widthMeters": w, "lengthMeters": long, "cellMeters": 0.2, "fill": f,
                                                "minFill": f, "smoothing": k}},
              st.floats(3.0, 6.0), st.floats(1.5, 6.0), st.floats(0.0, 0.5), st.integers(0, 10)),
)  # fmt: skip


@settings(max_examples=60)
@given(kind=WORLDS, radius=st.floats(0.05, 0.4), seed=st.integers(0, 1000))
def test_start_and_goal_are_connected_with_the_promised_margin(kind, radius, seed):
    try:
        env = begun(kind, 3, seed, {"footprint": {"disc": {"radiusMeters": radius}}})
    except SpecError as error:  # cells of 2 m in a square of 3 m, say: no two places a metre apart
        assert "minGoalMeters" in str(error)
        return
    for i in range(3):
        assert connected(env, i, radius + 0.0999)


@pytest.mark.parametrize("kind", KINDS)
def test_a_level_is_a_function_of_its_key(kind):
    left, right = begun({kind: {}}, 6), begun({kind: {}}, 12)
    for i in range(6):
        assert np.array_equal(left.arrays.robot[i], right.arrays.robot[i])
        one, two = (outlines(world(env, i)[0], 1.0, (0.0, 0.0)) for env in (left, right))
        assert np.array_equal(one[0], two[0])
        assert one[1] == two[1]


@pytest.mark.parametrize("kind", KINDS)
def test_splits_share_no_level(kind):
    spec = build_spec({"world": {kind: {}}, "minGoalMeters": 1.0}, lidar={"beams": 2})
    seen = set()
    for split in ("train", "validation", "test"):
        env = NavVectorEnv(spec, 20, split=split)
        env.reset()
        seen |= {env.arrays.grid[i].tobytes() + env.arrays.robot[i].tobytes() for i in range(20)}
    assert len(seen) == 60


def test_cells_are_as_many_as_drawn_and_evenly_placed():
    env = begun({"cells": {"sizeMeters": 9.0, "cellMeters": 1.0, "fill": 0.6}}, 600, minGoalMeters=1.0)
    inner = env.arrays.grid[:, 1:10, 1:10] == OBSTACLE
    count = inner.sum(axis=(1, 2))
    # 0 to 47 of 81 cells, all alike; few layouts are drawn anew. The mean of 600 is 23.5 with a deviation of 0.6.
    assert count.min() >= 0
    assert count.max() <= 47
    assert abs(count.mean() - 23.5) < 2.5
    share = inner.mean(axis=0)
    assert abs(share - share.mean()).max() < 0.1  # five deviations of a cell's share


def test_coarse_cells_are_divided_only_where_the_robot_is_wider():
    assert begun({"cells": {"cellMeters": 1.0}}, 1).arrays.scenes["cell"][0] == np.float32(1.0)
    env = begun({"cells": {"sizeMeters": 9.0, "cellMeters": 0.6}}, 20)
    assert env.arrays.scenes["cell"][0] == np.float32(0.2)
    inner = env.arrays.grid[:, 1:46, 1:46].reshape(20, 15, 3, 15, 3) == OBSTACLE
    assert (inner.any(axis=(2, 4)) == inner.all(axis=(2, 4))).all()


def test_polygons_have_the_wanted_sizes_and_angles():
    env = begun({"polygons": {"count": 10, "minMeters": 0.3, "maxMeters": 0.5}}, 40)
    edges = []
    for i in range(40):
        _, discs, polygons = outlines(world(env, i)[0], 0.2, (0.0, 0.0))
        assert len(discs) + len(polygons) <= 10
        assert all(0.3 <= radius <= 0.5 + 1e-6 for _, _, radius in discs)
        for corners in polygons:
            assert 3 <= len(corners) <= 7
            turned = np.roll(corners, -1, axis=0) - corners
            cross = turned[:, 0] * np.roll(turned[:, 1], -1) - turned[:, 1] * np.roll(turned[:, 0], -1)
            assert (cross > -1e-6).all()  # convex, counter-clockwise
            edges += np.arctan2(turned[:, 1], turned[:, 0]).tolist()
    counts, _ = np.histogram(edges, 8, (-math.pi, math.pi))
    assert counts.min() > 0.6 * np.mean(counts)  # no direction is rare


def test_rooms_are_all_reached_through_doors():
    env = begun({"rooms": {"fill": 0.0}}, 40)
    for i in range(40):
        made, _ = world(env, i)
        free = np.argwhere(made.grid > 2)
        reached, queue = np.zeros(made.grid.shape, np.uint8), np.zeros(made.grid.size, np.int32)
        flood(made, int(free[0, 1]), int(free[0, 0]), np.float32(1.75), reached, queue)
        assert all(reached[y, x] for y, x in free)
        assert (made.grid[1:-1, 1:-1] == OBSTACLE).mean() > 0.02  # and there are walls


def test_furniture_covers_the_wanted_share():
    bare, full = (begun({"rooms": {"fill": fill}}, 30) for fill in (0.0, 0.08))
    shares = []
    for env in (bare, full):
        covered = [outlines(world(env, i)[0], 0.2, (0.0, 0.0))[0][1:-1, 1:-1].mean() for i in range(30)]
        shares.append(np.mean(covered))
    assert 0.02 < shares[1] - shares[0] < 0.09  # about half of it is exact shapes and not in the cells


def test_an_automaton_builds_barn_like_fields():
    env = begun({"automaton": {}}, 40, robot=JACKAL, maxGoalMeters=15.0)
    scene = env.arrays.scenes[0]
    field, left = int(scene["field"]), int(scene["left"])
    assert (int(scene["field_rows"]), int(scene["width"]) - 2 * left) == (30, 30)
    shares = []
    for i in range(40):
        made, _ = world(env, i)
        assert made.used[SHAPES] > 100
        _, discs, _ = outlines(made, 0.15, (0.0, 0.0))
        assert {round(radius, 4) for _, _, radius in discs} == {0.0749}
        grid = made.grid[1:-1, 1:-1]
        assert (grid[field - 1 : field + 29, [left - 1, left + 28]] == 0).all()  # walls left and right
        assert (grid[field + 29 :] > 0).all()  # nothing beyond
        shares.append((grid[field - 1 : field + 29, left : left + 28] == 0).mean())
        row = env.arrays.robot[i]
        assert row[a.Y] < (field - 1) * 0.15
        assert row[a.GOAL_Y] > (field + 29) * 0.15
        assert abs(row[a.HEADING] - math.pi / 2) <= math.pi / 4 + 1e-6
    assert min(shares) > 0.01
    assert max(shares) < 0.35
    assert 0.06 < np.mean(shares) < 0.2


def test_shapes_that_do_not_fit_are_drawn_anew_and_never_half(monkeypatch):
    from headway.envs.nav import scenes

    monkeypatch.setitem(scenes.GENERATED, "polygons", lambda w, n: {**scenes._polygons(w, n), "entries": 120})
    env = begun({"polygons": {"count": 12}}, 8)
    assert not env.arrays.used[:, 2].any()
    assert env.arrays.used[:, 1].max() <= 120


def test_a_mixture_leaves_no_shape_of_the_level_before():
    mixture = {"mixture": [{"cells": {}}, {"polygons": {}}, {"empty": {"sizeMeters": 5.0}}, {"automaton": {}}]}
    spec = build_spec({"world": mixture, "minGoalMeters": 1.0}, lidar={"beams": 16}, maxSteps=10)
    env = NavVectorEnv(spec, 4)
    for episode in range(12):
        seen = env.reset_to(episode)["observation"].clone()
        assert np.array_equal(NavVectorEnv(spec, 4).reset_to(episode)["observation"], seen)


ROUTE = {"startX": 1.0, "startY": 1.5, "startHeadingDegrees": 90.0, "goalX": 8.5, "goalY": 8.0}


def test_a_route_is_kept_to_the_digit_and_worlds_that_shut_it_are_drawn_anew():
    env = begun({"clutter": {"fill": 0.2, "walls": 1}}, 60, route=ROUTE)
    expected = [1.0, 1.5, math.pi / 2, 0.0, 0.0, 8.5, 8.0, math.hypot(7.5, 6.5), 0.0]
    assert env.arrays.robot == pytest.approx(np.tile(expected, (60, 1)), abs=1e-5)
    assert all(connected(env, i, 0.25) for i in range(60))
    assert len({env.arrays.grid[i].tobytes() for i in range(60)}) == 60


def test_noise_moves_a_routes_start_by_its_deviation():
    spec = build_spec({"world": {"empty": {}}, "route": {**ROUTE, "startX": 5.0, "startY": 5.0}},
                      lidar={"beams": 2}, randomization={"startMeters": 0.1, "startDegrees": 10.0})  # fmt: skip
    env = NavVectorEnv(spec, 4000)
    env.reset()
    rows = env.arrays.robot[:, : a.HEADING + 1]
    assert rows.mean(axis=0) == pytest.approx([5.0, 5.0, math.pi / 2], abs=0.01)
    assert rows.std(axis=0) == pytest.approx([0.1, 0.1, math.radians(10.0)], rel=0.05)


def test_noise_puts_nobody_into_a_wall():
    spec = build_spec({"world": {"empty": {}}, "route": {**ROUTE, "startX": 0.3, "startY": 5.0}},
                      lidar={"beams": 2}, randomization={"startMeters": 0.3})  # fmt: skip
    env = NavVectorEnv(spec, 500)
    env.reset()
    assert env.arrays.robot[:, a.X].min() >= 0.25


@pytest.mark.parametrize("change", [{"startX": -3.0}, {"goalX": 500.0}, {"startX": 0.1}])
def test_a_route_that_no_world_leaves_free_is_refused(change):
    with pytest.raises(SpecError, match=r"stages\[s0\]\.levels\.route.*no world drawn leaves it free"):
        begun({"clutter": {}}, 2, route=ROUTE | change)
