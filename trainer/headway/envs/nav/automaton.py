"""Worlds like those of the BARN Challenge (Perille et al. 2020, arXiv 2008.13315): a cellular automaton's clutter.

From the bottom: a back wall, a start zone, the field of clutter, open ground. Walls stand left and right of start zone
and field. Each obstacle cell is a cylinder; cells in the inside of a clump, which nothing can see, are solid.
"""

import math

import numpy as np

from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import LAYOUT, uniforms
from headway.envs.nav.shapes import FREE, OBSTACLE, add_disc

f32 = np.float32
FILL_FROM = 5  # neighbours of 8 that make an obstacle
CLEAR_TO = 1  # neighbours of 8 that leave none
BARREL = f32(0.4995)  # radius in cells: not 0.5, so that a cylinder lies in its own cell alone
FACING = f32(math.pi / 4)  # the robot looks into the field within this angle
FIRST_DRAW = np.int64(10000)


@kernel
def _neighbours(cells, x, y, across, along):
    """How many of 8 neighbours are obstacles. Left and right of the field stand walls, before and behind it nothing."""
    count = 0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            nx = x + dx
            ny = y + dy
            if (dx == 0 and dy == 0) or ny < 0 or ny >= along:
                continue
            if nx < 0 or nx >= across or cells[ny, nx] == 1:
                count += 1
    return count


@kernel
def grow(cells, after, across, along, stage, key, attempt, easing):
    """Write the automaton's field to `cells` (1: obstacle); `after` is scratch of the same size."""
    fill = stage.least_fill + (stage.fill - stage.least_fill) * uniforms(key, LAYOUT, attempt, FIRST_DRAW)[0]
    fill *= easing
    for k in range(0, across * along, 4):
        u0, u1, u2, u3 = uniforms(key, LAYOUT, attempt, FIRST_DRAW + 1 + k // 4)
        for j in range(min(4, across * along - k)):
            u = u0 if j == 0 else u1 if j == 1 else u2 if j == 2 else u3
            cells[(k + j) // across, (k + j) % across] = 1 if u < fill else 0
    for _ in range(stage.count):
        for y in range(along):
            for x in range(across):
                near = _neighbours(cells, x, y, across, along)
                after[y, x] = 1 if near >= FILL_FROM else 0 if near <= CLEAR_TO else cells[y, x]
        for y in range(along):
            for x in range(across):
                cells[y, x] = after[y, x]


@kernel
def build_automaton(world, reached, stage, key, attempt, easing):
    """Grow the field and build it, with walls around start zone and field. `reached` is scratch."""
    left = int(stage.left)
    across = int(stage.width) - 2 * left
    first = int(stage.field)
    along = int(stage.field_rows)
    grid = world.grid
    grow(reached[1:, 1:], grid[1:, 1:], across - 2, along, stage, key, attempt, easing)
    height, width = grid.shape
    grid[1 : height - 1, 1 : width - 1] = FREE  # it was the scratch
    for y in range(1, first + along):
        for x in range(left, left + across):
            wall = y == 1 or x == left or x == left + across - 1
            if wall or (y >= first and reached[1 + y - first, x - left] & 1 == 1):
                reached[y, x] |= 2
    for y in range(1, first + along):
        for x in range(left, left + across):
            if reached[y, x] < 2:
                continue
            hidden = reached[y - 1, x] & reached[y + 1, x] & reached[y, x - 1] & reached[y, x + 1] & 2
            if hidden and y > 1 and y < first + along - 1 and x > left and x < left + across - 1:
                grid[y, x] = OBSTACLE
            else:
                add_disc(world, f32(x) + f32(0.5), f32(y) + f32(0.5), BARREL)
