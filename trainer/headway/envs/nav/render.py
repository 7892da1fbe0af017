"""A level and a drive through it as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from headway.envs.nav.arrays import PERSON_RADIUS
from headway.envs.nav.vector import Level

INK = {"free": (250, 250, 248), "obstacle": (58, 64, 72), "goal": (46, 160, 67), "person": (214, 120, 30)}
ROBOT, TRAIL = (31, 94, 199), (120, 165, 230)


def render(level: Level, trajectory: Sequence[tuple[float, float]] = (), pixels: int = 400) -> Image.Image:
    """Draw a level, the robot's way so far (`trajectory`, metres) and where robot and people are now.

    The picture's longer side is about `pixels`. Green: the goal; blue: the robot and its way; orange: people.
    """
    height, width = level.occupied.shape
    scale = max(1, round(pixels / max(height, width)))  # pixels a cell
    shades = np.where(level.occupied[::-1, :, None], INK["obstacle"], INK["free"]).astype(np.uint8)
    image = Image.fromarray(shades).resize((width * scale, height * scale), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    per_meter = scale / level.cell

    def place(x: float, y: float) -> tuple[float, float]:
        return (x - level.origin[0]) * per_meter, height * scale - (y - level.origin[1]) * per_meter

    def disc(x: float, y: float, radius: float, **ink: tuple[int, int, int]) -> None:
        cx, cy = place(x, y)
        r = radius * per_meter
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), **ink)

    for polygon in level.polygons:
        corners = [place(float(x), float(y)) for x, y in polygon]
        if len(corners) == 2:
            draw.line(corners, fill=INK["obstacle"], width=max(1, scale // 4))
        else:
            draw.polygon(corners, fill=INK["obstacle"])
    for x, y, radius in level.discs:
        disc(x, y, radius, fill=INK["obstacle"])
    disc(*level.goal, level.goal_radius, fill=INK["goal"])
    for x, y in level.people:
        disc(float(x), float(y), PERSON_RADIUS, fill=INK["person"])
    if len(trajectory) > 1:
        draw.line([place(x, y) for x, y in trajectory], fill=TRAIL, width=max(2, round(0.07 * per_meter)))
        disc(*trajectory[0], level.radius / 2, fill=TRAIL)
    x, y, heading = level.robot
    disc(x, y, level.radius, fill=ROBOT)
    nose = (x + level.radius * math.cos(heading), y + level.radius * math.sin(heading))
    draw.line([place(x, y), place(*nose)], fill=INK["free"], width=max(1, round(0.05 * per_meter)))
    return image
