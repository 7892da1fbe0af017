"""Discs, segments and polygons against closed forms in double precision."""

import math

import numpy as np
import pytest
from headway.envs.nav.grid import cast_ray, finish_world, fits, flood, obstacle_distance
from headway.envs.nav.shapes import (
    add_box,
    add_convex,
    add_disc,
    add_segment,
    begin_world,
    block_cell,
    overflowed,
    set_corner,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.envs_tests.conftest import empty_world

f32 = np.float32
SIDE = 20.0


def add_polygon(made, corners):
    for k, (x, y) in enumerate(corners):
        set_corner(made, k, f32(x), f32(y))
    add_convex(made, len(corners))


def random_world(seed, count):
    """A world of 20 x 20 inner cells with `count` shapes of each kind, and the same as shapely geometries."""
    rng = np.random.default_rng(seed)
    made = empty_world(22, 22)
    walls = [((1, 1), (21, 1)), ((21, 1), (21, 21)), ((21, 21), (1, 21)), ((1, 21), (1, 1))]
    shapes = [("segment", *ends) for ends in walls]
    for _ in range(count):
        x, y, r = (float(f32(v)) for v in (rng.uniform(0, 22), rng.uniform(0, 22), rng.uniform(0.05, 3)))
        add_disc(made, f32(x), f32(y), f32(r))
        shapes.append(("disc", (x, y), r))
        ends = rng.uniform(1, 21, (2, 2)).astype(f32)
        add_segment(made, *ends.ravel())
        shapes.append(("segment", tuple(ends[0].tolist()), tuple(ends[1].tolist())))
        angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 8)))[:: rng.choice([-1, 1])]
        around = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(0.2, 3) + rng.uniform(0, 22, 2)
        add_polygon(made, around.astype(f32).tolist())
        shapes.append(("polygon", around.astype(f32).tolist()))
        cell = rng.integers(1, 21, 2)
        block_cell(made, int(cell[0]), int(cell[1]))
        cx, cy = cell.tolist()
        shapes.append(("polygon", [(cx, cy), (cx + 1, cy), (cx + 1, cy + 1), (cx, cy + 1)]))
    finish_world(made)
    assert not overflowed(made)
    return made, shapes


def edges(corners):
    return list(zip(corners, [*corners[1:], corners[0]], strict=True))


def inside(corners, p):
    sides = [(b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) for a, b in edges(corners)]
    return min(sides) >= 0 or max(sides) <= 0


def true_hit(shape, p, d):
    """Distance along the ray by closed forms: the circle's quadratic, crossings of segments."""
    kind = shape[0]
    if kind == "disc":
        o = np.subtract(shape[1], p)
        along, aside = o @ d, o[0] * d[1] - o[1] * d[0]
        if abs(aside) > shape[2]:
            return math.inf
        half = math.sqrt(shape[2] ** 2 - aside**2)
        return max(along - half, 0.0) if along + half >= 0 else math.inf
    if kind == "polygon" and inside(shape[1], p):
        return 0.0
    best = math.inf
    for a, b in [shape[1:]] if kind == "segment" else edges(shape[1]):
        matrix = np.array([d, np.subtract(a, b)]).T
        if abs(np.linalg.det(matrix)) > 1e-12:
            t, share = np.linalg.solve(matrix, np.subtract(a, p))
            if t >= 0 and 0 <= share <= 1:
                best = min(best, float(t))
    return best


def to_segment(a, b, p):
    a, u = np.asarray(a), np.subtract(b, a)
    share = np.clip((np.subtract(p, a) @ u) / max(u @ u, 1e-300), 0.0, 1.0)
    return math.dist(a + share * u, p)


def true_distance(shapes, p):
    def one(kind, *data):
        if kind == "disc":
            return max(math.dist(data[0], p) - data[1], 0.0)
        if kind == "segment":
            return to_segment(*data, p)
        return 0.0 if inside(data[0], p) else min(to_segment(*edge, p) for edge in edges(data[0]))

    return min(one(*shape) for shape in shapes)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4))
def test_rays_end_where_the_closed_forms_say(seed, count):
    made, shapes = random_world(seed, count)
    rng = np.random.default_rng(seed)
    for _ in range(12):
        p = rng.uniform(1.01, 20.99, 2).astype(f32)
        angle = rng.uniform(-math.pi, math.pi)
        d32 = np.array([math.cos(angle), math.sin(angle)], f32)
        p64, d64 = p.astype(np.float64), d32.astype(np.float64)
        # A ray that grazes a corner or a rim may pass on either side of it: both neighbours are right then.
        turned = [d64 + s * 1e-6 * np.array([-d64[1], d64[0]]) for s in (-1, 0, 1)]
        true = [min(true_hit(shape, p64, d) for shape in shapes) for d in turned]
        found = float(cast_ray(made, *p, *d32, f32(100)))
        assert min(true) - 1e-4 <= found <= max(true) + 1e-4


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4), limit=st.floats(0.3, 12.0))
def test_distances_are_those_of_the_closed_forms(seed, count, limit):
    made, shapes = random_world(seed, count)
    rng = np.random.default_rng(seed)
    for _ in range(8):
        p = rng.uniform(1.01, 20.99, 2).astype(f32)
        true = true_distance(shapes, p.astype(np.float64))
        assert float(obstacle_distance(made, *p, f32(limit))) == pytest.approx(min(true, limit), abs=1e-4)


def test_a_ray_meets_a_circle_at_the_hand_worked_point():
    made = empty_world(12, 12)
    add_disc(made, f32(8), f32(5.5), f32(1.5))
    finish_world(made)
    # Aimed 0.9 beside the centre: half a chord of sqrt(1.5^2 - 0.9^2) = 1.2, so the hit is at x = 6.8.
    assert cast_ray(made, f32(2), f32(6.4), f32(1), f32(0), f32(9)) == pytest.approx(4.8, abs=1e-6)
    assert cast_ray(made, f32(2), f32(7.1), f32(1), f32(0), f32(9)) == pytest.approx(9.0)  # passes over it to the wall


def test_a_ray_goes_on_where_it_misses_the_shape_of_a_cell():
    made = empty_world(12, 12)
    add_disc(made, f32(5.5), f32(5.5), f32(0.4))  # the ray passes the same cell beside it
    add_segment(made, f32(8), f32(5), f32(9), f32(6))
    finish_world(made)
    assert cast_ray(made, f32(2), f32(5.95), f32(1), f32(0), f32(9)) == pytest.approx(6.95, abs=1e-5)


def test_cells_that_a_shape_covers_are_solid():
    made = empty_world(12, 12)
    add_box(made, f32(6), f32(6), f32(4), f32(4), f32(0))
    finish_world(made)
    solid = (made.grid == 0) & (made.heads == 0)
    assert solid[4:8, 4:8].all()
    assert cast_ray(made, f32(2), f32(6.3), f32(1), f32(0), f32(9)) == pytest.approx(2.0, abs=1e-5)
    assert obstacle_distance(made, f32(6.2), f32(5.1), f32(3)) == 0


def test_a_box_stands_at_its_angle():
    made = empty_world(12, 12)
    add_box(made, f32(6), f32(6), f32(4), f32(1), f32(math.pi / 4))
    finish_world(made)
    # Along y = 6 the half width of 0.5 appears as 0.5 * sqrt(2).
    assert cast_ray(made, f32(2), f32(6), f32(1), f32(0), f32(9)) == pytest.approx(4 - math.sqrt(0.5), abs=1e-5)
    # (8, 5) lies sqrt(4.5) beside the long axis, within the length.
    assert obstacle_distance(made, f32(8), f32(5), f32(5)) == pytest.approx(math.sqrt(4.5) - 0.5, abs=1e-5)


@pytest.mark.parametrize(("records", "entries"), [(3, 4000), (64, 5)])
def test_what_does_not_fit_into_the_tables_is_reported(records, entries):
    made = empty_world(22, 22, records, entries)
    add_box(made, f32(9.5), f32(9.5), f32(3), f32(3), f32(0.3))
    assert overflowed(made)


def test_a_world_begun_anew_forgets_its_shapes():
    made, _ = random_world(3, 2)
    fresh = empty_world(22, 22)
    begin_world(made)
    assert (made.grid == fresh.grid).all()
    assert not made.heads.any()
    assert not made.used.any()


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), radius=st.floats(0.1, 2.5))
def test_a_disc_fits_in_a_cell_exactly_where_nothing_is_nearer_than_its_radius(seed, radius):
    made, shapes = random_world(seed, 2)
    for x, y in np.random.default_rng(seed).integers(1, 21, (20, 2)).tolist():
        true = true_distance(shapes, (x + 0.5, y + 0.5))
        if abs(true - radius) > 1e-3:
            assert fits(made, x, y, f32(radius)) == (true > radius)


def test_flood_passes_between_two_discs_that_leave_room():
    made = empty_world(11, 11)
    for y in (2.0, 9.0):  # a wall of discs across, open from y = 4.4 to 6.6 (radius 2.4) in the middle
        add_disc(made, f32(5.5), f32(y), f32(2.4))
    finish_world(made)
    reached, queue = np.zeros((11, 11), np.uint8), np.zeros(121, np.int32)
    flood(made, 2, 5, f32(0.9), reached, queue)
    assert reached[5, 8]
    reached[:] = 0
    flood(made, 2, 5, f32(1.2), reached, queue)
    assert not reached[5, 8]
