import math

import numpy as np
import pytest
from headway.envs.nav.grid import cast_ray, finish_world, flood, obstacle_distance, swath_is_free
from headway.envs.nav.shapes import OBSTACLE
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.envs_tests.conftest import empty_world

f32 = np.float32


def world(occupied):
    """The world of a grid given as 0/1 rows, bottom row first, with a ring of solid cells around it."""
    occupied = np.asarray(occupied, bool)
    made = empty_world(occupied.shape[0] + 2, occupied.shape[1] + 2)
    made.grid[1:-1, 1:-1][occupied] = OBSTACLE
    finish_world(made)
    return made


def random_world(seed, side=24, share=0.08):
    return world(np.random.default_rng(seed).random((side, side)) < share)


def squares(made):
    return [(x, y) for y, x in zip(*np.nonzero(made.grid == OBSTACLE), strict=True)]


def slab_hit(px, py, dx, dy, x, y):
    """Where a ray enters the unit square at (x, y), by clipping against its four sides; inf if it does not."""
    near, far = 0.0, math.inf
    for p, d, low in ((px, dx, x), (py, dy, y)):
        if d == 0:
            if not low <= p <= low + 1:
                return math.inf
            continue
        a, b = sorted(((low - p) / d, (low + 1 - p) / d))
        near, far = max(near, a), min(far, b)
    return near if near <= far else math.inf


def free_point(made, rng):
    grid = made.grid
    while True:
        px, py = rng.uniform(1, grid.shape[1] - 1), rng.uniform(1, grid.shape[0] - 1)
        if grid[int(py), int(px)] != OBSTACLE:
            return f32(px), f32(py)


def test_clearance_is_the_chessboard_distance_to_the_nearest_obstacle():
    made = random_world(3)
    grid, obstacles = made.grid, np.array(squares(made))
    for y in range(grid.shape[0]):
        for x in range(grid.shape[1]):
            assert grid[y, x] == np.abs(obstacles - (x, y)).max(axis=1).min()


def test_clearance_stops_at_255():
    grid = world(np.zeros((600, 600))).grid
    assert grid[300, 300] == 255
    assert grid[100, 300] == 100


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.02, 0.1, 0.3]))
def test_rays_meet_what_a_brute_force_caster_meets(seed, share):
    grid = random_world(seed, share=share)
    rng = np.random.default_rng(seed)
    obstacles = squares(grid)
    for _ in range(8):
        px, py = free_point(grid, rng)
        angle = rng.uniform(-math.pi, math.pi)
        dx, dy = f32(math.cos(angle)), f32(math.sin(angle))
        expected = min(slab_hit(float(px), float(py), float(dx), float(dy), x, y) for x, y in obstacles)
        assert cast_ray(grid, px, py, dx, dy, f32(100.0)) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(("dx", "dy", "distance"), [(1, 0, 2.5), (-1, 0, 1.5), (0, 1, 2.5), (0, -1, 1.5)])
def test_rays_along_the_axes_are_exact(dx, dy, distance):
    grid = world(np.zeros((4, 4)))  # free from 1 to 5
    assert cast_ray(grid, f32(2.5), f32(2.5), f32(dx), f32(dy), f32(9.0)) == distance


def test_a_ray_ends_at_its_range():
    assert cast_ray(world(np.zeros((30, 30))), f32(15), f32(15), f32(1), f32(0), f32(4.0)) == 4.0


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), limit=st.floats(0.3, 12.0))
def test_obstacle_distance_is_exact_up_to_its_limit(seed, limit):
    grid = random_world(seed, share=0.03)
    px, py = free_point(grid, np.random.default_rng(seed))
    true = min(
        math.hypot(max(x - px, 0, px - x - 1), max(y - py, 0, py - y - 1)) for x, y in squares(grid)
    )  # fmt: skip
    assert obstacle_distance(grid, px, py, f32(limit)) == pytest.approx(min(true, limit), abs=1e-4)


def test_a_disc_passes_a_gap_of_its_width_and_no_narrower_one():
    rows = np.zeros((9, 9))
    rows[4, :] = 1
    rows[4, 3:6] = 0  # a gap of three cells, from x = 4 to 7 with the ring
    grid = world(rows)
    for radius, free in ((1.4, True), (1.6, False)):
        assert swath_is_free(grid, f32(5.5), f32(2.5), f32(5.5), f32(8.5), f32(radius)) is free


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.01, 0.05]), radius=st.floats(0.5, 4.0))
def test_a_swath_is_free_where_dense_probes_along_it_are(seed, share, radius):
    made = random_world(seed, share=share)
    rng = np.random.default_rng(seed)
    for _ in range(8):
        ax, ay = free_point(made, rng)
        bx, by = free_point(made, rng)
        ways = np.linspace(0.0, 1.0, 600, dtype=np.float32)
        nearest = min(obstacle_distance(made, ax + t * (bx - ax), ay + t * (by - ay), f32(9.0)) for t in ways)
        if swath_is_free(made, ax, ay, bx, by, f32(radius)):
            assert nearest >= math.sqrt(radius**2 - 0.15**2) - 1e-3  # a corner between two probes 0.3 apart
        else:
            assert nearest < radius + 0.05


def test_flood_reaches_through_gaps_that_the_disc_fits_and_no_others():
    rows = np.zeros((9, 9))
    rows[4, :] = 1
    rows[4, 4] = 0  # one cell wide
    made = world(rows)
    reached, queue = np.zeros(made.grid.shape, np.uint8), np.zeros(made.grid.size, np.int32)
    # A small disc reaches all 72 cells beside the wall and the gap.
    assert flood(made, 5, 2, f32(0.4), reached, queue) == 73
    reached[:] = 0
    # For a disc of radius 1 cell the 9 x 4 cells below the wall shrink by one on each side, to 7 x 2.
    assert flood(made, 5, 2, f32(1.0), reached, queue) == 14
