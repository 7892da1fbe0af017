"""manifest.json: what a checkpoint holds, whose it is and what it descends from. Foreign data until it is validated."""

from __future__ import annotations

import hashlib
import json
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Final

from headway_api.base import Contract, Float, Int, described
from headway_api.train_spec import TrainSpec
from pydantic import Field, JsonValue, ValidationError

FILE: Final = "manifest.json"
MODEL: Final = "model.safetensors"
SEGMENTS: Final = "segments"  # folder of the replay's files
MAX_BYTES: Final = 4 * 1024 * 1024

# Plain names only: a manifest cannot point outside its directory.
FileName = Annotated[str, Field(pattern=r"^(model|rank-[0-9]{1,6})\.safetensors$")]

# What may change between an attempt and its parent: how long, how watched, in what pieces; never what is learned.
FREE_FIELDS: Final = ("totalSteps", "trackers", "evaluation", "microBatch", "onDivergence")


class FileRecord(Contract):
    """One file of the checkpoint."""

    size: Int = Field(ge=0, description="Bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Hash of the content.")


# Steps, the attempt that wrote it (a group), the rank.
SEGMENT_NAME: Final = r"steps-[0-9]{1,15}-[0-9]{1,15}\.a([0-9]{1,9})\.rank-[0-9]{1,6}\.safetensors"


class Segment(FileRecord):
    """A file of one rank's replay beside the checkpoints: rows of steps `first` to `last - 1`."""

    first: Int = Field(ge=0, description="Step of each environment of its first row.")
    last: Int = Field(ge=1, description="Step after its last row.")
    rank: Int = Field(ge=0, le=65535, description="Rank that wrote it.")
    name: str = Field(pattern=f"^{SEGMENT_NAME}$", description="Its name under segments/.")


class Written(Contract):
    """What one rank has written of a checkpoint."""

    files: dict[FileName, FileRecord] = Field(description="In the checkpoint's directory, by name.")
    segments: list[Segment] = Field(description="Of its replay: all that the checkpoint needs, oldest first.")


class Manifest(Contract):
    """Written last: a directory without a valid one is not a checkpoint."""

    format: Int = described(1, "Version of the layout.", ge=1, le=1)
    namespace: str = Field(max_length=253, description="Namespace of the run.")
    name: str = Field(max_length=253, description="Name of the run.")
    uid: str = Field(min_length=1, max_length=128, description="Identity of the run: another run's is refused.")
    attempt: Int = Field(ge=0, description="Attempt that wrote it.")
    parent: str = described("", "Checkpoint that the attempt went on from; empty if it began anew.", max_length=4096)
    step: Int = Field(ge=0, description="Environment steps over all ranks.")
    world_size: Int = Field(ge=1, le=65536, description="Ranks that wrote it.")
    spec: dict[str, JsonValue] = Field(description="The TrainSpec that it was trained by.")
    spec_hash: str = Field(max_length=64, description="Hash of what must not change in it.")
    loop: dict[str, JsonValue] = Field(description="State of the training loop: counters, curriculum, best score.")
    best: list[Float] = described(
        [], "What the best evaluation so far is compared by; empty without one.", max_length=8
    )
    tracker: dict[str, JsonValue] = described({}, "State of the trackers.")
    goodput: dict[str, JsonValue] = described({}, "The books of goodput; nothing that training depends on.")
    files: dict[FileName, FileRecord] = Field(max_length=65537, description="Every other file, by name.")
    segments: list[Segment] = described([], "Files of the replay, which checkpoints share.", max_length=20000)
    fingerprint: dict[str, JsonValue] = described(
        {}, "What rounding depends on: where it differs, a resume is not exact."
    )
    complete: bool = described(False, "The completion record: nothing is left to train.")
    left: bool = described(False, "No update followed: nothing was left to train, or the attempt was asked to leave.")
    saved_at: Float = Field(ge=0, description="Seconds since the epoch; wall-clock figures are in JSON only.")

    def train_spec(self) -> TrainSpec:
        """Return the spec that it was trained by. Raises ValidationError if it is none."""
        return TrainSpec.model_validate(self.spec)

    def spec_with_defaults(self) -> dict[str, JsonValue]:
        """Return the spec with the fields that it did not have yet as they are by default; as it is if it is none."""
        try:
            return self.train_spec().to_wire()
        except ValidationError:
            return self.spec


def read_manifest(directory: Path) -> Manifest:
    """Read and validate. Raises ValueError with one line that says what is wrong."""
    path = directory / FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{FILE} is larger than {MAX_BYTES} bytes")
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"no {FILE}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{FILE}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def spec_hash(spec: TrainSpec) -> str:
    """Hash of all that training depends on and that must not change under a run."""
    wire = {key: value for key, value in spec.to_wire().items() if key not in FREE_FIELDS}
    return hashlib.sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()


def spec_differences(old: Any, new: Any, path: str = "train") -> list[str]:
    """List every leaf that differs, as `train.seed: 0 -> 1`; fields that may change are left out."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        below = [key for key in keys if path != "train" or key not in FREE_FIELDS]
        return [line for key in below for line in spec_differences(old.get(key), new.get(key), f"{path}.{key}")]
    if isinstance(old, list) and isinstance(new, list):
        pairs = enumerate(zip_longest(old, new))
        return [line for i, (a, b) in pairs for line in spec_differences(a, b, f"{path}[{i}]")]
    return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]
