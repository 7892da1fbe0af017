"""Levels: where the obstacles are, where the robot starts, where its goal is. A function of the level's key alone.

Start and goal of a generated world are connected for a disc of the scene's `fit` (MARGIN_METERS larger than the robot),
checked by flood fill; a layout without such a pair is drawn again with the next counter, a little emptier each time, so
that generation ends for every parameter. So is one whose shapes do not fit into their tables.
"""

import math

import numpy as np

from headway.envs.nav import scenes as s
from headway.envs.nav.automaton import FACING, build_automaton
from headway.envs.nav.cells import build_cells
from headway.envs.nav.clutter import build_clutter
from headway.envs.nav.grid import finish_world, fits, flood, obstacle_distance
from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import PLACE, ROUTE, uniforms
from headway.envs.nav.polygons import build_polygons
from headway.envs.nav.rooms import build_rooms
from headway.envs.nav.shapes import begin_world, overflowed

f32 = np.float32
ATTEMPTS = 64
DRAWS = 96  # goals tried for one start
STARTS = 4  # starts tried in one layout
UNEASED = 4  # attempts before layouts become emptier
NOISE_DRAWS = 16  # of a route's start
NOWHERE = np.int64(-1)  # numba compiles a function once for each Python constant
ZERO = np.int64(0)


@kernel
def build_layout(world, reached, queue, stage, key, attempt):
    """Make the world of a scene; `reached` and `queue` are scratch. Returns False if its shapes did not fit."""
    begin_world(world)
    easing = f32(1.0) - f32(max(attempt - UNEASED, 0)) / f32(ATTEMPTS - UNEASED)
    if stage.kind == s.CLUTTER:
        build_clutter(world, stage, key, attempt, easing)
    elif stage.kind == s.CELLS:
        build_cells(world, queue, stage, key, attempt, easing)
    elif stage.kind == s.POLYGONS:
        build_polygons(world, stage, key, attempt, easing)
    elif stage.kind == s.ROOMS:
        build_rooms(world, queue, stage, key, attempt, easing)
    elif stage.kind == s.AUTOMATON:
        reached[:] = 0
        build_automaton(world, reached, stage, key, attempt, easing)
    finish_world(world)
    return not overflowed(world)


@kernel
def draw_pair(cells, count, width, stage, fixed_start, key, attempt):
    """Draw start and goal among `cells` with a distance that the stage allows.

    Returns (start cell, goal cell, heading); start -1 when no draw fits. A `fixed_start` of -1 is drawn as well.
    """
    least = stage.min_goal / stage.cell
    most = stage.max_goal / stage.cell
    start = fixed_start
    for draw in range(DRAWS):
        u0, u1, u2, _ = uniforms(key, PLACE, attempt, 1 + draw)
        if fixed_start < 0 and draw % 8 == 0:
            start = int(cells[int(u0 * f32(count))])
        goal = int(cells[int(u1 * f32(count))])
        dx = f32(goal % width - start % width)
        dy = f32(goal // width - start // width)
        distance = f32(math.sqrt(dx * dx + dy * dy))
        if least <= distance <= most:
            return start, goal, (f32(2.0) * u2 - f32(1.0)) * f32(math.pi)
    return -1, -1, f32(0.0)


@kernel
def draw_beyond(reached, width, stage, start, key, attempt):
    """Draw a goal beyond the automaton's field; the robot looks into it. As `draw_pair` with a fixed start."""
    least = stage.min_goal / stage.cell
    most = stage.max_goal / stage.cell
    first = int(stage.field + stage.field_rows)
    left = int(stage.left)
    for draw in range(DRAWS):
        u0, u1, u2, _ = uniforms(key, PLACE, attempt, 1 + draw)
        x = left + int(u0 * f32(width - 2 * left))
        y = first + int(u1 * f32(stage.zone))
        dx = f32(x - start % width)
        dy = f32(y - start // width)
        distance = f32(math.sqrt(dx * dx + dy * dy))
        if reached[y, x] == 1 and least <= distance <= most:
            return start, y * width + x, f32(math.pi / 2) + (f32(2.0) * u2 - f32(1.0)) * FACING
    return -1, -1, f32(0.0)


@kernel
def cell_at(stage, x, y):
    """Return the cell under a place in metres."""
    row = int((y - stage.origin_y) / stage.cell)
    return row * int(stage.width) + int((x - stage.origin_x) / stage.cell)


@kernel
def route_state(world, reached, queue, stage):
    """Look whether a scene's route can be driven: (0 yes, 1 the start or 2 the goal lies in a wall or outside,
    3 there is no way; cells reachable from the start, in `queue`)."""
    for end in range(2):
        x = ((stage.start_x if end == 0 else stage.goal_x) - stage.origin_x) / stage.cell
        y = ((stage.start_y if end == 0 else stage.goal_y) - stage.origin_y) / stage.cell
        outside = x < 1 or y < 1 or x >= f32(stage.width - 1) or y >= f32(stage.height - 1)
        if outside or obstacle_distance(world, x, y, stage.fit / stage.cell) < stage.fit / stage.cell:
            return 1 + end, 0
    width = int(stage.width)
    start = cell_at(stage, stage.start_x, stage.start_y)
    goal = cell_at(stage, stage.goal_x, stage.goal_y)
    reached[:] = 0
    count = flood(world, start % width, start // width, stage.fit / stage.cell, reached, queue)
    return 0 if reached[goal // width, goal % width] == 1 else 3, count


@kernel
def draw_start(world, stage, key):
    """Draw the start of a route, (x, y, heading): normal noise about it, where the robot is free."""
    x = stage.start_x
    y = stage.start_y
    heading = stage.start_heading
    for draw in range(NOISE_DRAWS):
        u0, u1, u2, u3 = uniforms(key, ROUTE, ZERO, draw)
        # Box and Muller 1958; 1 - u lies in (0, 1].
        away = f32(math.sqrt(f32(-2.0) * f32(math.log(f32(1.0) - u0)))) * stage.start_noise
        turned = f32(math.sqrt(f32(-2.0) * f32(math.log(f32(1.0) - u2)))) * stage.heading_noise
        nx = stage.start_x + away * f32(math.cos(f32(2.0 * math.pi) * u1))
        ny = stage.start_y + away * f32(math.sin(f32(2.0 * math.pi) * u1))
        px = (nx - stage.origin_x) / stage.cell
        py = (ny - stage.origin_y) / stage.cell
        fit = stage.start_fit / stage.cell
        inside = px >= 1 and py >= 1 and px < f32(stage.width - 1) and py < f32(stage.height - 1)
        if inside and obstacle_distance(world, px, py, fit) >= fit:
            x = nx
            y = ny
            heading += turned * f32(math.cos(f32(2.0 * math.pi) * u3))
            break
    half = f32(2.0 * math.pi)
    return x, y, heading - half * f32(math.floor((heading + f32(math.pi)) / half))


@kernel
def generate(world, reached, queue, stage, key):
    """Build a generated level. Returns (start cell, goal cell, heading, cells reachable from start, in `queue`)."""
    width = int(stage.width)
    fit = stage.fit / stage.cell
    first_x = int(stage.left) if stage.kind == s.AUTOMATON else 1
    last_y = int(stage.field) if stage.kind == s.AUTOMATON else int(stage.height) - 1
    for attempt in range(ATTEMPTS):
        if (attempt == 0 or stage.kind != s.EMPTY) and not build_layout(world, reached, queue, stage, key, attempt):
            continue
        if stage.route == 1:
            state, count = route_state(world, reached, queue, stage)
            if state == 0:
                return (
                    cell_at(stage, stage.start_x, stage.start_y),
                    cell_at(stage, stage.goal_x, stage.goal_y),
                    f32(0.0),
                    count,
                )
            continue
        floods = 0
        for draw in range(32):
            u0, u1, _, _ = uniforms(key, PLACE, attempt, DRAWS + 1 + draw)
            x = first_x + int(u0 * f32(width - 2 * first_x))
            y = 1 + int(u1 * f32(last_y - 1))
            if floods == STARTS or not fits(world, x, y, fit):
                continue
            floods += 1
            reached[:] = 0
            count = flood(world, x, y, fit, reached, queue)
            if stage.kind == s.AUTOMATON:
                start, goal, heading = draw_beyond(reached, width, stage, y * width + x, key, attempt)
            else:
                start, goal, heading = draw_pair(queue, count, width, stage, y * width + x, key, attempt)
            if start >= 0:
                return start, goal, heading, count
    return -1, -1, f32(0.0), 0


@kernel
def choose_on_map(places, count, stage, key):
    """Draw start and goal on a map. Returns (start cell, goal cell, heading); -1 when no draw fits."""
    if stage.route == 1:
        return cell_at(stage, stage.start_x, stage.start_y), cell_at(stage, stage.goal_x, stage.goal_y), f32(0.0)
    for attempt in range(ATTEMPTS):
        start, goal, heading = draw_pair(places, count, int(stage.width), stage, NOWHERE, key, attempt)
        if start >= 0:
            return start, goal, heading
    return -1, -1, f32(0.0)
