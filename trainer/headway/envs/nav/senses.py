"""What robots see: the newest scan of each, and the stacks of scans that policies get.

`lanes` callers share the beams, lane k the k-th and every `lanes`-th after it: a warp on a GPU. On a CPU there is one,
with a `block` to march beams in; elsewhere `block` is None.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.draw import level_key, world_of
from headway.envs.nav.footprint import box_hit
from headway.envs.nav.jit import kernel
from headway.envs.nav.lidar import scan, scan_blocks
from headway.envs.nav.noise import disturb
from headway.envs.nav.reactive import FAR
from headway.envs.nav.shapes import disc_hit

f32 = np.float32
LEARNER = np.int64(0)


@kernel
def see_robots(ranges, params, arrays, stage, i, who, lane, lanes):
    """Shorten the beams of robot `who` (0: the learner, r + 1: other robot r) that meet another robot."""
    viewer = arrays.robot[i] if who == LEARNER else arrays.others[i, who - 1]
    cos_h = f32(math.cos(viewer[a.HEADING]))
    sin_h = f32(math.sin(viewer[a.HEADING]))
    for k in range(stage.robots + 1):
        one = arrays.robot[i] if k == 0 else arrays.others[i, k - 1]
        if k == who or one[a.X] <= FAR:
            continue
        away_x = one[a.X] - viewer[a.X]
        away_y = one[a.Y] - viewer[a.Y]
        sight = params.lidar_range + params.radius
        if away_x * away_x + away_y * away_y > sight * sight:
            continue
        ox = cos_h * away_x + sin_h * away_y  # in the viewer's frame, as the beams are
        oy = cos_h * away_y - sin_h * away_x
        cos_o = f32(math.cos(one[a.HEADING] - viewer[a.HEADING]))
        sin_o = f32(math.sin(one[a.HEADING] - viewer[a.HEADING]))
        for b in range(lane, ranges.shape[0], lanes):
            dx = arrays.beams[0, b]
            dy = arrays.beams[1, b]
            hit = disc_hit(ox, oy, params.radius, dx, dy)
            if params.half_length > 0 and hit < ranges[b]:
                hit = box_hit(ox, oy, cos_o, sin_o, params.half_length, params.half_width, dx, dy)
            ranges[b] = min(ranges[b], hit)


@kernel
def look(ranges, params, arrays, stage, i, who, lane, lanes, block):
    """Write what the scanner of robot `who` reports now to `ranges` [B], in metres."""
    robot = arrays.robot[i] if who == LEARNER else arrays.others[i, who - 1]
    people = arrays.people[i]
    world = world_of(arrays, stage, i)
    if block is None:
        scan(ranges, robot, people, world, stage, arrays.beams, params.lidar_range, lane, lanes)
    else:
        scan_blocks(ranges, robot, people, world, arrays.words[i], stage, arrays.beams, params.lidar_range, block)
    if stage.robots > 0:
        see_robots(ranges, params, arrays, stage, i, who, lane, lanes)
    if params.scan_noise > 0 or params.scan_dropout > 0:
        disturb(ranges, params, level_key(params, arrays.count[i]), arrays.count[i, a.STEP], who, lane, lanes)


@kernel
def feel(row, robot):
    """Write pose and velocities, the first columns of an observation."""
    row[0] = robot[a.X]
    row[1] = robot[a.Y]
    row[2] = math.cos(robot[a.HEADING])
    row[3] = math.sin(robot[a.HEADING])
    row[4] = robot[a.SPEED]
    row[5] = robot[a.TURN]


@kernel
def observe(params, arrays, i, lane, lanes, block):
    """Write environment i's observation, and those of the robots that a policy drives.

    The newest scan pushes the oldest out of the stack.
    """
    if arrays.failed[i]:
        return
    stage = arrays.scenes[arrays.count[i, a.SCENE]]
    row = arrays.observation[arrays.now[0], i]
    before = arrays.observation[1 - arrays.now[0], i]
    if lane == 0:
        feel(row, arrays.robot[i])
    beams = arrays.beams.shape[1]
    look(row[a.POSE : a.POSE + beams], params, arrays, stage, i, LEARNER, lane, lanes, block)
    begins = arrays.count[i, a.STEP] == 0
    for b in range(lane, beams, lanes):  # each lane copies the beams that it has cast itself
        for k in range(a.POSE + beams + b, row.shape[0], beams):
            row[k] = row[k - beams] if begins else before[k - beams]
    if params.driven > 0:
        for r in range(stage.robots):
            observe_other(params, arrays, stage, i, np.int64(r), lane, lanes, block)


@kernel
def observe_other(params, arrays, stage, i, r, lane, lanes, block):
    """Write the observation of other robot r: what a policy would get if it were the learner."""
    one = arrays.others[i, r]
    if one[a.X] <= FAR:
        return
    row = arrays.other_observation[i, r]
    if lane == 0:
        feel(row, one)
    beams = arrays.beams.shape[1]
    begins = int(one[a.SINCE]) == arrays.count[i, a.STEP]
    stack = row.shape[0] - a.POSE - beams  # entries of older scans
    for b in range(lane, beams, lanes):
        for k in range(stack - beams + b, -1, -beams):  # from the oldest on, each takes the next newer one
            row[a.POSE + beams + k] = row[a.POSE + k]
    look(row[a.POSE : a.POSE + beams], params, arrays, stage, i, r + 1, lane, lanes, block)
    if begins:
        for b in range(lane, beams, lanes):
            for k in range(a.POSE + beams + b, row.shape[0], beams):
                row[k] = row[k - beams]
