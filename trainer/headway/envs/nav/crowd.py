"""People: discs that walk from one random free place to another, straight through one another or by looking.

The next place is drawn among those that the disc can reach in a straight line (`swath_is_free`), so that a way there
exists. A person for whom no draw fits stands still and draws again at the next step. Straight walkers yield to nobody;
the others choose their velocities in `reactive.py`, and draw anew when they have not arrived in good time.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.grid import cast_ray, obstacle_distance, swath_is_free
from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import CROWD, WALK, uniforms
from headway.envs.nav.reactive import BERTH, FAR, RADIUS, choose_velocities, move_along
from headway.envs.nav.scenes import STRAIGHT

f32 = np.float32
START_CLEAR = f32(1.5)  # nobody begins nearer to the robot than this
LONGEST_WALK = f32(6.0)
WALK_DRAWS = 8
NEARLY = f32(0.2)  # m: people who look have arrived within this
PATIENCE_SECONDS = f32(3.0)  # added to twice the time that the straight walk takes


@kernel
def place_people(people, legs, robot, goal_radius, world, stage, cells, count, key):
    """Begin an episode: each person at a random place of `cells`, in metres, standing, and not in the goal's disc."""
    width = int(stage.width)
    fit = (RADIUS + BERTH) / stage.cell
    for p in range(people.shape[0]):
        legs[p] = 0
        people[p] = f32(0.0)
        people[p, a.PERSON_X] = FAR
        people[p, a.PERSON_Y] = FAR
        if p < stage.people:
            for draw in range(64):
                u0, u1, u2, _ = uniforms(key, CROWD, p, draw)
                cell = int(cells[int(u0 * f32(count))])
                cx = f32(cell % width) + f32(0.5)
                cy = f32(cell // width) + f32(0.5)
                x = stage.origin_x + cx * stage.cell
                y = stage.origin_y + cy * stage.cell
                apart = f32(math.hypot(x - robot[a.X], y - robot[a.Y]))
                to_goal = f32(math.hypot(x - robot[a.GOAL_X], y - robot[a.GOAL_Y]))
                clear = apart >= START_CLEAR and to_goal >= RADIUS + goal_radius
                if clear and obstacle_distance(world, cx, cy, fit) >= fit:
                    people[p, a.PERSON_X] = x
                    people[p, a.PERSON_Y] = y
                    people[p, a.PERSON_SPEED] = stage.people_speed * (f32(0.5) + f32(0.5) * u1)
                    people[p, a.PERSON_YIELDS] = f32(u2 < stage.people_yield)
                    break
        people[p, a.TARGET_X] = people[p, a.PERSON_X]
        people[p, a.TARGET_Y] = people[p, a.PERSON_Y]


@kernel
def choose_walk(person, legs, p, world, stage, key):
    """Draw where person `p` goes next: 0.5 to 6 m away, straight, no farther than the first obstacle that way."""
    px = (person[a.PERSON_X] - stage.origin_x) / stage.cell
    py = (person[a.PERSON_Y] - stage.origin_y) / stage.cell
    fit = (RADIUS + BERTH) / stage.cell
    for draw in range(WALK_DRAWS):
        u0, u1, _, _ = uniforms(key, WALK, p, legs[p] * WALK_DRAWS + draw)
        dx = f32(math.cos(f32(2.0 * math.pi) * u0))
        dy = f32(math.sin(f32(2.0 * math.pi) * u0))
        length = (f32(0.5) + (LONGEST_WALK - f32(0.5)) * u1) / stage.cell
        length = min(length, cast_ray(world, px, py, dx, dy, length + fit) - fit)
        if length * stage.cell < f32(0.5):
            continue
        tx = px + length * dx
        ty = py + length * dy
        if swath_is_free(world, px, py, tx, ty, fit):
            person[a.TARGET_X] = stage.origin_x + tx * stage.cell
            person[a.TARGET_Y] = stage.origin_y + ty * stage.cell
            person[a.PERSON_PATIENCE] = f32(2.0) * length * stage.cell / person[a.PERSON_SPEED] + PATIENCE_SECONDS
            break
    legs[p] += 1


@kernel
def has_arrived(person, stage):
    """Say whether a person needs a new place to go to: is there, or has been on the way for too long."""
    dx = person[a.TARGET_X] - person[a.PERSON_X]
    dy = person[a.TARGET_Y] - person[a.PERSON_Y]
    if stage.people_model == STRAIGHT:
        return dx == 0 and dy == 0
    return dx * dx + dy * dy < NEARLY * NEARLY or person[a.PERSON_PATIENCE] <= 0


@kernel
def send_people(people, legs, robot, others, world, stage, key, robot_radius, seconds, scratch):
    """At the beginning of a step of `seconds`: a new place for whoever has arrived, a velocity for who looks."""
    for p in range(stage.people):
        if people[p, a.PERSON_X] > FAR and has_arrived(people[p], stage):
            choose_walk(people[p], legs, np.int64(p), world, stage, key)
        people[p, a.PERSON_PATIENCE] -= seconds
    if stage.people > 0 and stage.people_model != STRAIGHT:
        choose_velocities(people, robot, others, world, stage, robot_radius, seconds, scratch)


@kernel
def walk_straight(person, seconds):
    """Move a straight walker towards their place, no farther."""
    dx = person[a.TARGET_X] - person[a.PERSON_X]
    dy = person[a.TARGET_Y] - person[a.PERSON_Y]
    left = f32(math.sqrt(dx * dx + dy * dy))
    stride = person[a.PERSON_SPEED] * seconds
    if left <= stride:
        person[a.PERSON_X] = person[a.TARGET_X]
        person[a.PERSON_Y] = person[a.TARGET_Y]
    else:
        person[a.PERSON_X] += dx / left * stride
        person[a.PERSON_Y] += dy / left * stride


@kernel
def walk(people, world, stage, seconds):
    """Move everyone for `seconds`."""
    for p in range(stage.people):
        if stage.people_model == STRAIGHT:
            walk_straight(people[p], seconds)
        elif people[p, a.PERSON_X] > FAR:
            move_along(people[p], world, stage, seconds)


@kernel
def person_distance(people, stage, x, y):
    """Distance from a point to the nearest person's footprint in metres; negative inside."""
    best = f32(math.inf)
    for p in range(stage.people):
        dx = people[p, a.PERSON_X] - x
        dy = people[p, a.PERSON_Y] - y
        best = min(best, dx * dx + dy * dy)
    return f32(math.sqrt(best)) - RADIUS
