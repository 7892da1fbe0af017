"""From a TrainingRun file and the command line to the object that this machine trains. Pure, apart from the file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headway_api import load
from headway_api.load import SpecError
from headway_api.training_run import TrainingRun

# What `headway run` heeds outside `train`; it names the other fields that a file sets, once, and leaves them alone.
LOCAL_FIELDS = frozenset({"train", "processesPerNode", "checkpoint", "stallSeconds"})
MAX_RANKS = 64

_INDEX = re.compile(r"\[(\d+)\]")


def read(path: Path, sets: Sequence[str], resume: str | None, accept_changes: bool = False) -> TrainingRun:
    """Read a file and apply `--set`, `--resume` and `--accept-changes`.

    Raises SpecError: field, value and fix for each fault.
    """
    document = load.read_document(path)
    for assignment in sets:
        document = apply_set(document, assignment)
    if resume is not None:
        document = _replaced(document, ["spec", "checkpoint", "resume"], resume, "--resume")
    if accept_changes:
        document = _replaced(document, ["spec", "checkpoint", "specChange"], "accept", "--accept-changes")
    return load.validate(document)


def on_this_machine(run: TrainingRun, nodes: int | None, processes: int | None) -> TrainingRun:
    """Return the run with its gang on one node: `nodes` times `processes` ranks. Raises SpecError.

    A file's own `nodes` is for a cluster; its `processesPerNode` holds here too, and `auto` is one.
    """
    for flag, value in (("--nodes", nodes), ("--processes", processes)):
        if value is not None and value < 1:
            raise SpecError(f"{flag}: found {value}: give a whole number of at least 1")
    given = run.spec.processes_per_node
    per_node = processes if processes is not None else given if isinstance(given, int) else 1
    ranks = (nodes or 1) * per_node
    if ranks > MAX_RANKS:
        raise SpecError(f"--nodes times --processes: found {ranks} ranks: give at most {MAX_RANKS}")
    wire = run.to_wire()
    wire["spec"] |= {"nodes": 1, "processesPerNode": ranks}
    return load.validate(wire)


def cluster_fields(run: TrainingRun) -> list[str]:
    """Return the fields that the file sets and that only a cluster uses, by wire name."""
    spec = run.spec
    found = [info.alias or name for name, info in type(spec).model_fields.items() if name in spec.model_fields_set]
    volume = ["checkpoint.volume"] if spec.checkpoint.volume is not None else []
    return [name for name in found if name not in LOCAL_FIELDS] + volume


def to_wire(run: TrainingRun) -> dict[str, Any]:
    """Return the object as a file holds it: without the metadata that only an API server fills in."""
    wire = run.to_wire()
    return wire | {"metadata": {key: value for key, value in wire["metadata"].items() if value}}


def apply_set(document: Any, assignment: str) -> Any:
    """Return the document with one `--set path=value` applied; the path is below `spec`, the value is YAML."""
    path, equals, text = assignment.partition("=")
    if not equals or not path.strip():
        raise SpecError(f"--set {assignment}: is not an assignment: write path=value, e.g. train.seed=1")
    keys = [key for part in path.strip().split(".") for key in _split(part)]
    if keys[0] == "spec":
        raise SpecError(f"--set {assignment}: paths begin below spec: write {path.strip().removeprefix('spec.')}=…")
    try:
        value = load.parse_yaml("value:\n  " + text.replace("\n", "\n  "))["value"]
    except SpecError as error:
        raise SpecError(f"--set {assignment}: the value is {str(error).split(': ', 1)[-1]}: write it as YAML") from None
    return _replaced(document, ["spec", *keys], value, f"--set {assignment}")


def _split(part: str) -> list[str | int]:
    """`stages[0]` -> "stages", 0."""
    return [_INDEX.sub("", part), *(int(index) for index in _INDEX.findall(part))]


def _replaced(node: Any, keys: Sequence[str | int], value: Any, source: str, above: str = "") -> Any:
    """Return a copy of `node` with `value` at `keys`; mappings on the way are made where there are none."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node, list):
        index = key if isinstance(key, int) else int(key) if key.isdecimal() else -1
        if not 0 <= index < len(node):
            raise SpecError(f"{source}: {above} is a list of {len(node)}: give an index from 0 to {len(node) - 1}")
        return [
            _replaced(item, rest, value, source, f"{above}[{i}]") if i == index else item for i, item in enumerate(node)
        ]
    if isinstance(key, int) or not isinstance(node, dict | None):
        wanted = "list" if isinstance(key, int) else "mapping"
        found = "nothing" if node is None else "a mapping" if isinstance(node, dict) else repr(node)
        raise SpecError(f"{source}: {above}: found {found}: the path leads through it, so it must be a {wanted}")
    below = (node or {}).get(key)
    return {**(node or {}), key: _replaced(below, rest, value, source, f"{above}.{key}" if above else key)}
