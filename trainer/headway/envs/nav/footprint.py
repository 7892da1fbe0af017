"""What the robot's body touches: the exact distance from its footprint to cells, shapes and discs.

A disc's distance is that of its centre less its radius. A rectangle's is found in its own frame, where it is the box
|x| <= half length, |y| <= half width. Both of two convex bodies that do not overlap are nearest at a corner of one of
them, so corners and edges suffice. The inner and the outer radius decide most cases from the centre's distance alone.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.grid import obstacle_distance
from headway.envs.nav.jit import kernel
from headway.envs.nav.shapes import FIRST, NEXT, SHAPES, SIDES, cell_distance, inside_convex, segment_distance_squared

f32 = np.float32
OVERLAP = f32(-1.0)  # said of rectangles; a disc says how deep


@kernel
def box_distance(x, y, half_length, half_width):
    """Distance from a point of the box's own frame to the box; 0 inside."""
    dx = max(abs(x) - half_length, f32(0.0))
    dy = max(abs(y) - half_width, f32(0.0))
    return f32(math.sqrt(dx * dx + dy * dy))


@kernel
def _crosses_box(ax, ay, bx, by, half_length, half_width):
    """Say whether a segment has a point in the box: what is left of it between the sides (Liang and Barsky 1984)."""
    near = f32(0.0)
    far = f32(1.0)
    for axis in range(2):
        start = ax if axis == 0 else ay
        way = bx - ax if axis == 0 else by - ay
        half = half_length if axis == 0 else half_width
        if way == 0:
            if abs(start) > half:
                return False
        else:
            one = (-half - start) / way
            two = (half - start) / way
            near = max(near, min(one, two))
            far = min(far, max(one, two))
    return near <= far


@kernel
def box_segment_distance(ax, ay, bx, by, half_length, half_width):
    """Distance from a segment, in the box's frame, to the box; OVERLAP where it enters."""
    if _crosses_box(ax, ay, bx, by, half_length, half_width):
        return OVERLAP
    best = min(box_distance(ax, ay, half_length, half_width), box_distance(bx, by, half_length, half_width))
    for k in range(4):
        x = half_length if k % 2 == 0 else -half_length
        y = half_width if k < 2 else -half_width
        best = min(best, f32(math.sqrt(segment_distance_squared(ax, ay, bx, by, x, y))))
    return best


@kernel
def _edge_distance(box, ax, ay, bx, by):
    """`box_segment_distance` of a segment in the grid's frame. `box`: centre, cosine, sine, half length and width."""
    x, y, cos, sin, half_length, half_width = box
    return box_segment_distance(
        cos * (ax - x) + sin * (ay - y),
        cos * (ay - y) - sin * (ax - x),
        cos * (bx - x) + sin * (by - y),
        cos * (by - y) - sin * (bx - x),
        half_length,
        half_width,
    )


@kernel
def _box_cell_distance(world, box, cx, cy):
    """Distance from the box to what is in a cell that is not free; OVERLAP where they overlap."""
    x, y, cos, sin, half_length, half_width = box
    entry = np.int64(world.heads[cy, cx]) if world.used[SHAPES] > 0 else 0
    best = f32(math.inf)
    if entry == 0:
        left, low = f32(cx), f32(cy)
        if left <= x <= left + f32(1.0) and low <= y <= low + f32(1.0):
            return OVERLAP
        best = min(best, _edge_distance(box, left, low, left + f32(1.0), low))
        best = min(best, _edge_distance(box, left + f32(1.0), low, left + f32(1.0), low + f32(1.0)))
        best = min(best, _edge_distance(box, left + f32(1.0), low + f32(1.0), left, low + f32(1.0)))
        return min(best, _edge_distance(box, left, low + f32(1.0), left, low))
    shapes = world.shapes
    while entry != 0:
        first = np.int64(world.links[entry, FIRST])
        sides = np.int64(world.links[entry, SIDES])
        if sides == 0:
            dx = shapes[first, 0] - x
            dy = shapes[first, 1] - y
            gap = box_distance(cos * dx + sin * dy, cos * dy - sin * dx, half_length, half_width) - shapes[first, 2]
            best = min(best, gap)
        elif sides > 1 and inside_convex(shapes, first, sides, x, y):
            return OVERLAP
        else:
            for k in range(first, first + sides):
                best = min(best, _edge_distance(box, shapes[k, 0], shapes[k, 1], shapes[k, 2], shapes[k, 3]))
        if best < 0:
            return OVERLAP
        entry = np.int64(world.links[entry, NEXT])
    return best


@kernel
def box_obstacle_distance(world, box, limit):
    """Distance in cells from the box to the nearest solid cell or shape, at most `limit`; else OVERLAP."""
    x, y, _, _, half_length, half_width = box
    outer = f32(math.sqrt(half_length * half_length + half_width * half_width))
    height, width = world.grid.shape
    best = f32(limit)
    reach = outer + best
    for cy in range(max(int(y - reach), 0), min(int(y + reach) + 1, height)):
        for cx in range(max(int(x - reach), 0), min(int(x + reach) + 1, width)):
            if world.grid[cy, cx] == 0 and cell_distance(world, cx, cy, x, y) - outer < best:
                best = min(best, _box_cell_distance(world, box, cx, cy))
                if best < 0:
                    return OVERLAP
    return best


@kernel
def footprint_free(world, stage, robot_x, robot_y, heading, params, reach):
    """Metres free around the robot's footprint, at most `reach`; negative where it overlaps something."""
    px = (robot_x - stage.origin_x) / stage.cell
    py = (robot_y - stage.origin_y) / stage.cell
    centre = obstacle_distance(world, px, py, (params.radius + reach) / stage.cell) * stage.cell
    if params.half_length == 0 or centre >= params.radius + reach:  # a disc, or beyond reach of the outer disc
        return centre - params.radius
    if centre < params.inner_radius:
        return OVERLAP
    cos = f32(math.cos(heading))
    sin = f32(math.sin(heading))
    box = (px, py, cos, sin, params.half_length / stage.cell, params.half_width / stage.cell)
    free = box_obstacle_distance(world, box, reach / stage.cell)
    return free if free < 0 else free * stage.cell


@kernel
def disc_free(x, y, radius, robot_x, robot_y, heading, params):
    """Metres free between the robot's footprint and a disc such as a person; negative where they overlap."""
    dx = x - robot_x
    dy = y - robot_y
    if params.half_length == 0:
        return f32(math.sqrt(dx * dx + dy * dy)) - radius - params.radius
    cos = f32(math.cos(heading))
    sin = f32(math.sin(heading))
    return box_distance(cos * dx + sin * dy, cos * dy - sin * dx, params.half_length, params.half_width) - radius


@kernel
def robot_free(one, other, params, reach):
    """Metres free between the footprints of two robots, exact up to `reach`; negative where they overlap."""
    dx = other[a.X] - one[a.X]
    dy = other[a.Y] - one[a.Y]
    gap = f32(math.sqrt(dx * dx + dy * dy)) - f32(2.0) * params.radius
    if params.half_length == 0 or gap >= reach:
        return gap
    cos = f32(math.cos(one[a.HEADING]))
    sin = f32(math.sin(one[a.HEADING]))
    box = (one[a.X], one[a.Y], cos, sin, params.half_length, params.half_width)
    cos = f32(math.cos(other[a.HEADING]))
    sin = f32(math.sin(other[a.HEADING]))
    best = f32(math.inf)
    last_x = other[a.X] + params.half_length * cos + params.half_width * sin  # the corner at the right, ahead
    last_y = other[a.Y] + params.half_length * sin - params.half_width * cos
    for k in range(4):  # ahead left, behind left, behind right, ahead right
        along = params.half_length if k % 3 == 0 else -params.half_length
        aside = params.half_width if k < 2 else -params.half_width
        x = other[a.X] + along * cos - aside * sin
        y = other[a.Y] + along * sin + aside * cos
        best = min(best, _edge_distance(box, last_x, last_y, x, y))
        last_x = x
        last_y = y
    return best


@kernel
def box_hit(ox, oy, cos, sin, half_length, half_width, dx, dy):
    """Distance along the unit direction d to a box whose centre is o away; 0 inside, inf if it is missed.

    The box's heading is given by its cosine and sine. The last of the entries between two sides before the first exit.
    """
    near = f32(0.0)
    far = f32(math.inf)
    for axis in range(2):
        start = -(cos * ox + sin * oy) if axis == 0 else -(cos * oy - sin * ox)
        way = cos * dx + sin * dy if axis == 0 else cos * dy - sin * dx
        half = half_length if axis == 0 else half_width
        if way == 0:
            if abs(start) > half:
                return f32(math.inf)
        else:
            one = (-half - start) / way
            two = (half - start) / way
            near = max(near, min(one, two))
            far = min(far, max(one, two))
    return near if near <= far else f32(math.inf)
