"""Worlds as grids of square cells, and exact geometry on them: distance to the nearest obstacle, rays, free swaths.

A cell holds its *clearance*: the chessboard distance in cells to the nearest cell that is not free (0: this one), at
most 255. A cell that is not free is solid or holds exact shapes (`shapes.py`). One byte a cell keeps a 10 m world in
2.7 kB, in the first-level cache, and lets rays and distance queries skip free space without losing exactness
(docs/decisions/0002-numba-kernel.md). The outermost ring of cells is always solid, so nothing here checks bounds.

Lengths in this module are in cells, coordinates from the grid's lower-left corner, `grid[row, column]` = `grid[y, x]`.
"""

import math

import numpy as np

from headway.envs.nav.jit import kernel
from headway.envs.nav.shapes import SHAPES, cell_distance, cell_hit

f32 = np.float32


@kernel
def fill_clearance(grid, height, width):
    """Turn cells of 0 and FREE into clearances, in place: two chamfer passes, exact for the chessboard metric."""
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if grid[y, x] != 0:
                least = min(grid[y - 1, x - 1], grid[y - 1, x], grid[y - 1, x + 1], grid[y, x - 1])
                grid[y, x] = min(grid[y, x], min(least, np.uint8(254)) + 1)
    for y in range(height - 2, 0, -1):
        for x in range(width - 2, 0, -1):
            if grid[y, x] != 0:
                least = min(grid[y + 1, x - 1], grid[y + 1, x], grid[y + 1, x + 1], grid[y, x + 1])
                grid[y, x] = min(grid[y, x], min(least, np.uint8(254)) + 1)


@kernel
def finish_world(world):
    """Make a world whose cells and shapes are all entered ready for use."""
    fill_clearance(world.grid, world.grid.shape[0], world.grid.shape[1])


@kernel
def obstacle_distance(world, px, py, limit):
    """Distance from a point to the nearest solid cell or shape, exact up to `limit` and `limit` beyond; 0 inside."""
    grid = world.grid
    ix = int(px)
    iy = int(py)
    clear = int(grid[iy, ix])
    best = f32(limit)
    if clear == 0:
        best = min(best, cell_distance(world, ix, iy, px, py))
        if best == 0:
            return best
    elif f32(clear - 1) >= limit:
        return best
    height, width = grid.shape
    # Nothing is nearer than ring `clear`; what is on that ring bounds how far out something nearer can lie.
    reach = min(int(limit) + 1, int(1.415 * (clear + 1)) + 1)
    left = max(ix - reach, int(max(px - best, f32(0.0))))
    right = min(ix + reach, int(px + best)) + 1
    for y in range(max(iy - reach, int(max(py - best, f32(0.0)))), min(min(iy + reach, int(py + best)) + 1, height)):
        if max(f32(y) - py, py - f32(y + 1)) >= best:
            continue
        x = left
        while x < min(right, width):
            if grid[y, x] == 0:
                best = min(best, cell_distance(world, x, y, px, py))
                x += 1
            else:
                x += int(grid[y, x])  # the cells between are free, too
    return best


@kernel
def cast_ray(world, px, py, dx, dy, limit):
    """Distance along the unit direction (dx, dy) to the first solid cell or shape, at most `limit`; exact.

    Digital differential analysis over squares of free cells instead of single cells: a clearance of c means that the
    (2c-1) x (2c-1) cells around are free, so the ray goes straight to that square's border. In a cell with shapes the
    nearest hit, wherever it is, bounds the ray; it goes on to that bound, for another cell's shape may be nearer.
    """
    grid = world.grid
    ix = int(px)
    iy = int(py)
    inv_x = f32(1.0) / dx if dx != 0 else f32(math.inf)
    inv_y = f32(1.0) / dy if dy != 0 else f32(math.inf)
    t = f32(0.0)
    bound = f32(limit)
    while t < bound:
        clear = int(grid[iy, ix])
        if clear == 0:
            hit = cell_hit(world, ix, iy, px, py, dx, dy)
            if hit < 0:
                return t
            bound = min(bound, hit)
            clear = 1
        tx = f32(math.inf)
        ty = f32(math.inf)
        if dx > 0:
            tx = (f32(ix + clear) - px) * inv_x
        elif dx < 0:
            tx = (f32(ix - clear + 1) - px) * inv_x
        if dy > 0:
            ty = (f32(iy + clear) - py) * inv_y
        elif dy < 0:
            ty = (f32(iy - clear + 1) - py) * inv_y
        if tx < ty:
            t = tx
            y = int(py + t * dy)
            iy = min(max(y, iy - clear + 1), iy + clear - 1)  # rounding must not leave the free square
            ix = ix + clear if dx > 0 else ix - clear
        else:
            t = ty
            x = int(px + t * dx)
            ix = min(max(x, ix - clear + 1), ix + clear - 1)
            iy = iy + clear if dy > 0 else iy - clear
    return bound


@kernel
def swath_is_free(world, ax, ay, bx, by, radius):
    """Say whether a disc can move straight from a to b: probes at most 0.3 cells apart where it is tight.

    The clearance of the cell bounds the distance from both sides, which decides most probes.
    """
    length = f32(math.hypot(bx - ax, by - ay))
    if length == 0:
        return obstacle_distance(world, ax, ay, radius) >= radius
    ux = (bx - ax) / length
    uy = (by - ay) / length
    wider = 1 if world.used[SHAPES] > 0 else 0  # a shape is somewhere in its cell, which a solid cell fills
    s = f32(0.0)
    while True:
        px = ax + s * ux
        py = ay + s * uy
        clear = int(world.grid[int(py), int(px)])
        spare = f32(clear - 1) - radius
        if spare < 0:
            if f32(clear + wider) * f32(1.41421366) < radius:
                return False
            spare = obstacle_distance(world, px, py, radius + f32(1.0)) - radius
            if spare < 0:
                return False
        if s >= length:
            return True
        s = min(length, s + max(spare, f32(0.3)))


@kernel
def fits(world, x, y, radius):
    """Say whether a disc centred in cell (x, y) touches no obstacle."""
    nearest = f32(world.grid[y, x]) - f32(0.5)  # a solid cell lies between this and sqrt(2) times this,
    if nearest >= radius:
        return True
    if world.used[SHAPES] > 0:
        nearest += f32(1.0)  # a shape anywhere in such a cell
    if nearest < 0 or nearest * f32(1.41421366) < radius:
        return False
    return obstacle_distance(world, f32(x) + f32(0.5), f32(y) + f32(0.5), radius) >= radius


@kernel
def flood(world, x, y, radius, reached, queue):
    """Find all cells that a disc reaches from (x, y) by steps to one of four neighbours; the disc must fit there.

    Writes the cells as y * width + x to `queue` and 1 to `reached`; cells that are 1 there are not entered again.
    Returns how many.
    """
    width = world.grid.shape[1]
    reached[y, x] = 1
    queue[0] = y * width + x
    head = 0
    tail = 1
    while head < tail:
        cy = queue[head] // width
        cx = queue[head] - cy * width
        head += 1
        for k in range(4):
            nx = cx + (1 if k == 0 else -1 if k == 1 else 0)
            ny = cy + (1 if k == 2 else -1 if k == 3 else 0)
            if reached[ny, nx] == 0 and fits(world, nx, ny, radius):
                reached[ny, nx] = 1
                queue[tail] = ny * width + nx
                tail += 1
    return tail
