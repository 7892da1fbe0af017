"""The dynamic window approach of Fox, Burgard and Thrun 1997, "The dynamic window approach to collision avoidance".

Of the velocities that the accelerations allow within one step, those are admissible from which the robot can brake
before the first obstacle on its arc (section 4.1). Among them the one is chosen that weighs best (equation 13): heading
after the step, clearance of the true footprint from the scan's points, and speed; and, as in ROS' dwa_local_planner,
how much nearer to the target it comes. The target is `guide`'s, on a way through what the scans have shown.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.envs.nav.jit import kernel
from headway.envs.planners.body import command, in_robot_frame, new_points, obstacle_points, wrap
from headway.envs.planners.guide import CELL, NEVER, guide

SPEEDS, TURNS = 20, 21  # samples of the window; an odd number of turn rates holds its middle
HOPELESS = -1e6  # below any admissible velocity
STANDING = 0.05  # m/s
ASIDE = 0.15  # rad between heading and target above which a robot that stands turns
TURN_GAIN = 3.0  # rad/s for each rad


class Tuning(NamedTuple):
    """Weights of the terms, each of which lies in [0, 1], and the reach of the simulation."""

    heading: float = 0.3
    clearance: float = 0.4
    speed: float = 0.1
    progress: float = 1.0
    horizon_seconds: float = 1.6
    tick_seconds: float = 0.1
    clear_meters: float = 0.4  # more free distance than this is no better
    margin_meters: float = 0.05  # free distance that counts as contact: points say nothing of what lies between them


TUNED = Tuning()


@kernel
def footprint_clearance(body, points, x, y, turned):
    """Free distance from the footprint at pose (x, y, turned) to the nearest of `points` [P, 2]; negative inside."""
    cos_t = math.cos(turned)
    sin_t = math.sin(turned)
    least = np.inf
    for p in range(points.shape[0]):
        dx = points[p, 0] - x
        dy = points[p, 1] - y
        ex = max(abs(dx * cos_t + dy * sin_t) - body.half_length, 0.0)
        ey = max(abs(dy * cos_t - dx * sin_t) - body.half_width, 0.0)
        square = ex * ex + ey * ey
        if square < least:
            least = square
    return math.sqrt(least) - body.rounding


@kernel
def arc(speed, turn, seconds):
    """Where constant velocities lead: (x, y, heading) in the robot's frame."""
    turned = turn * seconds
    half = 0.5 * turned
    chord = speed * seconds * (math.sin(half) / half if abs(half) > 1e-6 else 1.0)
    return chord * math.cos(half), chord * math.sin(half), turned


@kernel
def try_out(body, tuning, points, margin, speed, turn):
    """Simulate constant velocities. Returns (seconds until contact, else the horizon; least free distance before)."""
    seconds = tuning.horizon_seconds
    ticks = max(1, math.ceil(seconds / tuning.tick_seconds))
    least = tuning.clear_meters
    for k in range(1, ticks + 1):
        t = seconds * k / ticks
        x, y, turned = arc(speed, turn, t)
        free = footprint_clearance(body, points, x, y, turned)
        if free <= margin:
            return seconds * (k - 1) / ticks, 0.0
        least = min(least, free)
    return seconds, least


@kernel
def admissible(body, speed, turn, until):
    """Say whether the robot can still brake after the next step, before the contact `until` seconds from now."""
    left = until - body.step_seconds
    return abs(speed) <= 2.0 * body.acceleration * left and abs(turn) <= 2.0 * body.turn_acceleration * left


@kernel
def score(body, tuning, points, margin, speed, turn, gx, gy):
    """Weigh one velocity; where it is not admissible, the later the contact the better, but below all that are."""
    goal = math.sqrt(gx * gx + gy * gy)
    until, least = try_out(body, tuning, points, margin, speed, turn)
    if until < tuning.horizon_seconds and not admissible(body, speed, turn, until):
        return HOPELESS + until - abs(speed) / body.acceleration
    # Heading: after this step and braking the turn as fast as it goes (section 4.2.1 of the paper).
    braking = abs(turn) / body.turn_acceleration
    x, y, turned = arc(speed, turn, body.step_seconds)
    error = wrap(math.atan2(gy - y, gx - x) - turned - 0.5 * turn * braking)
    if abs(speed) > 0:  # past the target nothing is gained
        until = min(until, max(goal / abs(speed), body.step_seconds))
    x, y, _ = arc(speed, turn, until)
    left = math.sqrt((gx - x) ** 2 + (gy - y) ** 2)
    return (
        tuning.heading * (1.0 - abs(error) / math.pi)
        + tuning.clearance * least / tuning.clear_meters
        + tuning.speed * max(speed, 0.0) / body.max_speed
        + tuning.progress * (goal - left) / (body.max_speed * tuning.horizon_seconds)
    )


@kernel
def turn_on_spot(body, tuning, points, margin, low, high, error):
    """Turn rate in [low, high] towards a target `error` aside, else the other way round; 0 if both are blocked.

    Clearance counts over the whole horizon and heading after one step, so the weights alone let a rectangle stand
    for ever where turning brings a corner nearer to something, as little as that matters. move_base turns, too.
    """
    for k in range(2):
        left = (error > 0) == (k == 0)
        turn = min(high, TURN_GAIN * abs(error)) if left else max(low, -TURN_GAIN * abs(error))
        until, _ = try_out(body, tuning, points, margin, 0.0, turn)
        if until >= tuning.horizon_seconds or admissible(body, 0.0, turn, until):
            return turn
    return 0.0


@kernel
def choose(body, tuning, points, speed, turn, gx, gy, action):
    """Write the best command of the dynamic window."""
    low_v = max(body.min_speed, speed - body.acceleration * body.step_seconds)
    high_v = min(body.max_speed, speed + body.acceleration * body.step_seconds)
    low_w = max(-body.max_turn, turn - body.turn_acceleration * body.step_seconds)
    high_w = min(body.max_turn, turn + body.turn_acceleration * body.step_seconds)
    # Already nearer than the margin, the robot must be able to leave.
    margin = min(tuning.margin_meters, 0.8 * footprint_clearance(body, points, 0.0, 0.0, 0.0))
    best, best_v, best_w = -np.inf, 0.0, 0.0
    for a in range(SPEEDS):
        v = low_v + (high_v - low_v) * a / (SPEEDS - 1)
        for b in range(TURNS):
            w = low_w + (high_w - low_w) * b / (TURNS - 1)
            value = score(body, tuning, points, margin, v, w, gx, gy)
            if value > best:
                best, best_v, best_w = value, v, w
    error = math.atan2(gy, gx)
    if abs(best_v) < STANDING and abs(error) > ASIDE:
        best_w = turn_on_spot(body, tuning, points, margin, low_w, high_w, error)
    command(body, best_v, best_w, action)


class Memory(NamedTuple):
    """What the planner remembers of N episodes, and its scratch; see `guide`. S cells a side."""

    steps: NDArray[np.int16]  # [N] since the episode began
    origin: NDArray[np.float64]  # [N, 2] of the maps' lower-left corner, in metres
    layers: NDArray[np.int16]  # [N, 3, S, S] step at which something was last seen so near: lethal, tight, near
    target: NDArray[np.float64]  # [N, 2] in metres
    points: NDArray[np.float64]  # [P, 2]
    cost: NDArray[np.float64]  # [S * S]
    parent: NDArray[np.int64]  # [S * S]


def new_memory(num_envs: int, beams: int, reach_meters: float) -> Memory:
    """Maps that reach so far from where an episode begins."""
    size = 2 * math.ceil(reach_meters / CELL)
    return Memory(
        steps=np.zeros(num_envs, np.int16),
        origin=np.zeros((num_envs, 2)),
        layers=np.full((num_envs, 3, size, size), NEVER, np.int16),
        target=np.zeros((num_envs, 2)),
        points=new_points(beams),
        cost=np.empty(size * size),
        parent=np.empty(size * size, np.int64),
    )


@kernel(nogil=True)
def dwa_all(body, tuning, beams, rows, goals, fresh, memory, action):
    """Act on observations `rows` [N, O] and `goals` [N, 2], in metres; writes `action` [N, 2].

    `memory` is emptied where `fresh` [N]: an episode begins.
    """
    reach = body.max_speed * tuning.horizon_seconds + body.outer_radius + tuning.clear_meters
    half = 0.5 * CELL * memory.layers.shape[2]
    points = memory.points
    for i in range(rows.shape[0]):
        row = rows[i]
        if fresh[i]:
            memory.steps[i] = 0
            memory.layers[i] = NEVER
            memory.origin[i, 0] = row[0] - half
            memory.origin[i, 1] = row[1] - half
        count = obstacle_points(body, beams, row, body.range_meters, points)
        guide(
            body, row, goals[i], points[:count], memory.origin[i], memory.steps[i],
            memory.layers[i], memory.cost, memory.parent, memory.target[i],
        )  # fmt: skip
        count = obstacle_points(body, beams, row, reach, points)
        gx, gy = in_robot_frame(row, memory.target[i])
        choose(body, tuning, points[:count], float(row[4]), float(row[5]), gx, gy, action[i])
        memory.steps[i] += 1
