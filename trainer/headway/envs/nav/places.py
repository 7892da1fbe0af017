"""Worlds from files, made ready: clearances, lists of shapes, and where episodes may begin and end."""

from __future__ import annotations

import numpy as np
from headway_api.train_spec import TrainSpec

from headway.envs.nav.arrays import Arrays
from headway.envs.nav.files import FileWorld
from headway.envs.nav.grid import finish_world, fits, flood
from headway.envs.nav.jit import kernel
from headway.envs.nav.levels import route_state
from headway.envs.nav.scenes import MAP, MARGIN_METERS, Scenes
from headway.envs.nav.shapes import FREE, OBSTACLE, add_box, add_disc, map_world, overflowed
from headway.errors import SpecError

# What `route_state` found, and what to do.
NO_ROUTE = {
    1: "the start lies in an obstacle or outside the world",
    2: "the goal lies in an obstacle or outside the world",
    3: "no way leads from the start to the goal that the robot fits through",
}


def add_files(arrays: Arrays, scenes: Scenes, spec: TrainSpec) -> None:
    """Fill in `maps`, their shapes and `places`. Raises SpecError where a robot fits nowhere or a route is shut."""
    assert spec.env.nav is not None
    body = spec.env.nav.robot.footprint
    for number, source in enumerate(scenes.maps):
        _add_file(arrays, number, source)
        fit = (body.outer_radius + MARGIN_METERS) / source.resolution
        height, width = source.occupied.shape
        rows = np.array(source.inside or (1, height - 1, 1, width - 1))
        arrays.place_count[number] = largest_region(arrays, number, height, width, rows, np.float32(fit))
    for row in np.flatnonzero(scenes.table["kind"] == MAP):
        scene = scenes.table[row]
        source, stage = scenes.maps[scene["map"]], spec.curriculum.stages[scene["stage"]]
        field = f"train.curriculum.stages[{stage.name}].levels.route"
        if not scene["route"] and arrays.place_count[scene["map"]] == 0:
            raise SpecError("train.env.nav.robot.footprint", body.to_wire(), f"the robot fits nowhere in {source.name}")
        if scene["route"] and (state := _route_on_file(arrays, scenes.table, row)):
            assert stage.levels is not None and stage.levels.route is not None
            raise SpecError(field, stage.levels.route.to_wire(), f"in {source.name}: {NO_ROUTE[state]}")


def _add_file(arrays: Arrays, number: int, source: FileWorld) -> None:
    height, width = source.occupied.shape
    arrays.maps[number, :height, :width] = np.where(source.occupied, OBSTACLE, FREE)
    discs, boxes = source.discs.copy(), source.boxes.copy()
    for rows, lengths in ((discs, [2]), (boxes, [2, 3])):
        rows[:, :2] -= source.origin
        rows[:, [0, 1, *lengths]] /= source.resolution
    if not enter_shapes(arrays, number, height, width, discs.astype(np.float32), boxes.astype(np.float32)):
        raise SpecError("gazebo.world", source.name, "holds more shapes than the tables of one world can")


@kernel
def enter_shapes(arrays, number, height, width, discs, boxes):  # type: ignore[no-untyped-def]
    """Enter a file's shapes, in cells, into its world and finish it. Returns whether all had room."""
    world = map_world(arrays, number, height, width)
    for k in range(discs.shape[0]):
        add_disc(world, discs[k, 0], discs[k, 1], discs[k, 2])
    for k in range(boxes.shape[0]):
        add_box(world, boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3], boxes[k, 4])
    finish_world(world)
    return not overflowed(world)


@kernel(allocates=True)
def largest_region(arrays, number, height, width, inside, radius):  # type: ignore[no-untyped-def]
    """Write the cells of the largest region of a map that a disc can drive in to `places`; return how many.

    `inside`: first row, end of the rows, first column, end of the columns; the region does not leave them.
    """
    world = map_world(arrays, number, height, width)
    reached = np.ones((height, width), np.uint8)
    reached[inside[0] : inside[1], inside[2] : inside[3]] = 0
    queue = np.empty(height * width, np.int32)
    best = 0
    for y in range(inside[0], inside[1]):
        for x in range(inside[2], inside[3]):
            if reached[y, x] == 0 and fits(world, x, y, radius):
                count = flood(world, x, y, radius, reached, queue)
                if count > best:
                    best = count
                    arrays.places[number, :count] = queue[:count]
    return best


@kernel(allocates=True)
def _route_on_file(arrays, table, row):  # type: ignore[no-untyped-def]
    """What `route_state` says of a scene on a file."""
    scene = table[row]
    world = map_world(arrays, scene.map, scene.height, scene.width)
    reached = np.zeros((scene.height, scene.width), np.uint8)
    state, _ = route_state(world, reached, np.empty(scene.height * scene.width, np.int32), scene)
    return state
