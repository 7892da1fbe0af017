"""The artificial potential field of Khatib 1986, "Real-time obstacle avoidance for manipulators and mobile robots".

The goal attracts with a force of constant size (a cone, so that far goals do not drown obstacles), what the scanner
hits within RHO_0 of the footprint repels (there: eta (1/rho - 1/rho_0) / rho^2 along the gradient of rho), and
the robot turns to the sum. It has local minima, and knows no way out of them: that is the method.
"""

import math

import numpy as np

from headway.envs.nav.arrays import POSE
from headway.envs.nav.jit import kernel
from headway.envs.planners.body import command, free_distance, in_robot_frame

RHO_0 = 0.8  # metres: farther away an obstacle has no influence
ETA = 0.03  # repulsion of a wall that fills one radian of the view, against an attraction of 1
CLOSEST = 0.05  # metres: the force grows no further
TURN_GAIN = 3.0  # rad/s for each rad between heading and force
SLOW_METERS = 0.4  # free distance from which on it slows down
SLOWEST = 0.25  # share of the top speed


@kernel
def force(body, beams, row, gx, gy):
    """Sum the forces on the robot of observation `row` [O] in its own frame. Returns (x, y, least free distance)."""
    distance = max(math.sqrt(gx * gx + gy * gy), 1e-6)
    fx = gx / distance
    fy = gy / distance
    size = beams.shape[0]
    spacing = math.acos(min(max(beams[0, 0] * beams[1, 0] + beams[0, 1] * beams[1, 1], -1.0), 1.0))
    nearest = np.inf
    for b in range(size):
        d = float(row[POSE + b])
        if d >= body.range_meters:
            continue
        rho = free_distance(body, d * beams[b, 0], d * beams[b, 1])
        nearest = min(nearest, rho)
        if rho < RHO_0:
            rho = max(rho, CLOSEST)
            # A beam stands for its share of the view, so that more beams are not more force.
            size_of = ETA * spacing * (1.0 / rho - 1.0 / RHO_0) / (rho * rho)
            fx -= size_of * beams[b, 0]
            fy -= size_of * beams[b, 1]
    return fx, fy, nearest


@kernel(nogil=True)
def potential_all(body, beams, rows, goals, action):
    """Act on observations `rows` [N, O] and `goals` [N, 2]; writes `action` [N, 2]."""
    for i in range(rows.shape[0]):
        gx, gy = in_robot_frame(rows[i], goals[i])
        fx, fy, nearest = force(body, beams, rows[i], gx, gy)
        error = math.atan2(fy, fx)
        share = max(math.cos(error), 0.0) ** 2 * min(max(nearest / SLOW_METERS, SLOWEST), 1.0)
        command(body, share * body.max_speed, TURN_GAIN * error, action[i])
