"""Occupancy maps in the format of ROS map_server: a .yaml file beside a .pgm or .png image.

Meaning of the fields and modes: ROS 2 nav2_map_server's documentation and https://wiki.ros.org/map_server. A cell is an
obstacle if it is unknown or if its occupancy is at least 50 of 100; the robot may only drive where the map is known to
be free.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from headway.envs.nav.files import MAX_CELLS, FileWorld
from headway.errors import SpecError

UNKNOWN = -1.0
OBSTACLE_FROM = 50.0  # occupancy of 100
FORMATS = ("PPM", "PNG", "BMP")  # map_server's; of others Pillow may start a program, such as Ghostscript


def load_map(path: str | Path) -> FileWorld:
    """Read a map; a ring of solid cells is added. Raises SpecError that names file, field, value and fix."""
    file = Path(path)
    fields = _read_yaml(file)
    resolution = _number(file, fields, "resolution", None, 1e-3, 10.0)
    origin = _origin(file, fields)
    image = fields.get("image")
    if not isinstance(image, str) or not image:
        raise SpecError(f"{file}: image", image, "name the .pgm or .png file, relative to the .yaml file")
    occupied = occupancy(file, fields, _read_image(file, image)) >= OBSTACLE_FROM
    return FileWorld(
        name=str(file),
        occupied=np.pad(occupied[::-1], 1, constant_values=True),
        resolution=resolution,
        origin=(origin[0] - resolution, origin[1] - resolution),
    )


def occupancy(file: Path, fields: dict[str, Any], pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Occupancy of each pixel, 0 to 100, with unknown counted as 100. `pixels`: grey and alpha, uint8 [H, W, 2]."""
    mode = fields.get("mode", "trinary")
    if mode not in ("trinary", "scale", "raw"):
        raise SpecError(f"{file}: mode", mode, "choose trinary, scale or raw")
    negate = fields.get("negate", 0)
    if negate not in (0, 1, False, True):
        raise SpecError(f"{file}: negate", negate, "write 0 (dark is occupied) or 1 (light is occupied)")
    taken_from = _number(file, fields, "occupied_thresh", 0.65, 0.0, 1.0)
    free_to = _number(file, fields, "free_thresh", 0.25, 0.0, 1.0)
    if free_to > taken_from:
        raise SpecError(f"{file}: free_thresh", free_to, f"must not exceed occupied_thresh, which is {taken_from}")
    grey = pixels[..., 0].astype(np.float64)
    if mode == "raw":  # the pixel is the occupancy; the thresholds and negate do not apply
        value = np.where(grey <= 100, grey, UNKNOWN)
    else:
        share = grey / 255.0 if negate else 1.0 - grey / 255.0
        between = UNKNOWN
        if mode == "scale":
            between = np.rint((share - free_to) / max(taken_from - free_to, 1e-9) * 100.0)
            between = np.where(pixels[..., 1] < 255, UNKNOWN, between)
        value = np.where(share > taken_from, 100.0, np.where(share < free_to, 0.0, between))
        if mode == "scale":
            value = np.where(pixels[..., 1] < 255, UNKNOWN, value)
    return np.where(value == UNKNOWN, 100.0, value)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError("map.yaml", str(file), "no such file: give the path of a map_server .yaml file") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: of bytes, of dates
        raise SpecError("map.yaml", str(file), f"cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(fields, dict):
        raise SpecError("map.yaml", str(file), "must hold fields such as image and resolution")
    return fields


def _number(file: Path, fields: dict[str, Any], name: str, default: float | None, low: float, high: float) -> float:
    value = fields.get(name, default)
    try:
        number = float(value)  # also of a string: YAML 1.1 reads 5e-2 as one
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high or isinstance(value, bool):
        raise SpecError(f"{file}: {name}", value, f"write a number from {low:g} to {high:g}")
    return number


def _origin(file: Path, fields: dict[str, Any]) -> tuple[float, float]:
    value = fields.get("origin")
    try:
        x, y, yaw = (float(v) for v in value)  # type: ignore[union-attr]
    except (TypeError, ValueError, OverflowError):
        x = y = yaw = math.nan
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(yaw)):
        raise SpecError(f"{file}: origin", value, "write [x, y, 0.0] in metres: where the lower-left pixel lies")
    if yaw != 0.0:
        raise SpecError(f"{file}: origin", value, "a yaw is not supported: rotate the image and write [x, y, 0.0]")
    return x, y


def _read_image(file: Path, name: str) -> NDArray[np.uint8]:
    """Grey (the mean of the colours, as map_server takes it) and alpha, [H, W, 2]."""
    path = file.parent / name
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_CELLS:
                raise SpecError(f"{file}: image", name, f"more than {MAX_CELLS} pixels: crop it or make it coarser")
            rgba = np.asarray(image.convert("RGBA"))
    except FileNotFoundError:
        raise SpecError(f"{file}: image", name, f"no such file beside {file.name}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # all of them are Pillow's
        raise SpecError(f"{file}: image", name, f"cannot be read as a .pgm or .png image: {error}") from None
    grey = np.rint(rgba[..., :3].mean(axis=2)).astype(np.uint8)
    return np.stack([grey, rgba[..., 3]], axis=2)
