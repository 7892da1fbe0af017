"""A way on the map that the robot has seen so far: what gives a local planner its next target.

The dynamic window approach alone stops in every pocket. So navigation stacks (Brock and Khatib 1999, "High-speed
navigation using the global dynamic window approach"; ROS' move_base) give it a global way: here A* on a grid of what
the scans have hit in the last MEMORY steps, grown by the footprint, everything else being free. Nothing but
observations enters: the pose in them is exact, as a policy's is.
"""

import heapq
import math

import numpy as np

from headway.envs.nav.jit import kernel

CELL = 0.1  # metres
MEMORY = 400  # steps after which a hit is forgotten: people walk on
# As in ROS' costmap_2d: within the footprint's inner disc of a hit a cell is blocked, within the outer disc it is dear,
# because a rectangle passes lengthwise where it cannot turn.
TIGHT_METERS, TIGHT_COST = 0.03, 10.0  # beyond the outer disc
NEAR_METERS, NEAR_COST = 0.3, 4.0  # beyond that
ESCAPE = 2  # cells around the robot that are never blocked, only dear: it stands there
ESCAPE_COST = 20.0
LOOK_AHEAD = 2.0  # metres along the way to the target, if it is in free view
PLAN_SECONDS = 0.4  # between two searches
LETHAL, TIGHT, NEAR = range(3)  # a map's layers
NEVER = -(1 << 14)  # in the step stamps of a map: nothing seen there


@kernel
def stamp(layer, cx, cy, reach, step):
    """Note the step in all cells within `reach` cells of a hit."""
    size = layer.shape[0]
    whole = int(reach)
    for y in range(max(cy - whole, 0), min(cy + whole + 1, size)):
        for x in range(max(cx - whole, 0), min(cx + whole + 1, size)):
            if (x - cx) ** 2 + (y - cy) ** 2 <= reach * reach:
                layer[y, x] = step


@kernel
def see(body, row, points, origin, step, layers):
    """Enter the points [P, 2] of a scan, in the robot's frame, into the maps."""
    tight = body.outer_radius + TIGHT_METERS
    for p in range(points.shape[0]):
        x = row[0] + row[2] * points[p, 0] - row[3] * points[p, 1]
        y = row[1] + row[3] * points[p, 0] + row[2] * points[p, 1]
        cx = math.floor((x - origin[0]) / CELL)
        cy = math.floor((y - origin[1]) / CELL)
        stamp(layers[LETHAL], cx, cy, body.inner_radius / CELL, step)
        stamp(layers[TIGHT], cx, cy, tight / CELL, step)
        stamp(layers[NEAR], cx, cy, (tight + NEAR_METERS) / CELL, step)


@kernel
def price(layers, x, y, start, step):
    """What it costs to enter a cell, as a multiple of its length; infinite where it is blocked."""
    if step - layers[LETHAL, y, x] < MEMORY:
        size = layers.shape[1]
        if abs(x - start % size) <= ESCAPE and abs(y - start // size) <= ESCAPE:
            return ESCAPE_COST
        return np.inf
    if step - layers[TIGHT, y, x] < MEMORY:
        return TIGHT_COST
    return NEAR_COST if step - layers[NEAR, y, x] < MEMORY else 1.0


@kernel
def search(layers, start, goal, step, cost, parent):
    """A* from cell `start` to cell `goal` over eight neighbours; fills `parent`. Returns whether there is a way."""
    size = layers.shape[1]
    cost[:] = np.inf
    cost[start] = 0.0
    parent[start] = -1
    gx, gy = goal % size, goal // size
    heap = [(0.0, start)]
    while len(heap) > 0:
        estimate, cell = heapq.heappop(heap)
        if cell == goal:
            return True
        x, y = cell % size, cell // size
        if estimate > cost[cell] + math.hypot(gx - x, gy - y) + 1e-3:
            continue
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                nx, ny = x + dx, y + dy
                if (dx == 0 and dy == 0) or nx < 0 or ny < 0 or nx >= size or ny >= size:
                    continue
                length = 1.0 if dx == 0 or dy == 0 else math.sqrt(2.0)
                further = cost[cell] + length * price(layers, nx, ny, start, step)
                nearby = ny * size + nx
                if further < cost[nearby] - 1e-4:
                    cost[nearby] = further
                    parent[nearby] = cell
                    heapq.heappush(heap, (further + math.hypot(gx - nx, gy - ny), nearby))
    return False


@kernel
def in_view(layer, ax, ay, bx, by, step):
    """Say whether no cell between two cells is in the layer."""
    pieces = max(abs(bx - ax), abs(by - ay), 1)
    for k in range(1, pieces + 1):
        x = round(ax + (bx - ax) * k / pieces)
        y = round(ay + (by - ay) * k / pieces)
        if step - layer[y, x] < MEMORY:
            return False
    return True


@kernel
def target_on(layer, start, goal, parent, step, target, origin):
    """Write the target [2] in metres: the farthest place of the way that is in view, at most LOOK_AHEAD away."""
    size = layer.shape[0]
    sx, sy = start % size, start // size
    chosen = -1
    cell = goal
    while cell != start and cell >= 0:  # from the goal back to the robot
        x, y = cell % size, cell // size
        apart = math.hypot(x - sx, y - sy) * CELL
        if apart <= 0.5 or (apart <= LOOK_AHEAD and in_view(layer, sx, sy, x, y, step)):
            chosen = cell
            break
        cell = parent[cell]
    if chosen >= 0 and chosen != goal:
        target[0] = origin[0] + (chosen % size + 0.5) * CELL
        target[1] = origin[1] + (chosen // size + 0.5) * CELL


@kernel
def guide(body, row, goal, points, origin, step, layers, cost, parent, target):
    """Enter a scan; now and then write the target [2] of observation `row` [O]: the goal where no way is known."""
    size = layers.shape[1]
    see(body, row, points, origin, step, layers)
    if step % max(1, round(PLAN_SECONDS / body.step_seconds)) != 0:
        return
    cells = np.empty(4, np.int64)
    for k in range(2):
        cells[k] = min(max(int((row[k] - origin[k]) / CELL), 0), size - 1)
        cells[2 + k] = min(max(int((goal[k] - origin[k]) / CELL), 0), size - 1)
    start = cells[1] * size + cells[0]
    end = cells[3] * size + cells[2]
    target[0], target[1] = goal[0], goal[1]
    if search(layers, start, end, step, cost, parent):
        target_on(layers[TIGHT], start, end, parent, step, target, origin)
