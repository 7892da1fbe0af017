"""The shortest way on the true map, from wherever the robot is, and following it; and driving straight at the goal.

A* on the true map without a heuristic, from the goal outwards (Dijkstra 1959), so that every cell knows its next one
and the action is a function of the level and the pose alone: whoever leaves the way, as a policy that is being taught
does, is shown the shortest way from there. Cells that a disc a little larger than the robot fits in, eight
neighbours, never around a blocked corner. Where the disc around a rectangle fits nowhere, the disc inside it must: the
robot passes lengthwise, as long as it looks along the way. Following is pure pursuit (Coulter 1992) of the farthest
place on the way in free view, turning on the spot where it lies too far aside. People are not on the map.
"""

import heapq
import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.grid import fits, obstacle_distance, swath_is_free
from headway.envs.nav.jit import kernel
from headway.envs.nav.step import world_of
from headway.envs.planners.body import command, wrap

f32 = np.float32
UNKNOWN, GOAL = 255, 8  # entries of `toward` beside the directions 0 to 7
STEP_X = np.array([1, 0, -1, 0, 1, -1, -1, 1])
STEP_Y = np.array([0, 1, 0, -1, 1, 1, -1, -1])
MARGINS = np.array([0.1, 0.04])  # metres around the footprint's disc: the wide one wherever it leads to the goal
KEPT = np.array([0.08, 0.03])  # metres that pursuit keeps from obstacles while it cuts corners, if it can
STRAY = 4  # cells around the robot in which it looks for the way
FAR = 60  # cells ahead on the way that it looks at
SLOWEST = 0.3  # share of the top speed that it drives at even where it could not stop
LEAST_METERS = 0.3  # how far it looks for obstacles around itself, at least
TURN_GAIN = 3.0  # rad/s for each rad of heading error
TURN_ON_SPOT = 0.5  # rad


@kernel
def cell_of(stage, x, y):
    """Number of the cell at (x, y) in metres."""
    row = int((y - stage.origin_y) / stage.cell)
    return row * int(stage.width) + int((x - stage.origin_x) / stage.cell)


@kernel
def grow(world, width, fit, cost, toward):
    """Let every cell that a disc fits in, and that has no way yet, lead to the nearest one that has, if it can.

    `toward` [H * W] holds the direction of each cell's next one; UNKNOWN where there is none.
    """
    heap = [(f32(0.0), 0)]
    heap.pop()
    for known in range(len(toward)):
        cost[known] = np.inf
        if toward[known] != UNKNOWN:
            cost[known] = 0.0
            heap.append((f32(0.0), known))  # equal entries are a heap in any order
    while len(heap) > 0:
        so_far, cell = heapq.heappop(heap)
        if so_far > cost[cell]:
            continue  # a shorter way was found since
        x = cell % width
        y = cell // width
        for k in range(8):
            dx = STEP_X[k]
            dy = STEP_Y[k]
            nearby = (y + dy) * width + x + dx
            further = f32(so_far + (1.0 if k < 4 else math.sqrt(2.0)))
            if further >= cost[nearby] or not fits(world, x + dx, y + dy, fit):
                continue
            if k >= 4 and not (fits(world, x + dx, y, fit) and fits(world, x, y + dy, fit)):
                continue
            cost[nearby] = further
            toward[nearby] = (k + 2) % 4 if k < 4 else 4 + (k - 2) % 4
            heapq.heappush(heap, (further, nearby))


@kernel
def on_the_way(world, stage, toward, px, py, radius):
    """Find the cell of the way that a robot at (px, py), in cells, can join first; -1 without one."""
    width = int(stage.width)
    height = int(stage.height)
    best, least = -1, np.inf
    for y in range(max(int(py) - STRAY, 0), min(int(py) + STRAY + 1, height)):
        for x in range(max(int(px) - STRAY, 0), min(int(px) + STRAY + 1, width)):
            apart = math.hypot(x + 0.5 - px, y + 0.5 - py)
            if toward[y * width + x] == UNKNOWN or apart >= least:
                continue
            if apart < 1.0 or swath_is_free(world, f32(px), f32(py), f32(x + 0.5), f32(y + 0.5), radius):
                best, least = y * width + x, apart
    return best


@kernel
def carrot(world, stage, toward, at, px, py, radius):
    """Follow the way from cell `at` as far as it is in free view. Returns the cell."""
    width = int(stage.width)
    seen = at
    for ahead in range(1, FAR):
        k = toward[at]
        if k >= GOAL:
            return at
        at += STEP_Y[k] * width + STEP_X[k]
        # Close by every cell counts, farther on every third.
        if ahead > 6 and ahead % 3 != 0 and toward[at] != GOAL:
            continue
        x = f32(at % width) + f32(0.5)
        y = f32(at // width) + f32(0.5)
        if not swath_is_free(world, f32(px), f32(py), x, y, radius):
            break
        seen = at
    return seen


@kernel
def careful_speed(body, free):
    """Speed from which it can stop within `free` metres, but never less than a share of the top speed.

    A step passes before it can brake: v t + v^2 / 2a = free.
    """
    late = body.acceleration * body.step_seconds
    stoppable = math.sqrt(late**2 + 2.0 * body.acceleration * max(free, 0.0)) - late
    return min(max(stoppable, SLOWEST * body.max_speed), body.max_speed)


@kernel
def head_for(body, robot, x, y, free, action):
    """Drive towards a point with `free` metres around the robot; turn on the spot where it lies far aside.

    While it turns towards the line to the point it strays from it by speed * error / TURN_GAIN in all: the heading's
    error decays exponentially. That must fit into the free distance.
    """
    error = wrap(math.atan2(y - robot[a.Y], x - robot[a.X]) - robot[a.HEADING])
    if abs(error) > TURN_ON_SPOT:
        speed = 0.0
    else:
        speed = min(math.cos(error) ** 4 * body.max_speed, careful_speed(body, free))
        speed = min(speed, max(free, KEPT[-1]) * TURN_GAIN / max(abs(error), 1e-6))
    command(body, speed, TURN_GAIN * error, action)


@kernel
def disc(body, k, margins):
    """Radius in metres of the k-th disc to try: each of `margins` around the footprint, then around the disc inside."""
    size = margins.shape[0]
    return (body.outer_radius if k < size else body.inner_radius) + margins[k % size]


@kernel
def plan(body, arrays, i, stage, world, cost, toward):
    """Make environment i's ways: where only a narrow margin leads on, as far as the nearest wide way.

    Nothing here looks at the robot: a resumed run makes the same ways in the middle of an episode.
    """
    robot = arrays.robot[i]
    size = int(stage.width) * int(stage.height)
    toward[:size] = UNKNOWN
    toward[cell_of(stage, robot[a.GOAL_X], robot[a.GOAL_Y])] = GOAL
    for k in range(2 * MARGINS.shape[0]):
        fit = f32(disc(body, k, MARGINS) / stage.cell)
        grow(world, int(stage.width), fit, cost[:size], toward[:size])


@kernel
def target(body, arrays, i, stage, world, toward):
    """Return what environment i makes for on its way, (x, y), and how far off obstacles are, as far as it matters.

    All in metres; the last from the disc around the footprint, below 0 where that does not fit.
    """
    robot = arrays.robot[i]
    px = (robot[a.X] - stage.origin_x) / stage.cell
    py = (robot[a.Y] - stage.origin_y) / stage.cell
    width = int(stage.width)
    at = -1
    for k in range(2 * KEPT.shape[0]):
        radius = f32(disc(body, k, KEPT) / stage.cell)
        joined = on_the_way(world, stage, toward, px, py, radius)
        if joined < 0:
            continue
        at = carrot(world, stage, toward, joined, px, py, radius)
        if at != joined or toward[at] == GOAL:
            break
    x, y = float(robot[a.GOAL_X]), float(robot[a.GOAL_Y])
    if at >= 0 and toward[at] != GOAL:
        x = stage.origin_x + (at % width + 0.5) * stage.cell
        y = stage.origin_y + (at // width + 0.5) * stage.cell
    braking = body.max_speed * (body.step_seconds + body.max_speed / (2.0 * body.acceleration))
    most = max(LEAST_METERS, braking)  # more makes no difference
    reach = f32((body.outer_radius + most) / stage.cell)
    return x, y, obstacle_distance(world, px, py, reach) * stage.cell - body.outer_radius


@kernel
def keep_way(body, arrays, i, stage, world, cost, toward, known):
    """Make environment i's way anew where `known` [4] is of another level or goal."""
    robot = arrays.robot[i]
    count = arrays.count[i]
    if (
        known[0] != count[a.STAGE]
        or known[1] != count[a.EPISODE]
        or known[2] != robot[a.GOAL_X]
        or known[3] != robot[a.GOAL_Y]
    ):
        plan(body, arrays, i, stage, world, cost, toward)
        known[0] = count[a.STAGE]
        known[1] = count[a.EPISODE]
        known[2] = robot[a.GOAL_X]
        known[3] = robot[a.GOAL_Y]


@kernel(nogil=True)
def shortest_way_all(body, arrays, cost, toward, known, action):
    """Act for every environment; writes `action` [N, 2]. Makes the way anew where the level is another one.

    `toward` [N, cells] holds the ways, `known` [N, 4] which level each is for, `cost` [cells] is scratch.
    """
    for i in range(arrays.robot.shape[0]):
        stage = arrays.scenes[arrays.count[i, a.SCENE]]
        world = world_of(arrays, stage, i)
        keep_way(body, arrays, i, stage, world, cost, toward[i], known[i])
        x, y, free = target(body, arrays, i, stage, world, toward[i])
        head_for(body, arrays.robot[i], x, y, free, action[i])


@kernel(nogil=True)
def go_straight_all(body, arrays, action):
    """Act for every environment: turn to the goal and drive, whatever is in the way."""
    for i in range(arrays.robot.shape[0]):
        robot = arrays.robot[i]
        head_for(body, robot, robot[a.GOAL_X], robot[a.GOAL_Y], np.inf, action[i])
