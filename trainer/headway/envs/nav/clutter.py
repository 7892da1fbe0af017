"""Clutter: blocks, bars and pillars in a walled square, and walls across it with gaps."""

import math

import numpy as np

from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import LAYOUT, uniforms
from headway.envs.nav.shapes import FREE, OBSTACLE

f32 = np.float32
APRON = 3  # cells kept free before and behind a wall's gap
ONE = np.int64(1)  # numba compiles a function once for each Python constant


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
def build_clutter(world, stage, key, attempt, easing):
    """Blocks, bars and pillars until the wanted share is covered; then interior walls and their gaps."""
    height = np.int64(stage.height)
    width = np.int64(stage.width)
    grid = world.grid
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
    walls = int(f32(stage.count) * easing + f32(0.5))
    gap_cells = np.int64(math.ceil((2 * stage.fit) / stage.cell)) + 2
    for k in range(2 * walls):
        place_wall(grid, height, width, gap_cells, key, attempt, k % walls, k >= walls)
