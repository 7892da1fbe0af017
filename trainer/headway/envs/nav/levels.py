"""Levels: where the obstacles are, where the robot starts, where its goal is. A function of the level's key alone.

Generated worlds are walled squares of 0.2 m cells. Start and goal are connected for a disc MARGIN_METERS larger than
the robot, checked by flood fill; a layout without such a pair is drawn again with the next counter, a little emptier
each time, so that generation ends for every parameter.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.grid import finish_world, fits, flood
from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import LAYOUT, PLACE, uniforms
from headway.envs.nav.scenes import CLUTTER
from headway.envs.nav.shapes import FREE, OBSTACLE, begin_world

f32 = np.float32
ATTEMPTS = 64
DRAWS = 96  # goals tried for one start
APRON = 3  # cells kept free before and behind a wall's gap
STARTS = 4  # starts tried in one layout
MARGIN = f32(a.MARGIN_METERS)
ONE, NOWHERE = np.int64(1), np.int64(-1)  # numba compiles a function once for each Python constant


@kernel
def place_rectangle(grid, height, width, x, y, across, along):
    """Mark cells from (x, y) on as obstacles, inside the outer ring. Returns how many were free before."""
    added = 0
    for cy in range(max(y, 1), min(y + along, height - 1)):
        for cx in range(max(x, 1), min(x + across, width - 1)):
            if grid[cy, cx] != OBSTACLE:
                grid[cy, cx] = OBSTACLE
                added += 1
    return added


@kernel
def place_wall(grid, height, width, gap_cells, key, attempt, number, carve):
    """Build interior wall `number` from side to side, one or two cells thick; or `carve` its one or two gaps.

    Gaps are carved when everything else stands, with APRON free cells before and behind, so that nothing blocks them.
    """
    u0, u1, u2, u3 = uniforms(key, LAYOUT, attempt, 2 * number)
    v0, v1, v2, v3 = uniforms(key, LAYOUT, attempt, 2 * number + 1)
    side = height - 2
    at = 1 + int((f32(0.2) + f32(0.6) * u0) * f32(side))
    thick = 1 + int(u1 * f32(2.0))
    upright = u2 < f32(0.5)
    if not carve:
        if upright:
            place_rectangle(grid, height, width, at, ONE, thick, side)
        else:
            place_rectangle(grid, height, width, ONE, at, side, thick)
        return
    for gap in range(1 + int(u3 * f32(2.0))):
        length = min(gap_cells + int((v0 if gap == 0 else v2) * f32(4.0)), side)
        first = 1 + int((v1 if gap == 0 else v3) * f32(side - length + 1))
        for along in range(first, first + length):
            for across in range(max(at - APRON, 1), min(at + thick + APRON, side + 1)):
                if upright:
                    grid[along, across] = FREE
                else:
                    grid[across, along] = FREE


@kernel
def build_layout(world, stage, radius, key, attempt):
    """Outer walls; blocks, bars and pillars until the wanted share is covered; interior walls and their gaps."""
    height = np.int64(stage.height)
    width = np.int64(stage.width)
    begin_world(world)
    grid = world.grid
    easing = f32(1.0) - f32(attempt) / f32(ATTEMPTS)
    wanted = int(stage.fill * easing * f32((height - 2) * (width - 2)))
    covered = 0
    draw = np.int64(100)
    while covered < wanted and draw < 1000:
        u0, u1, u2, u3 = uniforms(key, LAYOUT, attempt, draw)
        draw += 1
        x = 1 + int(u0 * f32(width - 2))
        y = 1 + int(u1 * f32(height - 2))
        shape = int(u2 * f32(4.0))
        size = 2 + int(u3 * f32(4.0))  # 0.4 to 1.0 m
        if shape == 0:  # a pillar: a square with its corners cut
            covered += place_rectangle(grid, height, width, x + 1, y, size - 2, size)
            covered += place_rectangle(grid, height, width, x, y + 1, size, size - 2)
        elif shape == 1:
            covered += place_rectangle(grid, height, width, x, y, size, 2 + (draw + size) % 4)
        elif shape == 2:  # bars: 1.0 to 2.2 m long, one cell thick
            covered += place_rectangle(grid, height, width, x, y, 1 + 2 * size, ONE)
        else:
            covered += place_rectangle(grid, height, width, x, y, ONE, 1 + 2 * size)
    walls = int(f32(stage.walls) * easing + f32(0.5))
    gap_cells = math.ceil((2 * (radius + MARGIN)) / stage.cell) + 2
    for k in range(2 * walls):
        place_wall(grid, height, width, gap_cells, key, attempt, k % walls, k >= walls)
    finish_world(world)


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
def generate(world, reached, queue, stage, radius, key):
    """Build a generated level. Returns (start cell, goal cell, heading, cells reachable from start, in `queue`)."""
    width = int(stage.width)
    inner_x = f32(width - 2)
    inner_y = f32(stage.height - 2)
    fit = (radius + MARGIN) / stage.cell
    for attempt in range(ATTEMPTS):
        if attempt == 0 or stage.kind == CLUTTER:
            build_layout(world, stage, radius, key, attempt)
        floods = 0
        for draw in range(32):
            u0, u1, _, _ = uniforms(key, PLACE, attempt, DRAWS + 1 + draw)
            x = 1 + int(u0 * inner_x)
            y = 1 + int(u1 * inner_y)
            if floods == STARTS or not fits(world, x, y, fit):
                continue
            floods += 1
            reached[:] = 0
            count = flood(world, x, y, fit, reached, queue)
            start, goal, heading = draw_pair(queue, count, width, stage, y * width + x, key, attempt)
            if start >= 0:
                return start, goal, heading, count
    return -1, -1, f32(0.0), 0


@kernel
def choose_on_map(places, count, stage, key):
    """Draw start and goal on a map. Returns (start cell, goal cell, heading); -1 when no draw fits."""
    for attempt in range(ATTEMPTS):
        start, goal, heading = draw_pair(places, count, int(stage.width), stage, NOWHERE, key, attempt)
        if start >= 0:
            return start, goal, heading
    return -1, -1, f32(0.0)
