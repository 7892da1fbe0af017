"""The lockstep scan against single rays, and discs against the closed form."""

import math

import numpy as np
import pytest
from headway.envs.nav.grid import cast_ray
from headway.envs.nav.lidar import BOUND, LANES, T, aim, march, new_block, see_disc
from headway.envs.nav.shapes import disc_hit
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.envs_tests.test_grid import free_point
from trainer_tests.envs_tests.test_grid import random_world as cells_alone
from trainer_tests.envs_tests.test_shapes import random_world as with_shapes

f32 = np.float32


def directions(count):
    angles = np.linspace(-math.pi, math.pi, count, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)]).astype(f32)


def lockstep(made, px, py, heading, beams, limit):
    """All ranges [B] in cells, block by block as `scan` does."""
    block, ranges = new_block(), []
    for first in range(0, beams.shape[1], LANES):
        aim(block, px, py, f32(math.cos(heading)), f32(math.sin(heading)), beams, first, f32(limit))
        march(block, made, px, py)
        found = np.minimum(block.values[T : T + LANES], block.values[BOUND : BOUND + LANES])
        ranges += found[: beams.shape[1] - first].tolist()
    return ranges


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
    shapes=st.booleans(),
    count=st.sampled_from([1, 31, 32, 200]),
    limit=st.floats(0.5, 40.0),
)
def test_every_beam_is_the_ray_cast_alone(seed, share, shapes, count, limit):
    made = with_shapes(seed, 2)[0] if shapes else cells_alone(seed, share=share)
    rng = np.random.default_rng(seed)
    px, py = free_point(made, rng) if not shapes else rng.uniform(1.1, 20.9, 2).astype(f32)
    heading, beams = float(rng.choice([0.0, rng.uniform(-3, 3)])), directions(count)
    cos_h, sin_h = f32(math.cos(heading)), f32(math.sin(heading))
    alone = [
        cast_ray(made, px, py, cos_h * x - sin_h * y, sin_h * x + cos_h * y, f32(limit)) for x, y in beams.T
    ]  # fmt: skip
    assert lockstep(made, px, py, heading, beams, limit) == pytest.approx(alone, abs=2e-5)


@settings(max_examples=60)
@given(
    ox=st.floats(-6, 6), oy=st.floats(-6, 6), radius=st.floats(0.05, 1.0), heading=st.floats(-3, 3),
    limit=st.floats(0.5, 5.0),
)  # fmt: skip
def test_a_disc_shortens_the_beams_that_meet_it(ox, oy, radius, heading, limit):
    beams, cos_h, sin_h = directions(36), f32(math.cos(heading)), f32(math.sin(heading))
    ranges = np.full(36, limit, f32)
    see_disc(ranges, f32(ox), f32(oy), f32(radius), cos_h, sin_h, beams, f32(limit))
    for b, (x, y) in enumerate(beams.T):
        dx, dy = cos_h * x - sin_h * y, sin_h * x + cos_h * y
        alone = float(disc_hit(f32(ox), f32(oy), f32(radius), dx, dy))
        # A beam that grazes the disc, or begins on its rim, may pass on either side.
        if min(abs(abs(ox * float(dy) - oy * float(dx)) - radius), abs(math.hypot(ox, oy) - radius)) > 1e-4:
            assert ranges[b] == pytest.approx(min(alone, limit), abs=1e-4 if radius > 0.1 else 1e-3)
