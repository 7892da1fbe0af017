"""Discs and convex polygons at any place and angle."""

import math

import numpy as np

from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import LAYOUT, uniforms
from headway.envs.nav.shapes import add_convex, add_disc, set_corner

f32 = np.float32
MAX_SIDES = 7
DISCS = 0.3  # share of the obstacles
SLIMMEST = 0.35  # width of a polygon's ellipse as a share of its length
JITTER = 0.35  # of a corner's angle, as a share of the angle between two
FIRST_DRAW = np.int64(6000)


@kernel
def build_polygons(world, stage, key, attempt, easing):
    """Place `count` obstacles: discs, and polygons whose corners lie on an ellipse, which makes them convex."""
    inner_x = f32(stage.width - 2)
    inner_y = f32(stage.height - 2)
    for number in range(int(f32(stage.count) * easing + f32(0.5))):
        at = FIRST_DRAW + 4 * number
        u0, u1, u2, u3 = uniforms(key, LAYOUT, attempt, at)
        v0, v1, v2, _ = uniforms(key, LAYOUT, attempt, at + 1)
        x = f32(1.0) + u0 * inner_x
        y = f32(1.0) + u1 * inner_y
        radius = (stage.small + (stage.large - stage.small) * u2) / stage.cell
        if u3 < f32(DISCS):
            add_disc(world, x, y, radius)
            continue
        sides = 3 + int(v0 * f32(MAX_SIDES - 2))
        slim = f32(SLIMMEST) + f32(1.0 - SLIMMEST) * v1
        cos = f32(math.cos(f32(2.0 * math.pi) * v2))
        sin = f32(math.sin(f32(2.0 * math.pi) * v2))
        for k in range(sides):
            w0, w1, w2, w3 = uniforms(key, LAYOUT, attempt, at + 2 + k // 4)
            u = w0 if k % 4 == 0 else w1 if k % 4 == 1 else w2 if k % 4 == 2 else w3
            angle = f32(2.0 * math.pi) * (f32(k) + f32(JITTER) * (f32(2.0) * u - f32(1.0))) / f32(sides)
            along = radius * f32(math.cos(angle))
            aside = radius * slim * f32(math.sin(angle))
            set_corner(world, np.int64(k), x + along * cos - aside * sin, y + along * sin + aside * cos)
        add_convex(world, np.int64(sides))
