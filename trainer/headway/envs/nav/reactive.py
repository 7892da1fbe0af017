"""People who see: once a step, each chooses a velocity by ORCA or by social forces; all choose at the same moment.

Bodies that they see: everybody else, and, if they yield, the robots: the learner, then the others. A robot does not
give way by ORCA, so whoever yields to it does all of it.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav import orca
from headway.envs.nav.grid import obstacle_distance
from headway.envs.nav.jit import kernel
from headway.envs.nav.scenes import ORCA
from headway.envs.nav.social_force import accelerate, repulsion, wall_repulsion

f32 = np.float32
RADIUS = f32(a.PERSON_RADIUS)
BERTH = f32(0.03)  # people keep this much more from obstacles, against rounding and between two looks at a corner
FAR = f32(-1.0e6)  # where a person is for whom no place was found
ROOM = f32(0.02)  # ORCA's people keep this much more from one another and from robots, against rounding
SIGHT = f32(5.0)  # bodies farther away are not considered
MAX_NEIGHBOURS = 10
ORCA_SECONDS = f32(3.0)  # for which velocities must be free of collisions with bodies
HELD_UP = f32(0.5)  # share of the wanted speed below which one tries ...
ASIDE = (f32(math.cos(0.5)), f32(math.sin(0.5)))  # ... 0.5 rad to the right: else symmetry holds everybody for ever
WALL_SECONDS = f32(0.5)  # the same for walls
WALL_SIGHT = f32(1.2)  # social forces of walls beyond are below 0.13 m/s^2
LONGEST_MOVE = f32(0.25)  # two centres 0.28 m from a corner and this far apart keep a radius between them
PROBE = f32(0.05)  # cells


@kernel
def nearest_wall(world, px, py, limit):
    """Return (distance, x, y) of the nearest obstacle and the unit vector away from it, in cells; limit: none nearer.

    The vector is the distance's gradient, from differences: right wherever one point is the nearest.
    """
    distance = obstacle_distance(world, px, py, limit)
    if distance >= limit:
        return distance, f32(0.0), f32(0.0)
    farthest = distance + f32(2.0) * PROBE  # no probe is farther off than it has moved
    gx = obstacle_distance(world, px + PROBE, py, farthest) - distance
    gy = obstacle_distance(world, px, py + PROBE, farthest) - distance
    size = max(f32(math.sqrt(gx * gx + gy * gy)), f32(1e-6))
    return distance, gx / size, gy / size


@kernel
def place(k, people, robot, others, stage):
    """Return (x, y) of body k, numbered as in `body`."""
    if k < stage.people:
        return people[k, a.PERSON_X], people[k, a.PERSON_Y]
    if k == stage.people:
        return robot[a.X], robot[a.Y]
    return others[k - stage.people - 1, a.X], others[k - stage.people - 1, a.Y]


@kernel
def body(k, people, robot, others, stage, robot_radius):
    """Return (x, y, velocity x, velocity y, radius) of body k: people first, then the learner, then other robots."""
    if k < stage.people:
        one = people[k]
        return one[a.PERSON_X], one[a.PERSON_Y], one[a.PERSON_VX], one[a.PERSON_VY], RADIUS
    one = robot if k == stage.people else others[k - stage.people - 1]
    vx = one[a.SPEED] * f32(math.cos(one[a.HEADING]))
    vy = one[a.SPEED] * f32(math.sin(one[a.HEADING]))
    return one[a.X], one[a.Y], vx, vy, robot_radius


@kernel
def next_nearest(p, last, last_distance, count, people, robot, others, stage):
    """Return (k, squared distance) of the body next to `last` in the order of distance from person p; -1: none."""
    best = -1
    best_distance = SIGHT * SIGHT
    for k in range(count):
        x, y = place(k, people, robot, others, stage)
        dx = x - people[p, a.PERSON_X]
        dy = y - people[p, a.PERSON_Y]
        distance = dx * dx + dy * dy
        later = distance > last_distance or (distance == last_distance and k > last)
        if k != p and later and distance < best_distance:
            best = k
            best_distance = distance
    return best, best_distance


@kernel
def by_orca(p, wx, wy, count, people, robot, others, world, stage, robot_radius, seconds, scratch):
    """New velocity of person p, who wants (wx, wy), among `count` bodies."""
    me = people[p]
    lines = scratch[: orca.MAX_LINES]
    room = scratch[orca.MAX_LINES : 2 * orca.MAX_LINES]
    top = me[a.PERSON_SPEED]
    going = me[a.PERSON_VX] * me[a.PERSON_VX] + me[a.PERSON_VY] * me[a.PERSON_VY]
    if going < HELD_UP * HELD_UP * (wx * wx + wy * wy):
        wx, wy = ASIDE[0] * wx + ASIDE[1] * wy, ASIDE[0] * wy - ASIDE[1] * wx
    px = (me[a.PERSON_X] - stage.origin_x) / stage.cell
    py = (me[a.PERSON_Y] - stage.origin_y) / stage.cell
    horizon = max(WALL_SECONDS, seconds)
    fit = RADIUS + BERTH
    distance, nx, ny = nearest_wall(world, px, py, (fit + top * horizon) / stage.cell)
    walls = 0
    if nx != 0 or ny != 0:
        orca.keep_off(lines[0], nx, ny, max(distance * stage.cell - fit, f32(0.0)), horizon)
        walls = 1
    rows = walls
    k = -1
    apart = f32(-1.0)
    for _ in range(MAX_NEIGHBOURS):
        k, apart = next_nearest(p, k, apart, count, people, robot, others, stage)
        if k < 0:
            break
        x, y, ux, uy, radius = body(k, people, robot, others, stage, robot_radius)
        share = f32(0.5) if k < stage.people else f32(1.0)
        dx = x - me[a.PERSON_X]
        dy = y - me[a.PERSON_Y]
        both = RADIUS + radius + ROOM
        vx = me[a.PERSON_VX]
        vy = me[a.PERSON_VY]
        orca.avoid(lines[rows], dx, dy, vx, vy, ux, uy, both, ORCA_SECONDS, seconds, share)
        rows += 1
    return orca.solve(lines, walls, rows, top, wx, wy, room)


@kernel
def by_forces(p, wx, wy, count, people, robot, others, world, stage, seconds):
    """New velocity of person p, who wants (wx, wy), among `count` bodies."""
    me = people[p]
    speed = max(f32(math.sqrt(wx * wx + wy * wy)), f32(1e-6))
    px = (me[a.PERSON_X] - stage.origin_x) / stage.cell
    py = (me[a.PERSON_Y] - stage.origin_y) / stage.cell
    distance, nx, ny = nearest_wall(world, px, py, WALL_SIGHT / stage.cell)
    push = wall_repulsion(distance * stage.cell)
    fx = push * nx
    fy = push * ny
    for k in range(count):
        x, y = place(k, people, robot, others, stage)
        dx = me[a.PERSON_X] - x
        dy = me[a.PERSON_Y] - y
        if k != p and dx * dx + dy * dy < SIGHT * SIGHT:
            _, _, ux, uy, _ = body(k, people, robot, others, stage, RADIUS)
            gx, gy = repulsion(dx, dy, ux, uy, wx / speed, wy / speed)
            fx += gx
            fy += gy
    return accelerate(me[a.PERSON_VX], me[a.PERSON_VY], wx, wy, fx, fy, me[a.PERSON_SPEED], seconds)


@kernel
def choose_velocities(people, robot, others, world, stage, robot_radius, seconds, scratch):
    """Give everyone a velocity for the coming step of `seconds`; all of them see the same moment."""
    chosen = scratch[2 * orca.MAX_LINES :]
    for p in range(stage.people):
        me = people[p]
        if me[a.PERSON_X] <= FAR:
            chosen[p, :2] = f32(0.0)
            continue
        dx = me[a.TARGET_X] - me[a.PERSON_X]
        dy = me[a.TARGET_Y] - me[a.PERSON_Y]
        left = f32(math.sqrt(dx * dx + dy * dy))
        pace = min(me[a.PERSON_SPEED], left / seconds) / left if left > 0 else f32(0.0)
        wx = dx * pace
        wy = dy * pace
        count = np.int64(stage.people)
        if me[a.PERSON_YIELDS] > 0:
            count += 1 + stage.robots
        if stage.people_model == ORCA:
            vx, vy = by_orca(p, wx, wy, count, people, robot, others, world, stage, robot_radius, seconds, scratch)
        else:
            vx, vy = by_forces(p, wx, wy, count, people, robot, others, world, stage, seconds)
        chosen[p, 0] = vx
        chosen[p, 1] = vy
    for p in range(stage.people):
        people[p, a.PERSON_VX] = chosen[p, 0]
        people[p, a.PERSON_VY] = chosen[p, 1]


@kernel
def blocked(world, stage, x, y, fit):
    """Say whether a person at (x, y) is nearer than `fit` cells to an obstacle."""
    px = (x - stage.origin_x) / stage.cell
    py = (y - stage.origin_y) / stage.cell
    return obstacle_distance(world, px, py, fit) < fit


@kernel
def move_along(me, world, stage, seconds):
    """Move a person with the chosen velocity; where a wall is in the way, along it, or not at all.

    Whatever the velocity, every place where a move ends is a radius and BERTH away from all obstacles.
    """
    fit = (RADIUS + BERTH) / stage.cell
    length = f32(math.sqrt(me[a.PERSON_VX] * me[a.PERSON_VX] + me[a.PERSON_VY] * me[a.PERSON_VY])) * seconds
    moves = max(1, np.int64(math.ceil(length / LONGEST_MOVE)))
    for _ in range(moves):
        mx = me[a.PERSON_VX] * seconds / f32(moves)
        my = me[a.PERSON_VY] * seconds / f32(moves)
        if blocked(world, stage, me[a.PERSON_X] + mx, me[a.PERSON_Y] + my, fit):
            px = (me[a.PERSON_X] - stage.origin_x) / stage.cell
            py = (me[a.PERSON_Y] - stage.origin_y) / stage.cell
            _, nx, ny = nearest_wall(world, px, py, fit + LONGEST_MOVE / stage.cell)
            into = min(mx * nx + my * ny, f32(0.0))
            mx -= into * nx
            my -= into * ny
            if blocked(world, stage, me[a.PERSON_X] + mx, me[a.PERSON_Y] + my, fit):
                mx = f32(0.0)
                my = f32(0.0)
            me[a.PERSON_VX] = mx / seconds * f32(moves)
            me[a.PERSON_VY] = my / seconds * f32(moves)
        me[a.PERSON_X] += mx
        me[a.PERSON_Y] += my
