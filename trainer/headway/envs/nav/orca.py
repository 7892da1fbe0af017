"""ORCA: optimal reciprocal collision avoidance.

Source: van den Berg, Guy, Lin and Manocha, "Reciprocal n-body collision avoidance", ISRR 2011.

Each neighbour allows a half-plane of velocities (section 4); the new velocity is the one nearest to the preferred one
that all allow, found by an incremental linear program in the plane (section 5.1), or, where they allow none together,
the one that violates them least (section 5.2). Half-planes of walls come first and are never violated.

A half-plane is a row (point x, point y, direction x, direction y): allowed is what lies to the left of the line.
Metres, seconds; positions and velocities in the world frame.
"""

import math

import numpy as np

from headway.envs.nav.jit import kernel

f32 = np.float32
PARALLEL = f32(1e-5)  # sine of the angle below which two lines count as parallel
MAX_LINES = 12  # two walls and the ten nearest neighbours
ZERO = np.int64(0)  # numba compiles a function once for each Python constant


@kernel
def det(ax, ay, bx, by):
    """Cross product of two plane vectors."""
    return ax * by - ay * bx


@kernel
def avoid(line, px, py, vx, vy, ux, uy, radius, horizon, step, share):
    """Write the half-plane that a neighbour leaves to an agent.

    (px, py) is the neighbour's position less the agent's, (vx, vy) the agent's velocity, (ux, uy) the neighbour's,
    `radius` the sum of both radii. They shall not touch within `horizon` seconds, or, where they overlap, no longer
    after `step`. `share` of the needed change is the agent's: 0.5 between equals, 1 where the neighbour does nothing.
    """
    rx = vx - ux
    ry = vy - uy
    apart = px * px + py * py
    touching = apart <= radius * radius
    inverse = f32(1.0) / (step if touching else horizon)
    wx = rx - px * inverse  # from the centre of the velocity obstacle's cut-off disc
    wy = ry - py * inverse
    dot = wx * px + wy * py
    length = wx * wx + wy * wy
    if touching or (dot < 0 and dot * dot > radius * radius * length):
        length = f32(math.sqrt(length))
        if length > 0:
            wx /= length
            wy /= length
        else:  # in the very centre: any way out is as short
            wx = f32(1.0)
        dx = wy
        dy = -wx
        change = radius * inverse - length
        cx = change * wx
        cy = change * wy
    else:  # the nearest boundary is a leg, a tangent from the origin to the disc
        leg = f32(math.sqrt(apart - radius * radius))
        if det(px, py, wx, wy) > 0:
            dx = (px * leg - py * radius) / apart
            dy = (px * radius + py * leg) / apart
        else:
            dx = -(px * leg + py * radius) / apart
            dy = -(py * leg - px * radius) / apart
        along = rx * dx + ry * dy
        cx = along * dx - rx
        cy = along * dy - ry
    line[0] = vx + share * cx
    line[1] = vy + share * cy
    line[2] = dx
    line[3] = dy


@kernel
def keep_off(line, nx, ny, free, horizon):
    """Write the half-plane of a wall `free` metres away in direction (-nx, -ny): not reached within `horizon`."""
    line[0] = -nx * free / horizon
    line[1] = -ny * free / horizon
    line[2] = ny
    line[3] = -nx


@kernel
def violation(line, x, y):
    """How far velocity (x, y) lies outside of a half-plane, in m/s; negative inside."""
    return det(line[2], line[3], line[0] - x, line[1] - y)


@kernel
def best_on_line(lines, k, top, ax, ay, direct):
    """Find the best velocity on line k among those that lines 0 to k - 1 allow, no faster than `top`.

    Best is nearest to (ax, ay) or, where `direct`, farthest in that direction. Returns (found, x, y).
    """
    px, py, dx, dy = lines[k, 0], lines[k, 1], lines[k, 2], lines[k, 3]
    dot = px * dx + py * dy
    root = dot * dot + top * top - px * px - py * py
    if root < 0:
        return False, ax, ay
    root = f32(math.sqrt(root))
    low = -dot - root
    high = -dot + root
    for j in range(k):
        across = det(dx, dy, lines[j, 2], lines[j, 3])
        beyond = det(lines[j, 2], lines[j, 3], px - lines[j, 0], py - lines[j, 1])
        if abs(across) <= PARALLEL:
            if beyond < 0:
                return False, ax, ay
        elif across > 0:
            high = min(high, beyond / across)
        else:
            low = max(low, beyond / across)
        if low > high:
            return False, ax, ay
    if direct and ax * dx + ay * dy > 0:
        t = high
    elif direct:
        t = low
    else:
        t = min(max(dx * (ax - px) + dy * (ay - py), low), high)
    return True, px + t * dx, py + t * dy


@kernel
def best_in_plane(lines, count, top, ax, ay, direct):
    """Find the best velocity that all `count` half-planes allow. Returns (half-planes kept, x, y).

    Kept is `count`, or the number of the first half-plane that cannot be kept together with those before it.
    """
    x = ax
    y = ay
    if direct:
        x = ax * top
        y = ay * top
    else:
        speed = f32(math.sqrt(ax * ax + ay * ay))
        if speed > top:
            x = ax / speed * top
            y = ay / speed * top
    for k in range(count):
        if violation(lines[k], x, y) > 0:
            found, bx, by = best_on_line(lines, k, top, ax, ay, direct)
            if not found:
                return k, x, y
            x = bx
            y = by
    return count, x, y


@kernel
def least_bad(lines, walls, count, first, top, x, y, room):
    """Find the velocity that violates half-planes `walls` to `count` - 1 least and the walls' not at all.

    The linear program in three dimensions, the third being the violation: whenever line k would be violated more than
    all before, the optimum lies on it, and line j bounds it where both are violated alike. `room` takes such lines.
    """
    worst = f32(0.0)
    for k in range(first, count):
        if violation(lines[k], x, y) <= worst:
            continue
        px, py, dx, dy = lines[k, 0], lines[k, 1], lines[k, 2], lines[k, 3]
        for w in range(walls):  # element by element: a GPU has no memory for the copy of a slice
            for c in range(lines.shape[1]):
                room[w, c] = lines[w, c]
        rows = walls
        for j in range(walls, k):
            ex = lines[j, 2]
            ey = lines[j, 3]
            across = det(dx, dy, ex, ey)
            if abs(across) <= PARALLEL:
                if dx * ex + dy * ey > 0:
                    continue
                room[rows, 0] = f32(0.5) * (px + lines[j, 0])
                room[rows, 1] = f32(0.5) * (py + lines[j, 1])
            else:
                t = det(ex, ey, px - lines[j, 0], py - lines[j, 1]) / across
                room[rows, 0] = px + t * dx
                room[rows, 1] = py + t * dy
            length = f32(math.sqrt((ex - dx) * (ex - dx) + (ey - dy) * (ey - dy)))
            room[rows, 2] = (ex - dx) / length
            room[rows, 3] = (ey - dy) / length
            rows += 1
        kept, bx, by = best_in_plane(room, rows, top, -dy, dx, True)
        if kept == rows:  # else rounding: what was found so far is the answer
            x = bx
            y = by
        worst = violation(lines[k], x, y)
    return x, y


@kernel
def solve(lines, walls, count, top, ax, ay, room):
    """Return the new velocity (x, y) for preferred velocity (ax, ay) and top speed `top`, in m/s.

    `lines` float32 [>= count, 4] holds the half-planes, those of walls first; `room` of the same shape is scratch.
    """
    kept, x, y = best_in_plane(lines, count, top, ax, ay, False)
    if kept < count:
        x, y = least_bad(lines, walls, count, kept, top, x, y, room)
    return x, y
