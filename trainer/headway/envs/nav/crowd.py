"""People: discs that walk straight from one random free place to another and do not yield to anybody.

The next place is drawn among those that the disc can reach in a straight line (`swath_is_free`), so nobody ever walks
through an obstacle or gets stuck at one. A person for whom no draw fits stands still and draws again at the next step.
"""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.grid import cast_ray, obstacle_distance, swath_is_free
from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import CROWD, WALK, uniforms

f32 = np.float32
RADIUS = f32(a.PERSON_RADIUS)
BERTH = f32(0.03)  # people keep this much more from obstacles, against rounding
START_CLEAR = f32(1.5)  # nobody begins nearer to the robot than this
FAR = f32(-1.0e6)  # where a person is for whom no place was found
LONGEST_WALK = f32(6.0)
WALK_DRAWS = 8


@kernel
def place_people(people, legs, robot, world, stage, cells, count, key):
    """Begin an episode: each person at a random place of `cells`, in metres, standing."""
    width = int(stage.width)
    fit = (RADIUS + BERTH) / stage.cell
    for p in range(people.shape[0]):
        legs[p] = 0
        people[p, a.PERSON_X] = FAR
        people[p, a.PERSON_Y] = FAR
        if p < stage.people:
            for draw in range(64):
                u0, u1, _, _ = uniforms(key, CROWD, p, draw)
                cell = int(cells[int(u0 * f32(count))])
                cx = f32(cell % width) + f32(0.5)
                cy = f32(cell // width) + f32(0.5)
                x = stage.origin_x + cx * stage.cell
                y = stage.origin_y + cy * stage.cell
                apart = f32(math.hypot(x - robot[a.X], y - robot[a.Y]))
                if apart >= START_CLEAR and obstacle_distance(world, cx, cy, fit) >= fit:
                    people[p, a.PERSON_X] = x
                    people[p, a.PERSON_Y] = y
                    people[p, a.PERSON_SPEED] = stage.people_speed * (f32(0.5) + f32(0.5) * u1)
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
            break
    legs[p] += 1


@kernel
def send_people(people, legs, world, stage, key):
    """At the beginning of a step, give a new place to go to everyone who has arrived."""
    for p in range(stage.people):
        here = people[p, a.PERSON_X] == people[p, a.TARGET_X] and people[p, a.PERSON_Y] == people[p, a.TARGET_Y]
        if here and people[p, a.PERSON_X] > FAR:
            choose_walk(people[p], legs, np.int64(p), world, stage, key)


@kernel
def walk(people, stage, seconds):
    """Move everyone towards their place."""
    for p in range(stage.people):
        dx = people[p, a.TARGET_X] - people[p, a.PERSON_X]
        dy = people[p, a.TARGET_Y] - people[p, a.PERSON_Y]
        left = f32(math.sqrt(dx * dx + dy * dy))
        stride = people[p, a.PERSON_SPEED] * seconds
        if left <= stride:
            people[p, a.PERSON_X] = people[p, a.TARGET_X]
            people[p, a.PERSON_Y] = people[p, a.TARGET_Y]
        else:
            people[p, a.PERSON_X] += dx / left * stride
            people[p, a.PERSON_Y] += dy / left * stride


@kernel
def person_distance(people, stage, x, y):
    """Distance from a point to the nearest person's footprint in metres; negative inside."""
    best = f32(math.inf)
    for p in range(stage.people):
        dx = people[p, a.PERSON_X] - x
        dy = people[p, a.PERSON_Y] - y
        best = min(best, dx * dx + dy * dy)
    return f32(math.sqrt(best)) - RADIUS
