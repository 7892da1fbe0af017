"""Scenes: the rows that stages draw from, made of the contract and of the files that it names.

A scene is one kind of generated world, or one file, together with who moves in it and how far the goal is. A stage has
one scene, or several: one for each file of a list, and a mixture's entries one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from headway_api.curriculum_spec import Stage
from headway_api.nav_spec import Clutter, Empty, Map, SingleWorld
from headway_api.train_spec import TrainSpec
from numpy.typing import NDArray

from headway.envs.nav.files import find_files, of_split
from headway.envs.nav.ros_map import RosMap, load_map

CELL_METERS = 0.2  # of generated worlds
EMPTY, CLUTTER, MAP = 0, 1, 2
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
        ("fill", np.float32),
        ("walls", np.int32),
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


@dataclass
class Scenes:
    """What an environment's levels are made of."""

    table: NDArray[np.void]  # [C] of SCENE_DTYPE
    choices: NDArray[np.int64]  # [S, 1 + E, 2]: see `Arrays.choices`
    maps: list[RosMap] = field(default_factory=list)


class _Loader:
    """Reads each file once, however many stages name it."""

    def __init__(self, seed: int, split: str) -> None:
        self.seed, self.split = seed, split
        self.maps: list[RosMap] = []
        self._lists: dict[tuple[str, float], list[int]] = {}

    def list_maps(self, place: str, source: Map) -> list[int]:
        """Indices in `maps` of the split's files. Files of other splits are read too: a bad one is found now."""
        key = (source.yaml, source.held_out)
        if key not in self._lists:
            files = find_files(f"{place}.yaml", source.yaml)
            chosen = of_split(f"{place}.heldOut", files, source.held_out, self.seed, self.split)
            loaded = [load_map(file) for file in files]
            self._lists[key] = [len(self.maps) + k for k in range(len(chosen))]
            self.maps += [loaded[k] for k in chosen]
        return self._lists[key]


def build_scenes(spec: TrainSpec, split: str) -> Scenes:
    """Make the scenes of all stages. Raises SpecError for files that cannot be used."""
    loader = _Loader(spec.seed, split)
    rows: list[dict[str, Any]] = []
    blocks = []  # of each stage: (first scene, scenes) of each entry of its mixture
    for number, stage in enumerate(spec.curriculum.stages):
        blocks.append([])
        for name, entry in _entries(stage):
            first = len(rows)
            rows += [{**_common(stage), **row, "stage": number} for row in _worlds(name, entry, loader)]
            blocks[-1].append((first, len(rows) - first))
    table = np.zeros(len(rows), SCENE_DTYPE)
    for record, row in zip(table, rows, strict=True):
        for column, value in row.items():
            record[column] = value
    choices = np.zeros((len(blocks), 1 + max(map(len, blocks)), 2), np.int64)
    for choice, block in zip(choices, blocks, strict=True):
        choice[0, 0] = len(block)
        choice[1 : 1 + len(block)] = block
    return Scenes(table, choices, loader.maps)


def _entries(stage: Stage) -> Iterator[tuple[str, SingleWorld]]:
    """The worlds that a stage mixes, or its only one, each with its place in the spec."""
    assert stage.levels is not None
    place, world = f"train.curriculum.stages[{stage.name}].levels.world", stage.levels.world
    if world.mixture is None:
        yield place, world
    for k, entry in enumerate(world.mixture or []):
        yield f"{place}.mixture[{k}]", entry


def _common(stage: Stage) -> dict[str, Any]:
    """What all scenes of a stage share."""
    levels = stage.levels
    assert levels is not None
    return {
        "people": levels.people,
        "people_speed": levels.people_speed,
        "people_model": PEOPLE_MODELS[levels.people_model],
        "people_yield": levels.people_yield,
        "min_goal": levels.min_goal_meters,
        "max_goal": levels.max_goal_meters,
    }


def _worlds(place: str, world: SingleWorld, loader: _Loader) -> list[dict[str, Any]]:
    """The columns of one entry's scenes."""
    name, source = world.chosen()
    if world.map is not None:
        return [_map_row(loader.maps[k], k) for k in loader.list_maps(f"{place}.map", world.map)]
    return [GENERATED[name](source)]


def _map_row(source: RosMap, index: int) -> dict[str, Any]:
    height, width = source.occupied.shape
    x, y = source.origin
    return {"kind": MAP, "map": index, "height": height, "width": width, "cell": source.resolution,
            "origin_x": x, "origin_y": y}  # fmt: skip


def _square(kind: int, meters: float, cell: float = CELL_METERS) -> dict[str, Any]:
    """A walled square: its inner corner is the origin, the ring lies outside."""
    side = 2 + round(meters / cell)
    return {"kind": kind, "height": side, "width": side, "cell": cell, "origin_x": -cell, "origin_y": -cell}


def _empty(world: Empty) -> dict[str, Any]:
    return _square(EMPTY, world.size_meters)


def _clutter(world: Clutter) -> dict[str, Any]:
    return {**_square(CLUTTER, world.size_meters), "fill": world.fill, "walls": world.walls}


GENERATED: dict[str, Callable[[Any], dict[str, Any]]] = {"empty": _empty, "clutter": _clutter}
