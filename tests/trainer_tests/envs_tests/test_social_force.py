import math

import numpy as np
import pytest
from headway.envs.nav import social_force as s

f32 = np.float32


def potential(x, y, ux, uy):
    """Equation 3 of Helbing and Molnar, written down once more."""
    sx, sy = 2.0 * ux, 2.0 * uy
    around = math.hypot(x, y) + math.hypot(x - sx, y - sy)
    return 2.1 * math.exp(-math.sqrt(around**2 - sx**2 - sy**2) / 2 / 0.3)


@pytest.mark.parametrize("case", [(-0.5, 0.4, 0.0, 0.0), (-0.6, 0.1, -0.7, 0.2), (0.8, -0.9, 0.5, 0.5)])
def test_the_force_is_the_falling_gradient_of_the_potential(case):
    x, y, ux, uy = case
    h = 1e-5
    expected = (
        -(potential(x + h, y, ux, uy) - potential(x - h, y, ux, uy)) / (2 * h),
        -(potential(x, y + h, ux, uy) - potential(x, y - h, ux, uy)) / (2 * h),
    )
    ahead = -np.array(expected) / np.hypot(*expected)  # looking straight at it: full weight
    assert s.repulsion(*map(f32, (*case, *ahead))) == pytest.approx(expected, rel=1e-3)


def test_a_standing_person_pushes_as_the_paper_says_and_half_as_much_from_behind():
    # Standing: b = r, so V0 / sigma exp(-r / sigma) = 7 exp(-2) at 0.6 m.
    full = 7.0 * math.exp(-2.0)
    assert s.repulsion(*map(f32, (-0.6, 0, 0, 0, 1, 0))) == pytest.approx((-full, 0.0), abs=1e-4)
    assert s.repulsion(*map(f32, (-0.6, 0, 0, 0, -1, 0))) == pytest.approx((-full / 2, 0.0), abs=1e-4)


def test_walls_push_by_fifty_at_contact_and_a_potential_falls_by_e_in_a_fifth_of_a_metre():
    assert s.wall_repulsion(f32(0.0)) == pytest.approx(50.0)
    assert s.wall_repulsion(f32(0.2)) == pytest.approx(50.0 / math.e, rel=1e-5)


def test_a_person_takes_up_the_wanted_velocity_within_the_top_speed():
    # From rest with 0.5 s of relaxation: 1 m/s / 0.5 s * 0.2 s = 0.4 m/s.
    assert s.accelerate(*map(f32, (0, 0, 1, 0, 0, 0, 1, 0.2))) == pytest.approx((0.4, 0.0))
    assert s.accelerate(*map(f32, (1, 0, 1, 0, 30, 40, 1, 0.2))) == pytest.approx(
        (1.3 * 7 / np.hypot(7, 8), 1.3 * 8 / np.hypot(7, 8))
    )
