"""ORCA on the shortest way: what knowing the map and everybody's place and velocity is worth.

The velocity that the robot wants leads along the shortest way on the true map (`shortest.py`), for ORCA alone knows no
way around anything; van den Berg et al. 2011 do so too (section 6). Half-planes of everybody near and of the nearest
wall then allow a velocity (`nav/orca.py`). A robot on two wheels cannot drive it at once, but a point AHEAD metres
before its axle can: its velocity is any, with v its part along the heading and w AHEAD its part aside. So ORCA moves
that point, with a disc that holds the robot's whatever it does, AHEAD larger (Snape, van den Berg, Guy and Manocha,
"Smooth and collision-free navigation for multiple robots under differential-drive constraints", IROS 2010). Limits of
acceleration and of driving backwards are not in it; the robot's disc is the one around its footprint.

People who see the robot do half of what is needed, those who do not, nothing.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav import orca
from headway.envs.nav.jit import kernel
from headway.envs.nav.reactive import body as other_body
from headway.envs.nav.reactive import nearest_wall
from headway.envs.nav.scenes import STRAIGHT
from headway.envs.nav.step import world_of
from headway.envs.planners.body import command
from headway.envs.planners.shortest import TURN_GAIN, careful_speed, keep_way, target

f32 = np.float32
AHEAD = 0.1  # metres
SIGHT = 5.0  # metres
SECONDS = f32(2.5)  # for which velocities must be free of collisions with bodies
WALL_SECONDS = f32(0.5)
STANDING = 0.01  # m/s
BERTH = f32(0.05)  # more distance from bodies, against the limits of acceleration


@kernel
def velocity_of(k, arrays, i, stage, radius):
    """Return (x, y, velocity x, velocity y, radius) of body k; who walks straight on keeps his velocity as a target."""
    people = arrays.people[i]
    x, y, vx, vy, size = other_body(k, people, arrays.robot[i], arrays.others[i], stage, radius)
    if k < stage.people and stage.people_model == STRAIGHT:
        dx = people[k, a.TARGET_X] - x
        dy = people[k, a.TARGET_Y] - y
        left = f32(math.sqrt(dx * dx + dy * dy))
        if left > 0:
            vx = people[k, a.PERSON_SPEED] * dx / left
            vy = people[k, a.PERSON_SPEED] * dy / left
    return x, y, vx, vy, size


@kernel
def half_planes(body, arrays, i, stage, world, x, y, vx, vy, lines):
    """Write the half-planes for a point at (x, y) with velocity (vx, vy); return how many are walls', how many in all.

    Everything in metres.
    """
    radius = f32(body.outer_radius + AHEAD)
    reach = f32(body.outer_radius) + f32(body.max_speed) * WALL_SECONDS
    px = f32((x - stage.origin_x) / stage.cell)
    py = f32((y - stage.origin_y) / stage.cell)
    distance, nx, ny = nearest_wall(world, px, py, f32(reach / stage.cell))
    walls = 0
    if nx != 0 or ny != 0:  # the way keeps the whole robot off walls; this holds the point back
        free = max(f32(distance * stage.cell - body.inner_radius), f32(0.0))
        orca.keep_off(lines[0], nx, ny, free, WALL_SECONDS)
        walls = 1
    rows = walls
    for k in range(stage.people + 1 + stage.robots):
        if k == stage.people:
            continue  # the robot itself
        ox, oy, ux, uy, size = velocity_of(k, arrays, i, stage, f32(body.outer_radius))
        dx = f32(ox - x)
        dy = f32(oy - y)
        if dx * dx + dy * dy > SIGHT * SIGHT:
            continue
        yields = k < stage.people and arrays.people[i, k, a.PERSON_YIELDS] > 0
        share = f32(0.5) if yields else f32(1.0)
        both = radius + size + BERTH
        orca.avoid(lines[rows], dx, dy, vx, vy, ux, uy, both, SECONDS, f32(body.step_seconds), share)
        rows += 1
    return walls, rows


@kernel
def avoid(body, arrays, i, stage, world, toward, lines, room, action):
    """Act for environment i."""
    robot = arrays.robot[i]
    cos = math.cos(robot[a.HEADING])
    sin = math.sin(robot[a.HEADING])
    x = robot[a.X] + AHEAD * cos
    y = robot[a.Y] + AHEAD * sin
    speed = float(robot[a.SPEED])
    aside = AHEAD * robot[a.TURN]
    vx = f32(speed * cos - aside * sin)
    vy = f32(speed * sin + aside * cos)
    tx, ty, free = target(body, arrays, i, stage, world, toward)
    far = math.hypot(tx - robot[a.X], ty - robot[a.Y])
    wanted = careful_speed(body, free) / max(far, 1e-6)
    ax = f32(wanted * (tx - robot[a.X]))
    ay = f32(wanted * (ty - robot[a.Y]))
    walls, rows = half_planes(body, arrays, i, stage, world, x, y, vx, vy, lines)
    bx, by = orca.solve(lines, walls, rows, f32(body.max_speed), ax, ay, room)
    along, aside = bx * cos + by * sin, by * cos - bx * sin
    turn = aside / AHEAD
    if along < min(body.min_speed, 0.0) - STANDING:  # it cannot drive back so fast; straight behind, w would be 0
        turn = TURN_GAIN * math.atan2(aside, along)
    command(body, along, turn, action)


@kernel(nogil=True)
def orca_all(body, arrays, cost, toward, known, action):
    """Act for every environment; arguments as `shortest_way_all`'s."""
    most = arrays.people.shape[1] + arrays.others.shape[1] + 1
    lines = np.empty((most, 4), np.float32)
    room = np.empty((most, 4), np.float32)
    for i in range(arrays.robot.shape[0]):
        stage = arrays.scenes[arrays.count[i, a.SCENE]]
        world = world_of(arrays, stage, i)
        keep_way(body, arrays, i, stage, world, cost, toward[i], known[i])
        avoid(body, arrays, i, stage, world, toward[i], lines, room, action[i])
