"""The planar range scanner: each beam's distance to the first obstacle or person, exact, at most the range."""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.grid import cast_ray
from headway.envs.nav.jit import kernel

f32 = np.float32
RADIUS_SQUARED = f32(a.PERSON_RADIUS) * f32(a.PERSON_RADIUS)


@kernel
def scan(ranges, robot, people, world, stage, beams, limit, lane, lanes):
    """Write the distances in metres to `ranges` [B], for the robot's present pose; every `lanes`-th from `lane` on."""
    x = robot[a.X]
    y = robot[a.Y]
    cos_h = f32(math.cos(robot[a.HEADING]))
    sin_h = f32(math.sin(robot[a.HEADING]))
    px = (x - stage.origin_x) / stage.cell
    py = (y - stage.origin_y) / stage.cell
    cells = limit / stage.cell
    for b in range(lane, ranges.shape[0], lanes):
        dx = cos_h * beams[b, 0] - sin_h * beams[b, 1]
        dy = sin_h * beams[b, 0] + cos_h * beams[b, 1]
        ranges[b] = cast_ray(world, px, py, dx, dy, cells) * stage.cell
    for p in range(stage.people):
        ox = people[p, a.PERSON_X] - x
        oy = people[p, a.PERSON_Y] - y
        # Nearest point of the circle |t d - o| = r along d: t = o.d - sqrt((o.d)^2 - |o|^2 + r^2).
        outside = ox * ox + oy * oy - RADIUS_SQUARED
        if outside >= (limit + f32(a.PERSON_RADIUS)) * (limit + f32(a.PERSON_RADIUS)):
            continue
        for b in range(lane, ranges.shape[0], lanes):
            along = ox * (cos_h * beams[b, 0] - sin_h * beams[b, 1]) + oy * (sin_h * beams[b, 0] + cos_h * beams[b, 1])
            root = along * along - outside
            if along > 0 and root >= 0:
                ranges[b] = min(ranges[b], max(along - f32(math.sqrt(root)), f32(0.0)))
