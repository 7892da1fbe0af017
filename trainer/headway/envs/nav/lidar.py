"""The planar range scanner: each beam's distance to the first obstacle or person, exact, at most the range.

On a GPU each lane of a warp casts its own rays (`scan`). On a CPU (`scan_blocks`) beams go LANES at a time: in a world
of few large cells they meet the cells' borders (`coarse.py`), elsewhere they are marched in lockstep, where one loop
looks their cells up and one without branches does the arithmetic of `grid.cast_ray`, so that LLVM turns it into vector
instructions and no branch is mispredicted. Neighbouring beams need about as many steps, so few lanes wait. All of them
are exact up to the rounding of float32: they may differ in its last bits, and about beams that graze a corner.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.envs.nav import arrays as a
from headway.envs.nav.coarse import SIDE, cross, is_coarse
from headway.envs.nav.grid import cast_ray
from headway.envs.nav.jit import kernel
from headway.envs.nav.shapes import SHAPES, cell_hit, disc_hit

f32 = np.float32
i32 = np.int32
RADIUS = f32(a.PERSON_RADIUS)
LANES = 40  # five vectors of eight; 200, 360, 720 and 1,080 beams leave no lane idle
# Rows of `Block.values`: direction, its inverse, distance so far, cell, its clearance, distance of the nearest hit.
DX, DY, INV_X, INV_Y, T, IX, IY, CLEAR, BOUND = (k * LANES for k in range(9))
TINY = f32(1e-30)  # in the place of 0: beams along an axis never cross a border of the other one


class Block(NamedTuple):
    """Scratch of one block of beams; flat, so that the compiler knows that no two rows overlap."""

    values: NDArray[np.float32]  # [9 * LANES]
    cells: NDArray[np.int32]  # [2 * LANES] column, row


@kernel(allocates=True)
def new_block():
    """Room for one thread."""
    return Block(np.empty(9 * LANES, np.float32), np.empty(2 * LANES, np.int32))


@kernel
def scan(ranges, robot, people, world, stage, beams, limit, lane, lanes):
    """Write the distances in metres to `ranges` [B], for the robot's present pose; every `lanes`-th from `lane` on."""
    x = robot[a.X]
    y = robot[a.Y]
    cos_h = f32(math.cos(robot[a.HEADING]))
    sin_h = f32(math.sin(robot[a.HEADING]))
    px = (x - stage.origin_x) / stage.cell
    py = (y - stage.origin_y) / stage.cell
    for b in range(lane, ranges.shape[0], lanes):
        dx = cos_h * beams[0, b] - sin_h * beams[1, b]
        dy = sin_h * beams[0, b] + cos_h * beams[1, b]
        best = cast_ray(world, px, py, dx, dy, limit / stage.cell) * stage.cell
        for p in range(stage.people):
            best = min(best, disc_hit(people[p, a.PERSON_X] - x, people[p, a.PERSON_Y] - y, RADIUS, dx, dy))
        ranges[b] = best


@kernel
def scan_blocks(ranges, robot, people, world, words, stage, beams, limit, block):
    """Do what `scan` does for all beams [2, B], in lockstep; `words` [2 * SIDE] are those of a coarse world."""
    x = robot[a.X]
    y = robot[a.Y]
    cos_h = f32(math.cos(robot[a.HEADING]))
    sin_h = f32(math.sin(robot[a.HEADING]))
    px = (x - stage.origin_x) / stage.cell
    py = (y - stage.origin_y) / stage.cell
    coarse = is_coarse(world)
    for first in range(0, ranges.shape[0], LANES):
        aim(block, px, py, cos_h, sin_h, beams, first, limit / stage.cell)
        if coarse:
            meet_cells(block, world, words, px, py)
        else:
            march(block, world, px, py)
        for k in range(min(LANES, ranges.shape[0] - first)):
            ranges[first + k] = min(block.values[T + k], block.values[BOUND + k]) * stage.cell
    for p in range(stage.people):
        see_disc(ranges, people[p, a.PERSON_X] - x, people[p, a.PERSON_Y] - y, RADIUS, cos_h, sin_h, beams, limit)


@kernel
def aim(block, px, py, cos_h, sin_h, beams, first, limit):
    """Point the lanes along beams `first` to `first + LANES - 1`. Lanes that are too many stand still."""
    s = block.values
    used = min(LANES, beams.shape[1] - first)
    cos_b = beams[0, first : first + used]
    sin_b = beams[1, first : first + used]
    for k in range(LANES):
        s[T + k] = f32(0.0)
        s[IX + k] = f32(i32(px))
        s[IY + k] = f32(i32(py))
        s[BOUND + k] = f32(0.0)
        block.cells[k] = i32(px)
        block.cells[LANES + k] = i32(py)
    for k in range(used):
        dx = cos_h * cos_b[k] - sin_h * sin_b[k]
        dy = sin_h * cos_b[k] + cos_h * sin_b[k]
        dx = dx if dx != 0 else TINY
        dy = dy if dy != 0 else TINY
        s[DX + k] = dx
        s[DY + k] = dy
        s[INV_X + k] = f32(1.0) / dx
        s[INV_Y + k] = f32(1.0) / dy
        s[BOUND + k] = limit


@kernel
def meet_cells(block, world, words, px, py):
    """Let the lanes meet the cells of a coarse world; T is infinite, BOUND is the hit."""
    s = block.values
    for k in range(LANES):
        s[T + k] = f32(math.inf)
    dx, inv_x = s[DX : DX + LANES], s[INV_X : INV_X + LANES]
    dy, inv_y = s[DY : DY + LANES], s[INV_Y : INV_Y + LANES]
    bound = s[BOUND : BOUND + LANES]
    height, width = world.grid.shape
    if world.grid[int(py), int(px)] == 0:
        bound[:] = f32(0.0)
    cross(words[:SIDE], width, px, py, dx, inv_x, dy, bound)
    cross(words[SIDE:], height, py, px, dy, inv_y, dx, bound)


@kernel
def march(block, world, px, py):
    """Advance the lanes until each has met something."""
    s = block.values
    grid = world.grid
    shaped = world.used[SHAPES] > 0
    live = i32(1)
    while live > 0:
        for k in range(LANES):  # unsigned, because numba lets negative indices count from the end
            s[CLEAR + k] = f32(grid[np.uint64(block.cells[LANES + k]), np.uint64(block.cells[k])])
        if shaped:
            meet_shapes(block, world, px, py)
        live = i32(0)
        for k in range(LANES):
            ix = s[IX + k]
            iy = s[IY + k]
            clear = s[CLEAR + k]
            beyond = clear - f32(1.0)
            border_x = ix + clear if s[DX + k] > 0 else ix - beyond
            border_y = iy + clear if s[DY + k] > 0 else iy - beyond
            tx = (border_x - px) * s[INV_X + k]
            ty = (border_y - py) * s[INV_Y + k]
            along_x = tx < ty
            t = tx if along_x else ty
            # The cell behind the border; beside it, rounding must not leave the free square.
            to_x = f32(i32(px + t * s[DX + k]))
            to_y = f32(i32(py + t * s[DY + k]))
            to_x = min(max(to_x, ix - beyond), ix + beyond)
            to_y = min(max(to_y, iy - beyond), iy + beyond)
            to_x = (border_x if s[DX + k] > 0 else border_x - f32(1.0)) if along_x else to_x
            to_y = to_y if along_x else (border_y if s[DY + k] > 0 else border_y - f32(1.0))
            go = (clear > 0) & (s[T + k] < s[BOUND + k])
            to_x = to_x if go else ix
            to_y = to_y if go else iy
            s[T + k] = t if go else s[T + k]
            s[IX + k] = to_x
            s[IY + k] = to_y
            block.cells[k] = i32(to_x)
            block.cells[LANES + k] = i32(to_y)
            live += i32(1) if go else i32(0)


@kernel
def meet_shapes(block, world, px, py):
    """Test the lanes that are in cells with shapes; these bound a lane, and it goes on to its bound."""
    s = block.values
    for k in range(LANES):
        if s[CLEAR + k] == 0 and s[T + k] < s[BOUND + k]:
            hit = cell_hit(world, block.cells[k], block.cells[LANES + k], px, py, s[DX + k], s[DY + k])
            if hit >= 0:
                s[BOUND + k] = min(s[BOUND + k], hit)
                s[CLEAR + k] = f32(1.0)


@kernel
def see_disc(ranges, ox, oy, radius, cos_h, sin_h, beams, limit):
    """Shorten the beams that meet a disc whose centre is o away from the scanner, in metres, in the world's frame."""
    if ox * ox + oy * oy >= (limit + radius) * (limit + radius):
        return
    ahead = cos_h * ox + sin_h * oy
    left = cos_h * oy - sin_h * ox
    for b in range(ranges.shape[0]):  # `shapes.disc_hit` without branches
        along = ahead * beams[0, b] + left * beams[1, b]
        aside = ahead * beams[1, b] - left * beams[0, b]
        root = (radius - aside) * (radius + aside)
        half = f32(math.sqrt(max(root, f32(0.0))))
        near = max(along - half, f32(0.0))
        meets = (root >= 0) & (along + half >= 0)
        ranges[b] = min(ranges[b], near if meets else limit)
