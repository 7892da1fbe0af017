"""VFH+ of Ulrich and Borenstein 1998, "VFH+: reliable obstacle avoidance for fast mobile robots".

A polar histogram of obstacle density around the robot (section 3.1; each hit blocks the sectors that a disc of the
robot's radius plus a margin would need), made binary with two thresholds (3.2), masked by the circles that the robot
cannot leave at its speed (3.3), and searched for the opening that costs least (3.4). The paper's histogram grid
remembers readings; here the newest scan is all, each hit with certainty 1.
"""

import math

import numpy as np

from headway.envs.nav.arrays import POSE
from headway.envs.nav.jit import kernel
from headway.envs.planners.body import command, free_distance, in_robot_frame, wrap

SECTORS = 72  # of 5 degrees
WINDOW = 2.0  # metres: the paper's active window
MARGIN = 0.08  # metres between footprint and obstacle
LOW, HIGH = 0.25, 0.35  # thresholds of the binary histogram, as shares of a hit's magnitude at contact
WIDE = 16  # sectors: an opening at least that wide has room beside its edges (s_max of the paper)
GOAL_COST, HEADING_COST, PREVIOUS_COST = 5.0, 2.0, 2.0  # mu_1 to mu_3, equation 15: mu_1 > mu_2 + mu_3
TURN_GAIN = 3.0
SLOW_METERS, SLOWEST = 0.5, 0.2
UNIT = 2.0 * math.pi / SECTORS


@kernel
def apart(left, right):
    """Angle between two directions in radians, 0 to pi."""
    return abs(wrap(left - right))


@kernel
def fill_histogram(body, beams, row, heading, radius, density):
    """Fill `density` [SECTORS] with the strongest hit of each sector. Returns the least free distance in metres.

    Sectors are directions in the world, so that they mean the same at the next step.
    """
    density[:] = 0.0
    nearest = np.inf
    for b in range(beams.shape[0]):
        d = float(row[POSE + b])
        if d >= body.range_meters:
            continue
        nearest = min(nearest, free_distance(body, d * beams[b, 0], d * beams[b, 1]))
        if d >= WINDOW:
            continue
        magnitude = 1.0 - (d / WINDOW) ** 2  # equation 2: a - b d^2, 0 at the window's edge
        at = wrap(heading + math.atan2(beams[b, 1], beams[b, 0]))
        half = math.asin(min(radius / d, 1.0)) if d > 0 else math.pi / 2  # equation 4
        first = math.floor((at - half + math.pi) / UNIT)
        last = math.floor((at + half + math.pi) / UNIT)
        for k in range(first, last + 1):
            density[k % SECTORS] = max(density[k % SECTORS], magnitude)
    return nearest


@kernel
def mask(body, beams, row, heading, radius, blocked):
    """Block the sectors that lead through an obstacle while it turns at its present speed (equations 8 to 11)."""
    speed = float(row[4])
    if speed <= 0.2 * body.max_speed:
        return  # it turns on the spot
    circle = speed / body.max_turn
    right = -math.pi
    left = math.pi
    for b in range(beams.shape[0]):
        d = float(row[POSE + b])
        if d >= min(body.range_meters, WINDOW):
            continue
        x = d * beams[b, 0]
        y = d * beams[b, 1]
        at = math.atan2(y, x)
        if at >= 0 and x * x + (y - circle) ** 2 < (circle + radius) ** 2:
            left = min(left, at)
        if at <= 0 and x * x + (y + circle) ** 2 < (circle + radius) ** 2:
            right = max(right, at)
    for k in range(SECTORS):
        at = wrap(-math.pi + (k + 0.5) * UNIT - heading)
        if at > left or at < right:
            blocked[k] = True


@kernel
def cost(direction, goal, heading, previous):
    """Equation 15: what it costs to turn away from the goal, from the heading, and from the last choice."""
    return (
        GOAL_COST * apart(direction, goal)
        + HEADING_COST * apart(direction, heading)
        + PREVIOUS_COST * apart(direction, previous)
    )


@kernel
def best_direction(blocked, goal, heading, previous):
    """Search the openings for the cheapest candidate (section 3.4). Returns (direction, found)."""
    start = 0
    while start < SECTORS and not blocked[start]:
        start += 1
    if start == SECTORS:
        return goal, True
    best, found, least = 0.0, False, np.inf
    k = 0
    while k < SECTORS:
        if blocked[(start + k) % SECTORS]:
            k += 1
            continue
        first = k
        while k < SECTORS and not blocked[(start + k) % SECTORS]:
            k += 1
        width = k - first
        right = -math.pi + (start + first) * UNIT
        left = right + width * UNIT
        inset = min(WIDE / 2, width / 2) * UNIT
        for c in range(3):
            candidate = right + inset if c == 0 else left - inset
            if c == 2:  # the goal itself, where it lies in a wide opening
                offset = (goal - right) % (2.0 * math.pi)
                if width < WIDE or offset < inset or offset > width * UNIT - inset:
                    continue
                candidate = goal
            price = cost(candidate, goal, heading, previous)
            if price < least:
                best, found, least = wrap(candidate), True, price
    return best, found


@kernel
def remember(density, near, blocked):
    """Equation 7: a sector changes only past the threshold on its other side. What lies behind the goal, `near` metres
    away, is in nobody's way."""
    behind = 1.0 - (min(near, WINDOW) / WINDOW) ** 2
    for k in range(SECTORS):
        if density[k] > max(HIGH, behind):
            blocked[k] = True
        elif density[k] < max(LOW, behind):
            blocked[k] = False


@kernel(nogil=True)
def vfh_all(body, beams, rows, goals, fresh, previous, blocked, action):
    """Act on observations `rows` [N, O] and `goals` [N, 2]; writes `action` [N, 2].

    `previous` [N] (the last direction) and `blocked` [N, SECTORS] (the last binary histogram), both in the world's
    frame, are the method's memory; it is empty where `fresh` [N]: an episode begins.
    """
    density = np.empty(SECTORS)
    masked = np.empty(SECTORS, np.bool_)
    radius = body.outer_radius + MARGIN
    for i in range(rows.shape[0]):
        row = rows[i]
        gx, gy = in_robot_frame(row, goals[i])
        heading = math.atan2(row[3], row[2])
        goal = wrap(math.atan2(gy, gx) + heading)
        if fresh[i]:
            previous[i] = goal
            blocked[i] = False
        nearest = fill_histogram(body, beams, row, heading, radius, density)
        remember(density, math.sqrt(gx * gx + gy * gy) + radius, blocked[i])
        masked[:] = blocked[i]
        mask(body, beams, row, heading, radius, masked)
        direction, found = best_direction(masked, goal, heading, previous[i])
        if not found:  # slower circles leave more openings
            direction, found = best_direction(blocked[i], goal, heading, previous[i])
        if not found:
            command(body, 0.0, body.max_turn * (1.0 if gy >= 0 else -1.0), action[i])
            continue
        previous[i] = direction
        error = wrap(direction - heading)
        share = max(math.cos(error), 0.0) ** 2 * min(max(nearest / SLOW_METERS, SLOWEST), 1.0)
        command(body, share * body.max_speed, TURN_GAIN * error, action[i])
