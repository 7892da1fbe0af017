"""One environment's episode: begin it, advance it, end it. Scalar functions that any loop can call.

`run` at the bottom is the only entry point. Each environment touches its own rows only, and no function holds Python's
lock: threads share the environments among them, with the same result for every number of threads and ranks.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.coarse import is_coarse, pack
from headway.envs.nav.crowd import person_distance, place_people, send_people, walk
from headway.envs.nav.draw import draw_level, level_key, open_cells, world_of
from headway.envs.nav.footprint import disc_free, footprint_free
from headway.envs.nav.grid import obstacle_distance
from headway.envs.nav.jit import kernel
from headway.envs.nav.levels import choose_on_map, draw_start, generate
from headway.envs.nav.lidar import new_block
from headway.envs.nav.motion import command, drive
from headway.envs.nav.noise import grip
from headway.envs.nav.reactive import RADIUS
from headway.envs.nav.robots import command_others, drive_others, free_of_others, put_all, settle
from headway.envs.nav.scenes import MAP
from headway.envs.nav.senses import LEARNER, observe
from headway.envs.nav.share import GROUP, take

f32 = np.float32
BEGIN, STEP, REBUILD = range(3)  # tasks of `run`
ONLY, ONE = np.int64(0), np.int64(1)  # the only lane, of one


@kernel
def build_level(params, arrays, stage, i):
    """Make the level's grid; set the robot's pose and goal and the people of its beginning."""
    robot = arrays.robot[i]
    key = level_key(params, arrays.count[i])
    cells = arrays.queue[i]
    if stage.kind == MAP:
        cells = arrays.places[stage.map]
        count = arrays.place_count[stage.map]
        start, goal, heading = choose_on_map(cells, count, stage, key)
    else:
        world = world_of(arrays, stage, i)
        start, goal, heading, count = generate(world, arrays.reached[i], cells, stage, key)
        arrays.reachable[i] = count
    arrays.failed[i] |= start < 0
    width = int(stage.width)
    robot[:] = f32(0.0)
    robot[a.X] = stage.origin_x + (f32(start % width) + f32(0.5)) * stage.cell
    robot[a.Y] = stage.origin_y + (f32(start // width) + f32(0.5)) * stage.cell
    robot[a.HEADING] = heading
    robot[a.GOAL_X] = stage.origin_x + (f32(goal % width) + f32(0.5)) * stage.cell
    robot[a.GOAL_Y] = stage.origin_y + (f32(goal // width) + f32(0.5)) * stage.cell
    if stage.route == 1:
        robot[a.X], robot[a.Y], robot[a.HEADING] = draw_start(world_of(arrays, stage, i), stage, key)
        robot[a.GOAL_X] = stage.goal_x
        robot[a.GOAL_Y] = stage.goal_y
    robot[a.GOAL_DISTANCE] = math.hypot(robot[a.GOAL_X] - robot[a.X], robot[a.GOAL_Y] - robot[a.Y])
    if start >= 0:
        people, world = arrays.people[i], world_of(arrays, stage, i)
        place_people(people, arrays.legs[i], robot, params.goal_radius, world, stage, cells, count, key)
        put_all(params, arrays, stage, i, cells, count, key)


@kernel
def note_columns(arrays, stage, i):
    """Note the columns and rows of a coarse world, which every scan of the episode reads."""
    world = world_of(arrays, stage, i)
    if is_coarse(world):
        pack(world.grid, arrays.words[i])


@kernel
def begin(params, arrays, i, stage_number):
    """Begin the episode that `count[EPISODE]` names."""
    arrays.count[i, a.STEP] = 0
    draw_level(params, arrays, arrays.count[i], i, stage_number)
    stage = arrays.scenes[arrays.count[i, a.SCENE]]
    build_level(params, arrays, stage, i)
    note_columns(arrays, stage, i)


@kernel
def move(params, arrays, stage, i):
    """Drive and let people walk for one step, in substeps. Returns (success, collision, free distance in metres)."""
    robot = arrays.robot[i]
    people = arrays.people[i]
    world = world_of(arrays, stage, i)
    # Where no reward asks for it, no farther than rounding needs to tell touching from not touching.
    reach = params.proximity_reach if params.reward_proximity != 0 else f32(0.01)
    free = reach
    key = level_key(params, arrays.count[i])
    along, around = grip(params, key, arrays.count[i, a.STEP], LEARNER)
    for _ in range(params.substeps):
        drive(robot, along, around, params.substep_seconds)
        walk(people, world, stage, params.substep_seconds)
        drive_others(params, arrays, stage, world, i, key)
        x, y, heading = robot[a.X], robot[a.Y], robot[a.HEADING]
        free = footprint_free(world, stage, x, y, heading, params, reach)
        for p in range(stage.people):
            free = min(free, disc_free(people[p, a.PERSON_X], people[p, a.PERSON_Y], RADIUS, x, y, heading, params))
        free = min(free, free_of_others(params, arrays, stage, i, reach))
        dx = robot[a.GOAL_X] - robot[a.X]
        dy = robot[a.GOAL_Y] - robot[a.Y]
        distance = f32(math.sqrt(dx * dx + dy * dy))
        if free < 0:
            return False, True, f32(0.0), distance
        if distance <= params.goal_radius:
            return True, False, free, distance
    return False, False, free, distance


@kernel
def step_reward(params, arrays, stage, world, i, success, collision, free, distance):
    """Sum the terms of the reward that depend on where the step has led."""
    robot = arrays.robot[i]
    reward = params.reward_step + params.reward_progress * (robot[a.GOAL_DISTANCE] - distance)
    reward += params.reward_proximity * max(f32(1.0) - free / params.proximity_reach, f32(0.0))
    reward += params.reward_goal if success else f32(0.0)
    reward += params.reward_collision if collision else f32(0.0)
    if params.reward_near != 0:
        px = (robot[a.X] - stage.origin_x) / stage.cell
        py = (robot[a.Y] - stage.origin_y) / stage.cell
        beside = obstacle_distance(world, px, py, f32(1.01) * params.near_reach / stage.cell) * stage.cell
        beside = min(beside, person_distance(arrays.people[i], stage, robot[a.X], robot[a.Y]))
        for r in range(stage.robots):
            apart = math.hypot(arrays.others[i, r, a.X] - robot[a.X], arrays.others[i, r, a.Y] - robot[a.Y])
            beside = min(beside, f32(apart) - params.radius)
        reward += params.reward_near if beside <= params.near_reach else f32(0.0)
    return reward


@kernel
def smoothness(params, last, action, first):
    """Cost of the action's change since the last step, and remember it; an episode's `first` action costs nothing."""
    change = f32(0.0)
    for k in range(2):
        value = min(max(action[k], f32(-1.0)), f32(1.0))
        change += (value - last[k]) * (value - last[k])
        last[k] = value
    return f32(0.0) if first else params.reward_smoothness * change


@kernel
def act(params, arrays, i, action):
    """Make one step of environment i up to what is observed: motion, reward, outcome."""
    robot = arrays.robot[i]
    count = arrays.count[i]
    stage = arrays.scenes[count[a.SCENE]]
    world = world_of(arrays, stage, i)
    key = level_key(params, count)
    send_people(
        arrays.people[i], arrays.legs[i], robot, arrays.others[i], world, stage,
        key, params.radius, params.step_seconds, arrays.scratch[i],
    )  # fmt: skip
    command_others(params, arrays, stage, world, i, key)
    command(params, robot, arrays.pending[i, 0], key, count[a.STEP], LEARNER, action[0], action[1])
    success, collision, free, distance = move(params, arrays, stage, i)
    count[a.STEP] += 1
    truncated = not success and not collision and count[a.STEP] >= params.max_steps
    reward = step_reward(params, arrays, stage, world, i, success, collision, free, distance)
    reward += smoothness(params, arrays.last_action[i], action, count[a.STEP] == 1)
    robot[a.GOAL_DISTANCE] = distance
    robot[a.TOTAL_REWARD] += reward
    arrays.reward[i] = reward
    arrays.outcome[i, 0] = success or collision
    arrays.outcome[i, 1] = truncated
    arrays.outcome[i, 2] = success
    arrays.outcome[i, 3] = collision
    if stage.robots > 0:
        cells, places = open_cells(arrays, stage, i)
        settle(params, arrays, stage, i, cells, places, key)


@kernel
def has_ended(arrays, i):
    """Say whether the last step ended environment i's episode."""
    return arrays.outcome[i, 0] or arrays.outcome[i, 1]


@kernel
def keep_last(arrays, i, lane, lanes):
    """Copy the observation that ended the episode to where the caller finds it."""
    for k in range(lane, arrays.observation.shape[2], lanes):
        arrays.final_observation[i, k] = arrays.observation[arrays.now[0], i, k]


@kernel
def end(arrays, i):
    """Note how environment i's episode ended and turn to the next one."""
    robot = arrays.robot[i]
    count = arrays.count[i]
    arrays.final_goal[i, 0] = robot[a.GOAL_X]
    arrays.final_goal[i, 1] = robot[a.GOAL_Y]
    arrays.ended[i, 0] = count[a.STAGE]
    arrays.ended[i, 1] = count[a.STEP]
    arrays.ended[i, 2] = count[a.LEVEL_EPISODE]
    arrays.ended[i, 3] = count[a.LEVEL_INDEX]
    arrays.ended[i, 4] = count[a.SLOT]
    arrays.final_reward[i] = robot[a.TOTAL_REWARD]
    count[a.EPISODE] += 1


@kernel
def rebuild(params, arrays, i):
    """Make the grid of a generated level again from its key; nothing else that matters is changed."""
    stage = arrays.scenes[arrays.count[i, a.SCENE]]
    if stage.kind != MAP:
        key = level_key(params, arrays.count[i])
        world = world_of(arrays, stage, i)
        _, _, _, arrays.reachable[i] = generate(world, arrays.reached[i], arrays.queue[i], stage, key)
    note_columns(arrays, stage, i)


@kernel
def one(task, params, arrays, action, stage_number, i, block):
    """Do a task for environment i."""
    begins = task == BEGIN
    if task == STEP:
        act(params, arrays, i, action[i])
        observe(params, arrays, i, ONLY, ONE, block)
        begins = has_ended(arrays, i)
        if begins:  # the next episode begins in the same step
            keep_last(arrays, i, ONLY, ONE)
            end(arrays, i)
    elif task == REBUILD:
        rebuild(params, arrays, i)
    if begins:
        begin(params, arrays, i, stage_number)
        observe(params, arrays, i, ONLY, ONE, block)


@kernel(nogil=True, allocates=True)
def run(task, params, arrays, action, stage_number, taken):
    """Do a task for all environments, together with other threads that do the same.

    The one entry point, so that all is compiled once. `taken` int64 [1]: how many groups are taken, 0 at first.
    """
    block = new_block()
    num_envs = len(arrays.count)
    first = take(taken) * GROUP
    while first < num_envs:
        for i in range(first, min(first + GROUP, num_envs)):
            one(task, params, arrays, action, stage_number, i, block)
        first = take(taken) * GROUP
