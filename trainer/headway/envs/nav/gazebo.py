"""Gazebo .world files (SDF, http://sdformat.org/spec): the cylinders and boxes of static models, as seen from above.

Every collision shape counts, whatever its height. What cannot be represented exactly is refused and not left out: other
shapes, rotations other than yaw, models that can move or lie in another file. Planes are ground; lights, plugins,
physics and visuals are no obstacles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from headway.envs.nav.files import MAX_CELLS, FileWorld
from headway.errors import SpecError

CELL_METERS = 0.15
MAX_BYTES = 32_000_000
MAX_DEPTH = 16  # of models in models
LEVEL = 1e-6  # roll and pitch below this are none
HARMLESS = ("ground_plane", "sun")  # models of Gazebo's own library without obstacles

Pose = tuple[float, float, float]  # x, y in metres, yaw in radians
Shape = tuple[str, Pose, float, float]  # "disc", pose, radius, radius; or "box", pose, length, width
ORIGIN: Pose = (0.0, 0.0, 0.0)


def load_world(path: str | Path, reach: float) -> FileWorld:
    """Read a world, with free ground for `reach` metres (the lidar's range) around its outermost shapes.

    Raises SpecError that names file, element and fix.
    """
    file = Path(path)
    root = _parse(file)
    world = root.find("world")
    if root.tag != "sdf" or world is None:
        raise SpecError("gazebo.world", str(file), "is no Gazebo world: it must hold <sdf> with a <world>")
    shapes = list(_world_shapes(file, world))
    if not shapes:
        raise SpecError("gazebo.world", str(file), "holds no cylinder and no box")
    return _lay_out(file, shapes, reach)


def _parse(file: Path) -> ElementTree.Element:
    """Parse without entities: a document type is refused, nothing is fetched, the size is bounded."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise SpecError("gazebo.world", str(file), f"is larger than {MAX_BYTES // 1_000_000} MB")
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecError("gazebo.world", str(file), "no such file: give the path of a .world file") from None
    except (OSError, ValueError) as error:
        raise SpecError("gazebo.world", str(file), f"cannot be read: {error}") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SpecError("gazebo.world", str(file), "document types and entities are refused: remove <!DOCTYPE ...>")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise SpecError("gazebo.world", str(file), f"is no XML: {error}") from None


def _world_shapes(file: Path, world: ElementTree.Element) -> Iterator[Shape]:
    for include in world.findall("include"):
        uri = (include.findtext("uri") or "").strip()
        if uri.rstrip("/").rsplit("/", 1)[-1] not in HARMLESS:
            _refuse(
                file, f"<include> of {uri or 'nothing'}", "models in other files are not read: write its shapes here"
            )
    if world.find("actor") is not None:
        _refuse(file, "<actor>", "it moves: remove it and ask for people in the stage's levels")
    moved = {model.get("name"): model for model in world.iterfind("state/model")}
    for model in world.findall("model"):
        # Where Gazebo saved a running world, the state says where models are.
        state = moved.get(model.get("name"))
        placed = model if state is None or state.find("pose") is None else state
        yield from _model_shapes(file, model, _pose(file, placed, model.get("name")), 0)


def _model_shapes(file: Path, model: ElementTree.Element, at: Pose, depth: int) -> Iterator[Shape]:
    name = f"model {model.get('name')}"
    if depth > MAX_DEPTH:
        _refuse(file, name, f"models lie in models more than {MAX_DEPTH} deep")
    solid = model.findall("link/collision")
    static = (model.findtext("static") or "false").strip() in ("1", "true")
    if solid and not static and depth == 0:
        _refuse(file, name, "it can move: write <static>1</static> or remove it")
    if model.find("include") is not None:
        _refuse(file, name, "models in other files are not read: write its shapes here")
    for link in model.findall("link"):
        link_at = _compose(at, _pose(file, link, name))
        for collision in link.findall("collision"):
            shape = _shape(file, collision, name)
            if shape is not None:
                kind, length, width = shape
                yield kind, _compose(link_at, _pose(file, collision, name)), length, width
    for part in model.findall("model"):
        yield from _model_shapes(file, part, _compose(at, _pose(file, part, name)), depth + 1)


def _shape(file: Path, collision: ElementTree.Element, name: str) -> tuple[str, float, float] | None:
    """Kind and size of a collision shape; None for a plane."""
    geometry = collision.find("geometry")
    found = [] if geometry is None else list(geometry)
    if len(found) != 1:
        _refuse(file, name, "a <collision> must hold a <geometry> with one shape")
    kind = found[0].tag
    if kind == "plane":
        return None
    if kind == "cylinder":
        (radius,) = _numbers(file, name, found[0].findtext("radius"), 1, "<radius>")
        _positive(file, name, radius)
        return "disc", radius, radius
    if kind == "box":
        length, width, _ = _numbers(file, name, found[0].findtext("size"), 3, "<size>")
        _positive(file, name, length, width)
        return "box", length, width
    raise SpecError("gazebo.world", str(file), f"{name}: <{kind}> is neither a cylinder nor a box: replace it by some")


def _pose(file: Path, element: ElementTree.Element, name: str | None) -> Pose:
    """The pose of an element in its parent's frame."""
    pose = element.find("pose")
    if pose is None:
        return ORIGIN
    if (pose.get("relative_to") or pose.get("frame") or "").strip() not in ("", "world", "__model__"):
        _refuse(file, str(name), "<pose> in a named frame is not supported: write it in its parent's frame")
    x, y, _, roll, pitch, yaw = _numbers(file, str(name), (pose.text or "").strip() or "0 0 0 0 0 0", 6, "<pose>")
    if pose.get("degrees") in ("1", "true"):
        roll, pitch, yaw = math.radians(roll), math.radians(pitch), math.radians(yaw)
    if abs(roll) > LEVEL or abs(pitch) > LEVEL:
        _refuse(file, str(name), f"<pose> {(pose.text or '').strip()}: only a yaw is supported, no roll and no pitch")
    return x, y, yaw


def _numbers(file: Path, name: str, text: str | None, count: int, what: str) -> list[float]:
    try:
        values = [float(word) for word in (text or "").split()]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(v) and abs(v) < 1e6 for v in values):
        _refuse(file, name, f"{what} {text!r}: write {count} numbers")
    return values


def _positive(file: Path, name: str, *sizes: float) -> None:
    if min(sizes) <= 0.0:
        _refuse(file, name, f"a size of {min(sizes)} m: sizes must be positive")


def _refuse(file: Path, what: str, fix: str) -> None:
    raise SpecError("gazebo.world", str(file), f"{what}: {fix}")


def _compose(parent: Pose, child: Pose) -> Pose:
    cos, sin = math.cos(parent[2]), math.sin(parent[2])
    return (
        parent[0] + cos * child[0] - sin * child[1],
        parent[1] + sin * child[0] + cos * child[1],
        parent[2] + child[2],
    )


def _lay_out(file: Path, shapes: list[Shape], reach: float) -> FileWorld:
    """Choose the grid: whole cells from the world's origin on, a ring beyond what the lidar sees from the inside."""
    discs = np.array([(x, y, r) for kind, (x, y, _), r, _ in shapes if kind == "disc"]).reshape(-1, 3)
    boxes = np.array([(x, y, a, b, yaw) for kind, (x, y, yaw), a, b in shapes if kind == "box"]).reshape(-1, 5)
    cos, sin = np.abs(np.cos(boxes[:, 4])), np.abs(np.sin(boxes[:, 4]))
    half = np.stack([cos * boxes[:, 2] + sin * boxes[:, 3], sin * boxes[:, 2] + cos * boxes[:, 3]], axis=1) / 2
    low = np.concatenate([discs[:, :2] - discs[:, 2:], boxes[:, :2] - half]).min(axis=0)
    high = np.concatenate([discs[:, :2] + discs[:, 2:], boxes[:, :2] + half]).max(axis=0)
    around = math.ceil(reach / CELL_METERS) + 1
    first = np.floor(low / CELL_METERS + 1e-6).astype(int)
    last = np.ceil(high / CELL_METERS - 1e-6).astype(int)
    width, height = (last - first + 2 * around).tolist()
    if width * height > MAX_CELLS:
        raise SpecError("gazebo.world", str(file), f"extends over {high - low} m: more than {MAX_CELLS} cells")
    occupied = np.ones((height, width), np.bool_)
    occupied[1:-1, 1:-1] = False
    x, y = ((first - around) * CELL_METERS).tolist()
    inside = (around, height - around, around, width - around)
    return FileWorld(str(file), occupied, CELL_METERS, (x, y), discs, boxes, inside)
