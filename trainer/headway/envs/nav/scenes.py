"""Scenes: the rows that stages draw from, made of the contract and of the files that it names.

A scene is one kind of generated world, or one file, together with who moves in it and how far the goal is. A stage has
one scene, or several: one for each file of a list, and a mixture's entries one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from headway_api.curriculum_spec import Stage
from headway_api.nav_spec import Automaton, Cells, Clutter, Empty, NavEnv, Polygons, Rooms, SingleWorld
from headway_api.train_spec import TrainSpec
from numpy.typing import NDArray

from headway.envs.nav.files import FileWorld, find_files, of_split
from headway.envs.nav.gazebo import load_world
from headway.envs.nav.ros_map import load_map
from headway.errors import SpecError

CELL_METERS = 0.2  # of generated worlds
MARGIN_METERS = 0.1  # start and goal are connected for a disc this much larger than the robot
OPEN_METERS = 3.0  # free ground beside and beyond an automaton's field
ZONE_METERS = 2.0  # length of the zones in which its episodes begin and end
MAX_TOTAL_CELLS = 400_000_000
MAX_SIDES = 7  # of a polygon, see polygons.py
EMPTY, CLUTTER, MAP, CELLS, POLYGONS, ROOMS, AUTOMATON = range(7)
STRAIGHT, SOCIAL_FORCE, ORCA = 0, 1, 2
PEOPLE_MODELS = {"straight": STRAIGHT, "socialForce": SOCIAL_FORCE, "orca": ORCA}

SCENE_DTYPE = np.dtype(
    [
        ("stage", np.int32),
        ("kind", np.int32),
        ("map", np.int32),  # index into maps
        ("height", np.int32),  # cells, with the outer ring
        ("width", np.int32),
        ("cell", np.float32),  # metres
        ("origin_x", np.float32),  # world position of the grid's lower-left corner
        ("origin_y", np.float32),
        ("records", np.int32),  # room for shapes in a generated world, see shapes.World
        ("entries", np.int32),  # room for entries of cells' lists of shapes
        ("fit", np.float32),  # radius in metres of the disc that start and goal are connected for
        # What the kinds of generated worlds take, see their builders.
        ("fill", np.float32),
        ("least_fill", np.float32),
        ("count", np.int32),  # walls, obstacles, rounds of smoothing
        ("small", np.float32),  # smallest radius, smallest room; metres
        ("large", np.float32),  # largest radius, width of a door; metres
        ("block", np.int32),  # grid cells a side of a coarse cell
        ("left", np.int32),  # cells left and right of an automaton's field
        ("field", np.int32),  # its first row, how many rows it has, and how many the goal zone
        ("field_rows", np.int32),
        ("zone", np.int32),
        # A fixed route: 1 if there is one; metres and radians.
        ("route", np.int32),
        ("start_x", np.float32),
        ("start_y", np.float32),
        ("start_heading", np.float32),
        ("goal_x", np.float32),
        ("goal_y", np.float32),
        ("start_noise", np.float32),
        ("heading_noise", np.float32),
        ("start_fit", np.float32),  # free radius of a start with noise
        ("people", np.int32),
        ("people_speed", np.float32),
        ("people_model", np.int32),
        ("people_yield", np.float32),
        ("robots", np.int32),
        ("min_goal", np.float32),
        ("max_goal", np.float32),
    ],
    align=True,
)
Row = dict[str, Any]


@dataclass
class Scenes:
    """What an environment's levels are made of."""

    table: NDArray[np.void]  # [C] of SCENE_DTYPE
    choices: NDArray[np.int64]  # [T, 1 + E, 2]: see `Arrays.choices`
    maps: list[FileWorld] = field(default_factory=list)


class _Loader:
    """Reads each list of files once, however many stages name it."""

    def __init__(self, spec: TrainSpec, split: str, read: dict[str, Callable[[Path], FileWorld]]) -> None:
        self._seed, self._split, self._read = spec.seed, split, read
        self.maps: list[FileWorld] = []
        self._lists: dict[tuple[str, str, float], list[int]] = {}

    def list_files(self, place: str, kind: str, pattern: str, held_out: float) -> list[int]:
        """Indices in `maps` of the split's files. Files of other splits are read too: a bad one is found now."""
        key = (kind, pattern, held_out)
        if key not in self._lists:
            files = find_files(place, pattern)
            chosen = of_split(place.rpartition(".")[0] + ".heldOut", files, held_out, self._seed, self._split)
            loaded = [self._read[kind](file) for file in files]
            self._lists[key] = [len(self.maps) + k for k in range(len(chosen))]
            self.maps += [loaded[k] for k in chosen]
        return self._lists[key]


def build_scenes(spec: TrainSpec, split: str) -> Scenes:
    """Make the scenes of all stages. Raises SpecError for files that cannot be used."""
    nav = spec.env.nav
    assert nav is not None
    reach = nav.lidar.range_meters
    loader = _Loader(spec, split, {"map": load_map, "gazebo": lambda file: load_world(file, reach)})
    rows: list[Row] = []
    blocks: list[list[tuple[int, int]]] = []  # of each stage: (first scene, scenes) of each entry of its mixture
    for number, stage in enumerate(spec.curriculum.stages):
        blocks.append([])
        for place, entry in _entries(stage):
            first = len(rows)
            rows += [
                {**row, **_common(stage, nav, row["kind"]), "stage": number}
                for row in _worlds(place, entry, loader, nav)
            ]
            blocks[-1].append((first, len(rows) - first))
    table = np.zeros(len(rows), SCENE_DTYPE)
    for record, row in zip(table, rows, strict=True):
        for column, value in row.items():
            record[column] = value
    choices = np.zeros((len(blocks), 1 + max(map(len, blocks)), 2), np.int64)
    for choice, block in zip(choices, blocks, strict=True):
        choice[0, 0] = len(block)
        choice[1 : 1 + len(block)] = block
    _check_memory(loader.maps)
    return Scenes(table, choices, loader.maps)


def _check_memory(maps: list[FileWorld]) -> None:
    """Raise SpecError if the worlds together, each as large as the largest, would not fit into memory."""
    largest = max((world.occupied.size for world in maps), default=0)
    if largest * len(maps) > MAX_TOTAL_CELLS:
        raise SpecError(
            "train.curriculum.stages",
            f"{len(maps)} files of up to {largest} cells",
            f"more than {MAX_TOTAL_CELLS} cells together: name fewer files, or coarser maps",
        )


def _entries(stage: Stage) -> Iterator[tuple[str, SingleWorld]]:
    """The worlds that a stage mixes, or its only one, each with its place in the spec."""
    assert stage.levels is not None
    place, world = f"train.curriculum.stages[{stage.name}].levels.world", stage.levels.world
    if world.mixture is None:
        yield place, world
    for k, entry in enumerate(world.mixture or []):
        yield f"{place}.mixture[{k}]", entry


def _common(stage: Stage, nav: NavEnv, kind: int) -> Row:
    """What all scenes of a stage share."""
    levels, body = stage.levels, nav.robot.footprint
    assert levels is not None
    # An automaton's passages are as narrow as BARN's: wide enough for a robot that drives straight through.
    row: Row = {
        "people": levels.people,
        "people_speed": levels.people_speed,
        "people_model": PEOPLE_MODELS[levels.people_model],
        "people_yield": levels.people_yield,
        "robots": levels.robots,
        "min_goal": levels.min_goal_meters,
        "max_goal": levels.max_goal_meters,
        "fit": (body.inner_radius if kind == AUTOMATON else body.outer_radius) + MARGIN_METERS,
    }
    route = levels.route
    if route is not None:
        # A person chose this route: refuse only what the robot's inner disc cannot drive.
        row |= {
            "route": 1,
            "fit": body.inner_radius,
            "start_x": route.start_x,
            "start_y": route.start_y,
            "start_heading": math.radians(route.start_heading_degrees),
            "goal_x": route.goal_x,
            "goal_y": route.goal_y,
            "start_noise": nav.randomization.start_meters,
            "heading_noise": math.radians(nav.randomization.start_degrees),
            "start_fit": body.outer_radius,
        }
    return row


def _worlds(place: str, world: SingleWorld, loader: _Loader, nav: NavEnv) -> list[Row]:
    """The columns of one entry's scenes."""
    name, source = world.chosen()
    if world.map is not None:
        indices = loader.list_files(f"{place}.map.yaml", "map", world.map.yaml, world.map.held_out)
        return [_file_row(loader.maps[k], k) for k in indices]
    if world.gazebo is not None:
        indices = loader.list_files(f"{place}.gazebo.world", "gazebo", world.gazebo.world, world.gazebo.held_out)
        return [_file_row(loader.maps[k], k) for k in indices]
    return [GENERATED[name](source, nav)]


def _file_row(source: FileWorld, index: int) -> Row:
    height, width = source.occupied.shape
    x, y = source.origin
    return {"kind": MAP, "map": index, "height": height, "width": width, "cell": source.resolution,
            "origin_x": x, "origin_y": y}  # fmt: skip


def _square(kind: int, meters: float, cell: float = CELL_METERS) -> Row:
    """A walled square: its inner corner is the origin, the ring lies outside."""
    side = 2 + max(1, round(meters / cell))
    return {"kind": kind, "height": side, "width": side, "cell": cell, "origin_x": -cell, "origin_y": -cell}


def _empty(world: Empty, nav: NavEnv) -> Row:
    return _square(EMPTY, world.size_meters)


def _clutter(world: Clutter, nav: NavEnv) -> Row:
    return {**_square(CLUTTER, world.size_meters), "fill": world.fill, "count": world.walls}


def _cells(world: Cells, nav: NavEnv) -> Row:
    """Grid cells are the coarse cells, which is fastest, unless two robots would be wider: then parts of them."""
    passage = 2 * (nav.robot.footprint.outer_radius + MARGIN_METERS)
    block = 1 if world.cell_meters >= passage else math.ceil(world.cell_meters / CELL_METERS - 1e-6)
    across = max(1, round(world.size_meters / world.cell_meters))
    row = _square(CELLS, across * world.cell_meters, world.cell_meters / block)
    return {**row, "fill": world.fill, "block": block}


def _polygons(world: Polygons, nav: NavEnv) -> Row:
    around = math.ceil(12 * world.max_meters / CELL_METERS) + 16  # entries of one obstacle's outline
    return {
        **_square(POLYGONS, world.size_meters),
        "count": world.count,
        "small": world.min_meters,
        "large": world.max_meters,
        "records": MAX_SIDES * world.count,
        "entries": min(around * world.count, 65000),
    }


def _rooms(world: Rooms, nav: NavEnv) -> Row:
    pieces = 32 + int(world.fill * world.size_meters**2 / 0.2)
    return {
        **_square(ROOMS, world.size_meters),
        "fill": world.fill,
        "small": world.room_meters,
        "large": world.door_meters,
        "records": min(4 * pieces, 16000),
        "entries": min(48 * pieces, 65000),
    }


def _automaton(world: Automaton, nav: NavEnv) -> Row:
    """The origin is the inner corner of the walls, as it is of BARN's worlds."""
    cell = world.cell_meters
    across, rows = round(world.width_meters / cell), round(world.length_meters / cell)
    left, zone = math.ceil(OPEN_METERS / cell), math.ceil(ZONE_METERS / cell)
    field_at = 2 + zone
    cylinders = (field_at + rows) * across
    return {
        "kind": AUTOMATON,
        "height": field_at + rows + left,
        "width": across + 2 * left,
        "cell": cell,
        "origin_x": -left * cell,
        "origin_y": -cell,
        "records": min(cylinders, 65000),
        "entries": min(cylinders, 65000),
        "fill": world.fill,
        "least_fill": world.min_fill,
        "count": world.smoothing,
        "left": left,
        "field": field_at,
        "field_rows": rows,
        "zone": zone,
    }


GENERATED: dict[str, Callable[[Any, NavEnv], Row]] = {
    "empty": _empty,
    "clutter": _clutter,
    "cells": _cells,
    "polygons": _polygons,
    "rooms": _rooms,
    "automaton": _automaton,
}
