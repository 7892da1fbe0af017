"""A level and a drive through it as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from headway_api.nav_spec import Footprint
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headway.envs.nav.arrays import PERSON_RADIUS
from headway.envs.nav.vector import Level

Colour = tuple[int, int, int]
Points = Sequence[Sequence[float]] | NDArray[np.float64]
INK: dict[str, Colour] = {
    "free": (250, 250, 248), "obstacle": (58, 64, 72), "goal": (46, 160, 67), "near goal": (214, 238, 218),
    "person": (222, 128, 36), "head": (150, 78, 12), "other robot": (134, 80, 172),
    "seen": (236, 242, 250), "beam": (216, 227, 243),
}  # fmt: skip
ROBOT, TRAIL = (31, 94, 199), (120, 165, 230)
HEAD = 0.45  # of a person's radius
FINE = 2  # drawn this much larger and shrunk: smooth edges


class _Sheet:
    """A picture under way, addressed in metres of the world, y upwards."""

    def __init__(self, level: Level, pixels: int) -> None:
        height, width = level.occupied.shape
        cell = FINE * max(1, round(pixels / max(height, width)))  # pixels
        self.per_meter, self._origin, self._bottom = cell / level.cell, level.origin, height * cell
        self.stroke = max(FINE, round(0.05 * self.per_meter))
        self.image = Image.new("RGB", (width * cell, height * cell), INK["free"])
        self._draw = ImageDraw.Draw(self.image)

    def disc(self, centre: Sequence[float], radius: float, ink: Colour) -> None:
        (x, y), r = self._place(centre), radius * self.per_meter
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)

    def polygon(self, corners: Points, ink: Colour) -> None:
        self._draw.polygon([self._place(corner) for corner in corners], fill=ink)

    def line(self, points: Points, ink: Colour, width: int) -> None:
        self._draw.line([self._place(point) for point in points], fill=ink, width=width, joint="curve")

    def _place(self, point: Sequence[float]) -> tuple[float, float]:
        x, y = (float(value) - start for value, start in zip(point, self._origin, strict=True))
        return x * self.per_meter, self._bottom - y * self.per_meter


def render(
    level: Level, trajectory: Sequence[tuple[float, float]] = (), pixels: int = 400, beams: bool = False
) -> Image.Image:
    """Draw a level, the robot's way so far (`trajectory`, metres) and where robots and people are now.

    The picture's longer side is about `pixels`. Green: the goal and from where on it counts as reached; blue: the
    robot, its heading and its way; violet: other robots; orange: people; with `beams` also, faint, what its lidar
    reports.
    """
    sheet = _Sheet(level, pixels)
    if beams:
        _draw_scan(sheet, level)
    _draw_obstacles(sheet, level)
    _draw_goal(sheet, level)
    if len(trajectory) > 1:
        sheet.line(trajectory, TRAIL, sheet.stroke)
        sheet.disc(trajectory[0], level.footprint.inner_radius / 2, TRAIL)
    for person in level.people:
        sheet.disc(person, PERSON_RADIUS, INK["person"])
        sheet.disc(person, HEAD * PERSON_RADIUS, INK["head"])
    for other in level.others:
        _draw_robot(sheet, other.tolist(), level.footprint, INK["other robot"])
    _draw_robot(sheet, level.robot, level.footprint, ROBOT)
    return sheet.image.reduce(FINE)


def _draw_scan(sheet: _Sheet, level: Level) -> None:
    x, y, heading = level.robot
    angles = heading + level.beam_angles
    ends = np.stack((x + level.scan * np.cos(angles), y + level.scan * np.sin(angles)), axis=1)
    sheet.polygon([(x, y), *ends], INK["seen"])
    for end in ends:
        sheet.line([(x, y), end], INK["beam"], FINE)


def _draw_obstacles(sheet: _Sheet, level: Level) -> None:
    solid = Image.fromarray(np.where(level.occupied[::-1], 255, 0).astype(np.uint8))
    sheet.image.paste(INK["obstacle"], (0, 0), solid.resize(sheet.image.size, Image.Resampling.NEAREST))
    for x, y, radius in level.discs:
        sheet.disc((x, y), radius, INK["obstacle"])
    for corners in level.polygons:
        if len(corners) == 2:
            sheet.line(corners, INK["obstacle"], sheet.stroke)
        else:
            sheet.polygon(corners, INK["obstacle"])


def _draw_goal(sheet: _Sheet, level: Level) -> None:
    """A target: the rim that must be reached, and a dot where it cannot be overlooked."""
    rim = sheet.stroke / sheet.per_meter
    sheet.disc(level.goal, level.goal_radius, INK["goal"])
    sheet.disc(level.goal, level.goal_radius - rim, INK["near goal"])
    sheet.disc(level.goal, max(0.5 * level.goal_radius, rim), INK["goal"])


def _draw_robot(sheet: _Sheet, pose: Sequence[float], footprint: Footprint, ink: Colour) -> None:
    x, y, heading = pose
    ahead = np.array([math.cos(heading), math.sin(heading)])
    across = np.array([-ahead[1], ahead[0]])
    centre, box = np.array([x, y]), footprint.rectangle
    if box is not None:
        along, side = ahead * box.length_meters / 2, across * box.width_meters / 2
        sheet.polygon(centre + np.stack([along + side, along - side, -along - side, side - along]), ink)
    else:
        sheet.disc((x, y), footprint.outer_radius, ink)
    reach = footprint.inner_radius  # of an arrowhead
    tail = -0.4 * ahead
    sheet.polygon(centre + reach * np.stack([0.8 * ahead, tail + 0.5 * across, tail - 0.5 * across]), INK["free"])
