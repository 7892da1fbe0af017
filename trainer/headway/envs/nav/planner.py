"""Lengths of shortest paths on the true grid: what success weighted by path length compares with.

A* (Hart, Nilsson, Raphael 1968) over cells that a disc a little larger than the robot fits in, eight neighbours, never
around a blocked corner; then every waypoint that the disc can pass by in a straight line is left out.
"""

import heapq
import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.grid import fits, swath_is_free
from headway.envs.nav.jit import kernel
from headway.envs.nav.step import world_of

f32 = np.float32
DIAGONAL = math.sqrt(2.0)
MAX_WAYPOINTS = 256
SPARE = f32(0.04)  # metres of the way's margin that a straight leg may lose


@kernel
def heuristic(cell, goal, width):
    """Octile distance in cells: a lower bound on any path over eight neighbours."""
    dx = abs(cell % width - goal % width)
    dy = abs(cell // width - goal // width)
    return max(dx, dy) + (DIAGONAL - 1.0) * min(dx, dy)


@kernel(allocates=True)
def astar(world, start, goal, fit, parent):
    """Fill `parent` [H * W] (-1 at the start, -2 where never reached). Returns whether the goal was reached."""
    height, width = world.grid.shape
    cost = np.full(height * width, np.inf, np.float32)
    room = np.zeros(height * width, np.uint8)  # 0: not looked at, 1: fits, 2: does not
    parent[:] = -2
    cost[start] = 0.0
    parent[start] = -1
    heap = [(heuristic(start, goal, width), start)]
    while len(heap) > 0:
        estimate, cell = heapq.heappop(heap)
        if cell == goal:
            return True
        if estimate > cost[cell] + heuristic(cell, goal, width) + 1e-3:
            continue  # a cheaper way here was found since
        x = cell % width
        y = cell // width
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                nearby = (y + dy) * width + x + dx
                if room[nearby] == 0:
                    room[nearby] = 1 if fits(world, x + dx, y + dy, fit) else 2
                if room[nearby] == 2:
                    continue
                length = 1.0
                if dx != 0 and dy != 0:
                    length = DIAGONAL
                    if not (fits(world, x + dx, y, fit) and fits(world, x, y + dy, fit)):
                        continue
                further = cost[cell] + length
                if further < cost[nearby] - 1e-4:
                    cost[nearby] = further
                    parent[nearby] = cell
                    heapq.heappush(heap, (further + heuristic(nearby, goal, width), nearby))
    return False


@kernel(allocates=True)
def straighten(world, start, goal, parent, fit, path):
    """Write the waypoints from start to goal, in cells, to `path` [W, 2]; return how many and the path's length."""
    width = world.grid.shape[1]
    steps = 0
    cell = goal
    while cell != -1:
        steps += 1
        cell = parent[cell]
    cells = np.empty(steps, np.int64)
    cell = goal
    for k in range(steps - 1, -1, -1):
        cells[k] = cell
        cell = parent[cell]
    path[0, 0] = f32(start % width) + f32(0.5)
    path[0, 1] = f32(start // width) + f32(0.5)
    count = 1
    length = 0.0
    at = 0
    while at < steps - 1 and count < path.shape[0]:
        following = at + 1
        for k in range(at + 2, steps):  # as far ahead as the straight leg stays free
            x = f32(cells[k] % width) + f32(0.5)
            y = f32(cells[k] // width) + f32(0.5)
            if not swath_is_free(world, path[count - 1, 0], path[count - 1, 1], x, y, fit):
                break
            following = k
        at = following
        path[count, 0] = f32(cells[at] % width) + f32(0.5)
        path[count, 1] = f32(cells[at] // width) + f32(0.5)
        length += math.hypot(path[count, 0] - path[count - 1, 0], path[count, 1] - path[count - 1, 1])
        count += 1
    return count, length


@kernel(allocates=True)
def plan(params, arrays, i, path):
    """Plan environment i's episode from where the robot is. `path` [W, 2] gets metres; returns waypoints, metres."""
    stage = arrays.scenes[arrays.count[i, a.SCENE]]
    world = world_of(arrays, stage, i)
    robot = arrays.robot[i]
    width = int(stage.width)
    start = int((robot[a.Y] - stage.origin_y) / stage.cell) * width + int((robot[a.X] - stage.origin_x) / stage.cell)
    goal = int((robot[a.GOAL_Y] - stage.origin_y) / stage.cell) * width
    goal += int((robot[a.GOAL_X] - stage.origin_x) / stage.cell)
    parent = np.empty(world.grid.shape[0] * width, np.int64)
    if not astar(world, start, goal, stage.fit / stage.cell, parent):
        return 0, np.inf
    fit = (stage.fit - SPARE) / stage.cell
    count, length = straighten(world, start, goal, parent, fit, path)
    for k in range(count):
        path[k, 0] = stage.origin_x + path[k, 0] * stage.cell
        path[k, 1] = stage.origin_y + path[k, 1] * stage.cell
    return count, length * stage.cell


@kernel(allocates=True)
def shortest_all(params, arrays, begins, lengths):
    """Write the planned path's length in metres to `lengths` [N] where `begins` [N] is true."""
    path = np.empty((MAX_WAYPOINTS, 2), np.float32)
    for i in range(arrays.robot.shape[0]):
        if begins[i]:
            _, lengths[i] = plan(params, arrays, i, path)
