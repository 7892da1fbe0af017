"""A level of headway/Nav-v0 as a world of ir-sim: obstacles as its rectangles, circles, polygons and lines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from headway_api.nav_spec import NavEnv
from numpy.typing import NDArray

from headway.envs.nav.arrays import PERSON_RADIUS
from headway.envs.nav.vector import Level

FASTEST = 10.0  # m/s: no limit of people's, who are told how fast to walk


def world_of(level: Level, nav: NavEnv, step_seconds: float) -> dict[str, Any]:
    """Return a level as ir-sim's world file: object 0 is the robot, 1 to P the people, then what stands."""
    height, width = (side * level.cell for side in level.occupied.shape)
    return {
        "world": {
            "height": height, "width": width, "offset": list(level.origin), "step_time": step_seconds,
            "sample_time": step_seconds, "collision_mode": "unobstructed_obstacles",  # people walk through one another
        },
        "robot": [_robot(level, nav)],
        "obstacle": [*map(_person, level.people.tolist()), *standing(level)],
    }  # fmt: skip


def standing(level: Level) -> list[dict[str, Any]]:
    """Return what does not move: solid cells, discs, polygons and lines."""
    boxes = [_box(level, *rectangle) for rectangle in rectangles(level.occupied)]
    discs = [{"shape": {"name": "circle", "radius": r}, "state": [x, y, 0.0]} for x, y, r in level.discs]
    return boxes + discs + [_outline(corners) for corners in level.polygons]


def rectangles(occupied: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Cover the occupied cells with rectangles (row, column, rows, columns) that do not overlap: few, not fewest."""
    left = occupied.copy()
    found = []
    for y, x in zip(*np.nonzero(occupied), strict=True):
        if not left[y, x]:
            continue
        across = int(np.argmin(np.append(left[y, x:], False)))
        along = int(np.argmin(np.append(left[y:, x : x + across].all(axis=1), False)))
        left[y : y + along, x : x + across] = False
        found.append((int(y), int(x), along, across))
    return found


def _robot(level: Level, nav: NavEnv) -> dict[str, Any]:
    limits, disc, box = nav.robot, nav.robot.footprint.disc, nav.robot.footprint.rectangle
    full = nav.lidar.field_of_view_degrees == 360.0
    lidar = {
        "type": "lidar2d", "range_min": 0.0, "range_max": nav.lidar.range_meters,
        "angle_range": math.radians(nav.lidar.field_of_view_degrees), "number": nav.lidar.beams + full,
    }  # fmt: skip
    return {
        "kinematics": {"name": "diff"}, "sensors": [lidar],
        "shape": {"name": "circle", "radius": disc.radius_meters} if disc
        else {"name": "rectangle", "length": box.length_meters, "width": box.width_meters},
        "state": list(level.robot), "goal": [*level.goal, 0.0], "goal_threshold": level.goal_radius,
        "vel_min": [limits.min_speed, -limits.max_turn_rate], "vel_max": [limits.max_speed, limits.max_turn_rate],
        "acce": [limits.max_acceleration, limits.max_turn_acceleration],
    }  # fmt: skip


def _person(place: list[float]) -> dict[str, Any]:
    return {
        "kinematics": {"name": "omni"}, "shape": {"name": "circle", "radius": PERSON_RADIUS}, "state": [*place, 0.0],
        "vel_min": [-FASTEST, -FASTEST], "vel_max": [FASTEST, FASTEST],
    }  # fmt: skip


def _box(level: Level, y: int, x: int, along: int, across: int) -> dict[str, Any]:
    centre = [level.origin[0] + (x + across / 2) * level.cell, level.origin[1] + (y + along / 2) * level.cell, 0.0]
    return {"shape": {"name": "rectangle", "length": across * level.cell, "width": along * level.cell}, "state": centre}


def _outline(corners: NDArray[np.float64]) -> dict[str, Any]:
    """A convex polygon; of two corners: a line."""
    name = "linestring" if len(corners) == 2 else "polygon"
    return {"shape": {"name": name, "vertices": corners.tolist()}, "state": [0.0, 0.0, 0.0]}
