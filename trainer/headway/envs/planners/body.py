"""What a planner knows of the robot that it drives, and the obstacle points that a scan shows.

The robot's frame: x ahead, y to the left. Metres, seconds, radians.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from headway_api.nav_spec import NavEnv

from headway.envs.nav.arrays import POSE
from headway.envs.nav.jit import kernel

SPACING = 0.1  # of the points that close a gap between two beams, in metres
FILL = 4  # most points a beam


class Body(NamedTuple):
    """Limits, footprint and scanner. The footprint is a rectangle grown by `rounding`: a disc is a grown point."""

    min_speed: float
    max_speed: float
    max_turn: float
    acceleration: float
    turn_acceleration: float
    step_seconds: float
    half_length: float
    half_width: float
    rounding: float
    inner_radius: float
    outer_radius: float
    range_meters: float
    circular: bool  # the last beam is a neighbour of the first


def body_of(nav: NavEnv) -> Body:
    """Translate the contract."""
    robot, shape = nav.robot, nav.robot.footprint
    box, disc = shape.rectangle, shape.disc
    return Body(
        min_speed=robot.min_speed,
        max_speed=robot.max_speed,
        max_turn=robot.max_turn_rate,
        acceleration=robot.max_acceleration,
        turn_acceleration=robot.max_turn_acceleration,
        step_seconds=nav.step_seconds,
        half_length=box.length_meters / 2 if box else 0.0,
        half_width=box.width_meters / 2 if box else 0.0,
        rounding=disc.radius_meters if disc else 0.0,
        inner_radius=shape.inner_radius,
        outer_radius=shape.outer_radius,
        range_meters=nav.lidar.range_meters,
        circular=nav.lidar.field_of_view_degrees == 360.0,
    )


@kernel
def in_robot_frame(row, goal):
    """Return the goal [2] as the robot of observation `row` [O] sees it."""
    dx = float(goal[0]) - float(row[0])
    dy = float(goal[1]) - float(row[1])
    return dx * row[2] + dy * row[3], dy * row[2] - dx * row[3]


@kernel
def command(body, speed, turn, action):
    """Write the action [2] that asks for a speed in m/s and a turn rate in rad/s."""
    share = (speed - body.min_speed) / (body.max_speed - body.min_speed)
    action[0] = min(max(2.0 * share - 1.0, -1.0), 1.0)
    action[1] = min(max(turn / body.max_turn, -1.0), 1.0)


@kernel
def wrap(angle):
    """Bring an angle to [-pi, pi]."""
    return math.atan2(math.sin(angle), math.cos(angle))


@kernel
def free_distance(body, x, y):
    """Distance from the footprint to a point of the robot's frame, in metres; 0 inside."""
    dx = max(abs(x) - body.half_length, 0.0)
    dy = max(abs(y) - body.half_width, 0.0)
    return max(math.sqrt(dx * dx + dy * dy) - body.rounding, 0.0)


@kernel
def obstacle_points(body, beams, row, reach, points):
    """Write what the newest scan of observation `row` hits within `reach` of the centre to `points` [FILL * B, 2].

    Two neighbouring hits with too little room between them for the robot are one obstacle: the gap is filled with
    points, or few beams would look through walls. Returns how many points there are.
    """
    count = 0
    size = beams.shape[0]
    gap = 2.0 * body.inner_radius
    for b in range(size):
        d = float(row[POSE + b])
        if d >= body.range_meters:
            continue
        x = d * beams[b, 0]
        y = d * beams[b, 1]
        if d <= reach:
            points[count, 0] = x
            points[count, 1] = y
            count += 1
        following = (b + 1) % size
        e = float(row[POSE + following])
        if e >= body.range_meters or (following == 0 and not body.circular):
            continue
        dx = e * beams[following, 0] - x
        dy = e * beams[following, 1] - y
        apart = math.sqrt(dx * dx + dy * dy)
        if apart > gap or min(d, e) > reach:
            continue
        pieces = min(int(apart / SPACING) + 1, FILL)
        for k in range(1, pieces):
            points[count, 0] = x + dx * k / pieces
            points[count, 1] = y + dy * k / pieces
            count += 1
    return count


def new_points(beams: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Room for the points of one scan, [FILL * B, 2]."""
    return np.empty((FILL * beams, 2))
