"""Social forces (Helbing and Molnar: "Social force model for pedestrian dynamics", Physical Review E 51, 1995).

Accelerations in m/s^2, with the paper's constants (its equations 2 to 8). Distances are between centres, and to the
nearest point of a wall, as there.
"""

import math

import numpy as np

from headway.envs.nav.jit import kernel

f32 = np.float32
RELAXATION = f32(0.5)  # s: in which a person takes up the wanted velocity (tau)
PERSON_POTENTIAL = f32(2.1)  # m^2/s^2 (V0)
PERSON_REACH = f32(0.3)  # m (sigma)
STRIDE_SECONDS = f32(2.0)  # how far ahead others' steps count (Delta t)
WALL_POTENTIAL = f32(10.0)  # m^2/s^2 (U0)
WALL_REACH = f32(0.2)  # m (R)
SIGHT = f32(math.cos(math.radians(100.0)))  # what is outside of 200 degrees ahead ...
UNSEEN = f32(0.5)  # ... counts for this much (c)
TOP_SPEED = f32(1.3)  # times the wanted speed (v_max)


@kernel
def repulsion(rx, ry, ux, uy, ex, ey):
    """Acceleration that another body causes, (x, y).

    (rx, ry): own position less the other's; (ux, uy): the other's velocity; (ex, ey): the wanted direction. The other's
    potential is constant on ellipses around it and the place where it will be (equations 3 and 4):
    V = V0 exp(-b / sigma), 2 b = sqrt((|r| + |r - s|)^2 - |s|^2), s = u Delta t; so the force is
    V0 / sigma exp(-b / sigma) (|r| + |r - s|) / (4 b) (r / |r| + (r - s) / |r - s|).
    """
    sx = ux * STRIDE_SECONDS
    sy = uy * STRIDE_SECONDS
    near = max(f32(math.sqrt(rx * rx + ry * ry)), f32(1e-3))
    ahead = max(f32(math.sqrt((rx - sx) * (rx - sx) + (ry - sy) * (ry - sy))), f32(1e-3))
    around = near + ahead
    b = max(f32(0.5) * f32(math.sqrt(max(around * around - sx * sx - sy * sy, f32(0.0)))), f32(1e-3))
    size = PERSON_POTENTIAL / PERSON_REACH * f32(math.exp(-b / PERSON_REACH)) * around / (f32(4.0) * b)
    fx = size * (rx / near + (rx - sx) / ahead)
    fy = size * (ry / near + (ry - sy) / ahead)
    seen = -(ex * fx + ey * fy) >= SIGHT * f32(math.sqrt(fx * fx + fy * fy))  # equation 8
    return (fx, fy) if seen else (UNSEEN * fx, UNSEEN * fy)


@kernel
def wall_repulsion(distance):
    """Acceleration away from the nearest point of a wall (equation 5): U0 / R exp(-distance / R)."""
    return WALL_POTENTIAL / WALL_REACH * f32(math.exp(-distance / WALL_REACH))


@kernel
def accelerate(vx, vy, wx, wy, fx, fy, speed, seconds):
    """New velocity: towards the wanted one (wx, wy) with relaxation, by the forces, within the top speed."""
    vx += ((wx - vx) / RELAXATION + fx) * seconds
    vy += ((wy - vy) / RELAXATION + fy) * seconds
    fast = f32(math.sqrt(vx * vx + vy * vy))
    top = TOP_SPEED * speed
    return (vx, vy) if fast <= top else (vx / fast * top, vy / fast * top)
