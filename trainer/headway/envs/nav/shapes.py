"""Exact shapes in a world: discs, line segments and convex polygons beside its solid cells.

A cell of clearance 0 is "not free". It is solid unless it heads a list of the shapes that touch it; only there a ray or
a distance query looks at shapes, so free space is skipped as in a world of cells alone. Cells that a shape covers
wholly are solid. The lists are linked, so that a world is built in one pass: `begin_world`, then `add_...` and
`block_cell` in any order, then `finish_world`.

Lengths are in cells, from the grid's lower-left corner. Nothing here checks bounds: what lies outside the grid is cut
off, the outermost ring is solid. What does not fit into the tables is left out and said by `overflowed`: such a world
is not to be used.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.envs.nav.jit import kernel

f32 = np.float32
OBSTACLE = 0
FREE = 255

# Entries of `used`.
SHAPES, LINKS, OVERFLOW = range(3)
# Columns of `links`. SIDES 0: a disc, 1: a segment, else so many edges of one polygon, one after another.
FIRST, SIDES, NEXT = range(3)
TOUCH = f32(1e-4)  # a cell lists shapes up to this much beyond its border, against rounding


class World(NamedTuple):
    """One world of H x W cells with at most S records of shapes and L - 1 entries of lists."""

    grid: NDArray[np.uint8]  # [H, W] clearances
    heads: NDArray[np.uint16]  # [H, W] where a cell's list begins in `links`, 0: no list; [1, 1] where no shapes can be
    links: NDArray[np.uint16]  # [L, 3] first record, sides, following entry (0: the last); entry 0 is not used
    shapes: NDArray[np.float32]  # [S, 4] disc: x, y, radius; segment and edge: from x, y to x, y
    used: NDArray[np.int32]  # [3] records in use, entries in use, whether something did not fit


@kernel(allocates=True, inline="always")
def map_world(arrays, m, height, width):
    """Select map `m`, of so many cells, from `arrays`."""
    heads = arrays.map_heads[m, :height, :width]
    return World(arrays.maps[m, :height, :width], heads, arrays.map_links[m], arrays.map_shapes[m], arrays.map_used[m])


@kernel
def begin_world(world):
    """Make the world empty: free inside, solid in the outermost ring."""
    height, width = world.grid.shape
    if world.links.shape[0] > 1:  # also after a world without shapes: a mixture's larger world left its heads around it
        world.heads[:] = 0
    world.used[:] = 0
    world.grid[:] = OBSTACLE
    world.grid[1 : height - 1, 1 : width - 1] = FREE


@kernel
def block_cell(world, x, y):
    """Make a cell solid."""
    world.grid[y, x] = OBSTACLE
    if world.used[SHAPES] > 0:
        world.heads[y, x] = 0


@kernel
def overflowed(world):
    """Say whether some shape did not fit into the tables."""
    return world.used[OVERFLOW] != 0


@kernel
def _link(world, x, y, first, sides):
    """Enter a shape into the list of a cell that is not solid."""
    if world.grid[y, x] == OBSTACLE and world.heads[y, x] == 0:
        return
    entry = world.used[LINKS] + 1
    if entry >= world.links.shape[0]:
        world.used[OVERFLOW] = 1
        return
    world.used[LINKS] = entry
    world.links[entry, FIRST] = first
    world.links[entry, SIDES] = sides
    world.links[entry, NEXT] = world.heads[y, x] if world.grid[y, x] == OBSTACLE else 0
    world.heads[y, x] = entry
    world.grid[y, x] = OBSTACLE


@kernel
def _claim(world, records):
    """Reserve records; returns the first one, or -1 where they do not fit."""
    first = world.used[SHAPES]
    if first + records > world.shapes.shape[0]:
        world.used[OVERFLOW] = 1
        return -1
    world.used[SHAPES] = first + records
    return first


@kernel
def _span(low, high, size):
    """Cells that the interval [low, high] touches, as (first, last + 1), inside the grid."""
    first = np.int64(math.floor(low - TOUCH))
    return max(first, 0), min(np.int64(math.floor(high + TOUCH)) + 1, size)


@kernel
def add_disc(world, x, y, radius):
    """Add a disc."""
    first = _claim(world, 1)
    if first < 0:
        return
    world.shapes[first, 0] = x
    world.shapes[first, 1] = y
    world.shapes[first, 2] = radius
    height, width = world.grid.shape
    top, end = _span(y - radius, y + radius, height)
    left, stop = _span(x - radius, x + radius, width)
    reach = (radius + TOUCH) * (radius + TOUCH)
    for cy in range(top, end):
        near_y = max(f32(cy) - y, y - f32(cy + 1), f32(0.0))
        far_y = max(y - f32(cy), f32(cy + 1) - y)
        for cx in range(left, stop):
            near_x = max(f32(cx) - x, x - f32(cx + 1), f32(0.0))
            far_x = max(x - f32(cx), f32(cx + 1) - x)
            if far_x * far_x + far_y * far_y <= radius * radius:
                block_cell(world, cx, cy)
            elif near_x * near_x + near_y * near_y <= reach:
                _link(world, cx, cy, first, 0)


@kernel
def _clip(ax, ay, bx, by, low, high):
    """Least and largest x of the part of a segment with y in [low, high]; (inf, -inf) where there is none."""
    if min(ay, by) > high or max(ay, by) < low:
        return f32(math.inf), f32(-math.inf)
    if ay == by:
        return min(ax, bx), max(ax, bx)
    slope = (bx - ax) / (by - ay)
    at_low = ax + (min(max(low, min(ay, by)), max(ay, by)) - ay) * slope
    at_high = ax + (max(min(high, max(ay, by)), min(ay, by)) - ay) * slope
    return min(at_low, at_high), max(at_low, at_high)


@kernel
def add_segment(world, ax, ay, bx, by):
    """Add a line segment, a wall without thickness."""
    first = _claim(world, 1)
    if first < 0:
        return
    world.shapes[first, 0] = ax
    world.shapes[first, 1] = ay
    world.shapes[first, 2] = bx
    world.shapes[first, 3] = by
    height, width = world.grid.shape
    top, end = _span(min(ay, by), max(ay, by), height)
    for cy in range(top, end):
        low, high = _clip(ax, ay, bx, by, f32(cy) - TOUCH, f32(cy + 1) + TOUCH)
        if low <= high:
            left, stop = _span(low, high, width)
            for cx in range(left, stop):
                _link(world, cx, cy, first, 1)


@kernel
def set_corner(world, k, x, y):
    """Note corner `k` of the polygon that `add_convex` is about to add."""
    at = world.used[SHAPES] + k
    if at < world.shapes.shape[0]:
        world.shapes[at, 0] = x
        world.shapes[at, 1] = y


@kernel
def _close(shapes, first, count):
    """Complete the records of a polygon's corners to edges, counter-clockwise."""
    area = f32(0.0)
    for k in range(1, count - 1):
        area += _side(shapes[first, 0], shapes[first, 1], shapes[first + k, 0], shapes[first + k, 1],
                      shapes[first + k + 1, 0], shapes[first + k + 1, 1])  # fmt: skip
    if area < 0:
        for k in range(count // 2):
            other = first + count - 1 - k
            for axis in range(2):
                kept = shapes[first + k, axis]
                shapes[first + k, axis] = shapes[other, axis]
                shapes[other, axis] = kept
    for k in range(count):
        following = first + (k + 1) % count
        shapes[first + k, 2] = shapes[following, 0]
        shapes[first + k, 3] = shapes[following, 1]


@kernel
def add_convex(world, count):
    """Add the convex polygon of the `count` (3 or more) corners given by `set_corner`, in either order."""
    first = _claim(world, count)
    if first < 0:
        return
    shapes = world.shapes
    _close(shapes, first, count)
    height, width = world.grid.shape
    lowest = f32(math.inf)
    highest = f32(-math.inf)
    for k in range(first, first + count):
        lowest = min(lowest, shapes[k, 1])
        highest = max(highest, shapes[k, 1])
    top, end = _span(lowest, highest, height)
    for cy in range(top, end):
        low = f32(math.inf)
        high = f32(-math.inf)
        for k in range(first, first + count):
            a, b = _clip(shapes[k, 0], shapes[k, 1], shapes[k, 2], shapes[k, 3], f32(cy) - TOUCH, f32(cy + 1) + TOUCH)
            low = min(low, a)
            high = max(high, b)
        left, stop = _span(low, high, width) if low <= high else (0, 0)
        for cx in range(left, stop):
            if _covers(shapes, first, count, cx, cy):
                block_cell(world, cx, cy)
            else:
                _link(world, cx, cy, first, count)


@kernel
def add_box(world, x, y, length, width, angle):
    """Add a rectangle centred at (x, y), its length along `angle` (rad)."""
    cos = f32(math.cos(angle))
    sin = f32(math.sin(angle))
    for k in range(4):
        along = f32(0.5) * length if k == 0 or k == 3 else f32(-0.5) * length
        aside = f32(0.5) * width if k < 2 else f32(-0.5) * width
        set_corner(world, k, x + along * cos - aside * sin, y + along * sin + aside * cos)
    add_convex(world, 4)


@kernel
def _side(ax, ay, bx, by, x, y):
    """Positive left of the line from a to b, negative right of it: twice the triangle's area."""
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax)


@kernel
def inside_convex(shapes, first, sides, x, y):
    """Say whether a point lies in a polygon."""
    for k in range(first, first + sides):
        if _side(shapes[k, 0], shapes[k, 1], shapes[k, 2], shapes[k, 3], x, y) < 0:
            return False
    return True


@kernel
def _covers(shapes, first, sides, cx, cy):
    """Say whether a polygon covers all four corners of a cell, and so the cell."""
    for k in range(4):  # noqa: SIM110  (numba knows no generators)
        if not inside_convex(shapes, first, sides, f32(cx + k % 2), f32(cy + k // 2)):
            return False
    return True


@kernel
def segment_distance_squared(ax, ay, bx, by, x, y):
    """Squared distance from a point to a segment."""
    ux = bx - ax
    uy = by - ay
    length2 = ux * ux + uy * uy
    share = f32(0.0)
    if length2 > 0:
        share = min(max(((x - ax) * ux + (y - ay) * uy) / length2, f32(0.0)), f32(1.0))
    dx = ax + share * ux - x
    dy = ay + share * uy - y
    return dx * dx + dy * dy


@kernel
def shape_distance(shapes, first, sides, x, y):
    """Distance from a point to a shape; 0 inside."""
    if sides == 0:
        dx = shapes[first, 0] - x
        dy = shapes[first, 1] - y
        return max(f32(math.sqrt(dx * dx + dy * dy)) - shapes[first, 2], f32(0.0))
    if sides > 1 and inside_convex(shapes, first, sides, x, y):
        return f32(0.0)
    best = f32(math.inf)
    for k in range(first, first + sides):
        best = min(best, segment_distance_squared(shapes[k, 0], shapes[k, 1], shapes[k, 2], shapes[k, 3], x, y))
    return f32(math.sqrt(best))


@kernel
def disc_hit(ox, oy, radius, dx, dy):
    """Distance along the unit direction d to a disc whose centre is o away; 0 inside, inf if it is missed.

    t = o.d - sqrt(r^2 - (o x d)^2): the cross product keeps what o.o - r^2 would lose to rounding far away.
    """
    along = ox * dx + oy * dy
    aside = ox * dy - oy * dx
    root = (radius - aside) * (radius + aside)
    if root < 0:
        return f32(math.inf)
    half = f32(math.sqrt(root))
    return max(along - half, f32(0.0)) if along + half >= 0 else f32(math.inf)


@kernel
def _segment_hit(ax, ay, bx, by, px, py, dx, dy):
    """Distance along a ray to a segment, inf if it is missed or parallel."""
    ux = bx - ax
    uy = by - ay
    cross = dx * uy - dy * ux
    if cross == 0:
        return f32(math.inf)
    share = ((ax - px) * dy - (ay - py) * dx) / cross  # where on the segment, 0 at a and 1 at b
    t = ((ax - px) * uy - (ay - py) * ux) / cross
    return t if t >= 0 and f32(0.0) <= share <= f32(1.0) else f32(math.inf)


@kernel
def shape_hit(shapes, first, sides, px, py, dx, dy):
    """Distance along the unit direction d from p to a shape; 0 inside, inf if it is missed.

    Polygons: Cyrus and Beck 1978, the last of the entries into the edges' half-planes before the first of the exits.
    """
    if sides == 0:
        return disc_hit(shapes[first, 0] - px, shapes[first, 1] - py, shapes[first, 2], dx, dy)
    if sides == 1:
        return _segment_hit(shapes[first, 0], shapes[first, 1], shapes[first, 2], shapes[first, 3], px, py, dx, dy)
    near = f32(0.0)
    far = f32(math.inf)
    for k in range(first, first + sides):
        ux = shapes[k, 2] - shapes[k, 0]
        uy = shapes[k, 3] - shapes[k, 1]
        depth = ux * (py - shapes[k, 1]) - uy * (px - shapes[k, 0])  # positive inside
        rate = ux * dy - uy * dx
        if rate > 0:
            near = max(near, -depth / rate)
        elif rate < 0:
            far = min(far, -depth / rate)
        elif depth < 0:
            return f32(math.inf)
    return near if near <= far else f32(math.inf)


@kernel
def cell_distance(world, x, y, px, py):
    """Distance from a point to what is in a cell that is not free."""
    entry = np.int64(world.heads[y, x]) if world.used[SHAPES] > 0 else 0
    if entry == 0:
        dx = max(f32(x) - px, px - f32(x + 1), f32(0.0))
        dy = max(f32(y) - py, py - f32(y + 1), f32(0.0))
        return f32(math.sqrt(dx * dx + dy * dy))
    best = f32(math.inf)
    while entry != 0:
        link = world.links[entry]
        best = min(best, shape_distance(world.shapes, np.int64(link[FIRST]), np.int64(link[SIDES]), px, py))
        entry = np.int64(link[NEXT])
    return best


@kernel
def cell_hit(world, x, y, px, py, dx, dy):
    """Distance along a ray to the shapes of a cell that is not free, inf if it misses them; -1: the cell is solid."""
    entry = np.int64(world.heads[y, x]) if world.used[SHAPES] > 0 else 0
    if entry == 0:
        return f32(-1.0)
    best = f32(math.inf)
    while entry != 0:
        link = world.links[entry]
        best = min(best, shape_hit(world.shapes, np.int64(link[FIRST]), np.int64(link[SIDES]), px, py, dx, dy))
        entry = np.int64(link[NEXT])
    return best


def outlines(
    world: World, cell: float, origin: tuple[float, float]
) -> tuple[NDArray[np.bool_], list[tuple[float, float, float]], list[NDArray[np.float64]]]:
    """What a world looks like, for pictures: solid cells [H, W], discs and polygons' corners in metres."""
    if world.used[SHAPES] == 0:
        return world.grid == OBSTACLE, [], []
    discs, polygons, corner = [], [], np.array(origin)
    for first, sides in sorted({(int(row[FIRST]), int(row[SIDES])) for row in world.links[1 : world.used[LINKS] + 1]}):
        if sides == 0:
            x, y, radius = (world.shapes[first, :3] * cell).tolist()
            discs.append((x + origin[0], y + origin[1], radius))
        else:
            rows = world.shapes[first : first + sides].astype(np.float64)
            ends = rows.reshape(2, 2) if sides == 1 else rows[:, :2]
            polygons.append(ends * cell + corner)
    return (world.grid == OBSTACLE) & (world.heads == 0), discs, polygons
