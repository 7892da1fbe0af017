"""Beams against the borders of coarse cells: by hand, and against single rays."""

import math

import numpy as np
import pytest
from headway.envs.nav.coarse import SIDE, is_coarse, pack
from headway.envs.nav.grid import cast_ray
from headway.envs.nav.lidar import BOUND, LANES, aim, meet_cells, new_block
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.envs_tests.test_grid import free_point, random_world
from trainer_tests.envs_tests.test_grid import world as of_cells

f32 = np.float32


def ranges(made, px, py, angles, limit):
    """Distances in cells along at most LANES angles."""
    block, beams = new_block(), np.stack([np.cos(angles), np.sin(angles)]).astype(f32)
    words = np.zeros(2 * SIDE, np.uint32)
    pack(made.grid, words)
    aim(block, f32(px), f32(py), f32(1.0), f32(0.0), beams, 0, f32(limit))
    meet_cells(block, made, words, f32(px), f32(py))
    return block.values[BOUND : BOUND + LANES][: len(angles)].tolist()


def test_no_beam_slips_between_two_cells_that_touch_at_a_corner():
    made = of_cells([[0, 1], [1, 0]])  # free are (1, 1) and (2, 2)
    angles = [0.0, math.pi / 4, math.pi / 2, math.pi, -3 * math.pi / 4]
    found = ranges(made, 1.5, 1.5, angles, 9.0)
    assert found == pytest.approx([0.5, math.sqrt(0.5), 0.5, 0.5, math.sqrt(0.5)], abs=1e-4)
    assert ranges(made, 1.5, 1.5, angles[:1], 0.25) == [0.25]
    assert ranges(made, 2.5, 1.5, angles, 9.0) == [0.0] * 5


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.1, 0.3]), limit=st.floats(0.5, 30.0))
def test_beams_are_rays_cast_alone_or_ones_beside_them_where_they_graze_a_corner(seed, share, limit):
    rng = np.random.default_rng(seed)
    made = random_world(seed, int(rng.integers(3, SIDE - 1)), share)
    if not (made.grid[1:-1, 1:-1] != 0).any():
        return
    px, py = free_point(made, rng)
    angles = rng.uniform(-math.pi, math.pi, LANES)
    for angle, found in zip(angles, ranges(made, px, py, angles, limit), strict=True):
        near = [angle - 1e-4, angle, angle + 1e-4]
        alone = [cast_ray(made, px, py, f32(math.cos(a)), f32(math.sin(a)), f32(limit)) for a in near]
        assert min(alone) - 1e-4 <= found <= max(alone) + 1e-4


@pytest.mark.parametrize(("side", "coarse"), [(SIDE - 2, True), (SIDE - 1, False)])
def test_a_column_must_fit_into_a_word(side, coarse):
    assert is_coarse(of_cells(np.zeros((side, side)))) == coarse
