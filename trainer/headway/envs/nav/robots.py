"""Other robots in the learner's world: of its body and limits, each on its way to a goal of its own.

One that reaches its goal gets another. One that hits an obstacle, a person or another robot stands where it was before,
for STAND_SECONDS, and is then put elsewhere with a new goal, as is one that has not arrived in good time. What hits the
learner ends the learner's episode, whoever moved.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.footprint import disc_free, footprint_free, robot_free
from headway.envs.nav.grid import swath_is_free
from headway.envs.nav.jit import kernel
from headway.envs.nav.motion import command, drive
from headway.envs.nav.noise import grip, stand
from headway.envs.nav.philox import TRIP, uniforms
from headway.envs.nav.reactive import FAR, RADIUS

f32 = np.float32
START_CLEAR = f32(1.5)  # m: nobody is put nearer than this to the learner ...
BESIDE = f32(0.3)  # ... or with less than this between footprints to anybody else
GOAL_DRAWS, PLACE_DRAWS = 16, 32
DRAWS = np.int64(GOAL_DRAWS + PLACE_DRAWS)
STAND_SECONDS = f32(3.0)
PATIENCE_SECONDS = f32(10.0)  # for a trip, with three times what the straight way takes
LOOK = f32(1.2)  # m: how far the simple rule looks ahead
SIDE = f32(0.05)  # m that it keeps on either side of its footprint
TURNS = np.array([0, 30, -30, 60, -60, 90, -90], np.float32) * f32(math.pi / 180)  # off the goal's bearing, best first
NARROW = f32(0.5)  # cosine of the error in heading from which on it drives
PI = f32(math.pi)


@kernel
def choose_goal(params, one, trips, r, stage, cells, count, key):
    """Draw a goal for robot `one`, number r, as far away as the stage wants them; the last draw where none is."""
    width = int(stage.width)
    for draw in range(GOAL_DRAWS):
        u0, _, _, _ = uniforms(key, TRIP, r, trips[r] * DRAWS + draw)
        cell = int(cells[int(u0 * f32(count))])
        one[a.GOAL_X] = stage.origin_x + (f32(cell % width) + f32(0.5)) * stage.cell
        one[a.GOAL_Y] = stage.origin_y + (f32(cell // width) + f32(0.5)) * stage.cell
        one[a.GOAL_DISTANCE] = f32(math.hypot(one[a.GOAL_X] - one[a.X], one[a.GOAL_Y] - one[a.Y]))
        if stage.min_goal <= one[a.GOAL_DISTANCE] <= stage.max_goal:
            break
    one[a.PATIENCE] = f32(3.0) * one[a.GOAL_DISTANCE] / params.max_speed + PATIENCE_SECONDS
    one[a.HIT] = f32(0.0)
    trips[r] += 1


@kernel
def has_room(x, y, r, radius, people, robot, others, stage):
    """Say whether a robot can be put at (x, y) without being too near to anybody."""
    if math.hypot(robot[a.X] - x, robot[a.Y] - y) < START_CLEAR + radius:
        return False
    for p in range(stage.people):
        if math.hypot(people[p, a.PERSON_X] - x, people[p, a.PERSON_Y] - y) < radius + RADIUS + BESIDE:
            return False
    for k in range(stage.robots):
        if k != r and math.hypot(others[k, a.X] - x, others[k, a.Y] - y) < f32(2.0) * radius + BESIDE:
            return False
    return True


@kernel
def put(params, arrays, stage, i, r, cells, count, key):
    """Put robot r at a random place, standing, with a new goal; where no draw fits, away until the next step."""
    one = arrays.others[i, r]
    trips = arrays.trips[i]
    one[:] = f32(0.0)
    one[a.X] = FAR
    one[a.Y] = FAR
    one[a.SINCE] = f32(arrays.count[i, a.STEP])
    width = int(stage.width)
    for draw in range(GOAL_DRAWS, GOAL_DRAWS + PLACE_DRAWS):
        u0, u1, _, _ = uniforms(key, TRIP, r, trips[r] * DRAWS + draw)
        cell = int(cells[int(u0 * f32(count))])
        x = stage.origin_x + (f32(cell % width) + f32(0.5)) * stage.cell
        y = stage.origin_y + (f32(cell // width) + f32(0.5)) * stage.cell
        if count > 0 and has_room(x, y, r, params.radius, arrays.people[i], arrays.robot[i], arrays.others[i], stage):
            one[a.X] = x
            one[a.Y] = y
            one[a.HEADING] = (f32(2.0) * u1 - f32(1.0)) * PI
            break
    if one[a.X] > FAR:
        choose_goal(params, one, trips, r, stage, cells, count, key)
    else:
        trips[r] += 1
    for row in range(arrays.pending.shape[2]):  # what was commanded elsewhere has no effect here
        arrays.pending[i, 1 + r, row, 0] = stand(params)
        arrays.pending[i, 1 + r, row, 1] = f32(0.0)


@kernel
def put_all(params, arrays, stage, i, cells, count, key):
    """Begin an episode: put every robot somewhere."""
    for r in range(arrays.others.shape[1]):
        arrays.others[i, r] = f32(0.0)
        arrays.others[i, r, a.X] = FAR
        arrays.trips[i, r] = 0
    for r in range(stage.robots):
        put(params, arrays, stage, i, np.int64(r), cells, count, key)


@kernel
def settle(params, arrays, stage, i, cells, count, key):
    """At the end of a step: a new goal for who has arrived, a new place for who stands or is late."""
    for r in range(stage.robots):
        one = arrays.others[i, r]
        one[a.PATIENCE] -= params.step_seconds
        one[a.GOAL_DISTANCE] = f32(math.hypot(one[a.GOAL_X] - one[a.X], one[a.GOAL_Y] - one[a.Y]))
        if one[a.PATIENCE] <= 0:
            put(params, arrays, stage, i, np.int64(r), cells, count, key)
        elif one[a.HIT] == 0 and one[a.GOAL_DISTANCE] <= params.goal_radius:
            choose_goal(params, one, arrays.trips[i], np.int64(r), stage, cells, count, key)


@kernel
def in_the_way(one, dx, dy, look, x, y, reach):
    """Say whether a body at (x, y) is within `reach` of the way `look` metres along (dx, dy), and ahead."""
    ox = x - one[a.X]
    oy = y - one[a.Y]
    along = ox * dx + oy * dy
    if along <= 0:
        return False
    along = min(along, look)
    return (ox - along * dx) * (ox - along * dx) + (oy - along * dy) * (oy - along * dy) < reach * reach


@kernel
def way_is_free(params, arrays, stage, world, i, r, dx, dy, look):
    """Say whether robot r, taken as its outer disc, could drive `look` metres along (dx, dy) if nobody moved."""
    one = arrays.others[i, r]
    reach = f32(2.0) * params.radius + SIDE
    if in_the_way(one, dx, dy, look, arrays.robot[i, a.X], arrays.robot[i, a.Y], reach):
        return False
    for k in range(stage.robots):
        if k != r and in_the_way(one, dx, dy, look, arrays.others[i, k, a.X], arrays.others[i, k, a.Y], reach):
            return False
    people = arrays.people[i]
    reach = params.radius + RADIUS + SIDE
    for p in range(stage.people):
        if in_the_way(one, dx, dy, look, people[p, a.PERSON_X], people[p, a.PERSON_Y], reach):
            return False
    px = (one[a.X] - stage.origin_x) / stage.cell
    py = (one[a.Y] - stage.origin_y) / stage.cell
    cells = look / stage.cell
    return swath_is_free(world, px, py, px + cells * dx, py + cells * dy, (params.radius + SIDE) / stage.cell)


@kernel
def go_straight(params, arrays, stage, world, i, r):
    """The simple rule: towards the goal, or as little to the side as it takes; stand where no way is free.

    Returns an action (forward, turn). It sees LOOK metres, no farther, and knows no map.
    """
    one = arrays.others[i, r]
    bearing = f32(math.atan2(one[a.GOAL_Y] - one[a.Y], one[a.GOAL_X] - one[a.X]))
    look = min(LOOK, one[a.GOAL_DISTANCE])
    for k in range(TURNS.shape[0]):
        angle = bearing + TURNS[k]
        dx = f32(math.cos(angle))
        dy = f32(math.sin(angle))
        if way_is_free(params, arrays, stage, world, i, r, dx, dy, look):
            error = angle - one[a.HEADING]
            along = f32(math.cos(error))
            error = f32(math.atan2(f32(math.sin(error)), along))
            turn = f32(2.0) * error / params.max_turn
            if along < NARROW:
                return stand(params), turn
            speed = along * params.max_speed
            return f32(2.0) * (speed - params.min_speed) / (params.max_speed - params.min_speed) - f32(1.0), turn
    return stand(params), f32(0.0)


@kernel
def command_others(params, arrays, stage, world, i, key):
    """At the beginning of a step: everybody's command, by the policy that drives them or by the simple rule."""
    step = arrays.count[i, a.STEP]
    for r in range(stage.robots):
        one = arrays.others[i, r]
        if one[a.X] <= FAR or one[a.HIT] > 0:
            continue
        if params.driven > 0:
            forward, turn = arrays.other_action[i, r, 0], arrays.other_action[i, r, 1]
        else:
            forward, turn = go_straight(params, arrays, stage, world, i, r)
        command(params, one, arrays.pending[i, 1 + r], key, step, np.int64(1 + r), forward, turn)


@kernel
def touches(params, arrays, stage, world, i, r):
    """Say whether robot r overlaps an obstacle, a person or another robot but the learner."""
    one = arrays.others[i, r]
    x, y, heading = one[a.X], one[a.Y], one[a.HEADING]
    if footprint_free(world, stage, x, y, heading, params, f32(0.0)) < 0:
        return True
    people = arrays.people[i]
    for p in range(stage.people):
        if disc_free(people[p, a.PERSON_X], people[p, a.PERSON_Y], RADIUS, x, y, heading, params) < 0:
            return True
    touching = False
    for k in range(stage.robots):
        touching |= k != r and robot_free(arrays.others[i, k], one, params, f32(0.0)) < 0
    return touching


@kernel
def drive_others(params, arrays, stage, world, i, key):
    """Move everybody for a substep; who would overlap something stays where it is, and stands."""
    step = arrays.count[i, a.STEP]
    for r in range(stage.robots):
        one = arrays.others[i, r]
        if one[a.X] <= FAR or one[a.HIT] > 0:
            continue
        x, y, heading = one[a.X], one[a.Y], one[a.HEADING]
        along, around = grip(params, key, step, np.int64(1 + r))
        drive(one, along, around, params.substep_seconds)
        if touches(params, arrays, stage, world, i, r):
            one[a.X] = x
            one[a.Y] = y
            one[a.HEADING] = heading
            one[a.SPEED] = f32(0.0)
            one[a.TURN] = f32(0.0)
            one[a.HIT] = f32(1.0)
            one[a.PATIENCE] = min(one[a.PATIENCE], STAND_SECONDS)


@kernel
def free_of_others(params, arrays, stage, i, reach):
    """Metres free between the learner and the nearest other robot, at most `reach`; negative where they overlap."""
    free = reach
    for r in range(stage.robots):
        free = min(free, robot_free(arrays.others[i, r], arrays.robot[i], params, reach))
    return free
