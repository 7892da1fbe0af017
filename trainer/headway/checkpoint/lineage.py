"""Which checkpoint to go on from: the newest whole one that descends from what the newest attempt accepted.

Each attempt, before it trains, leaves a fence: `attempts/aN.json` with the run's UID and the checkpoint that it went on
from. Whatever an older attempt writes after that (a pod on a lost node that still runs) lies outside the lineage and is
never chosen.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headway_api.base import Contract, Float, Int, described
from pydantic import Field, ValidationError

from headway.checkpoint.manifest import FILE, MODEL, SEGMENTS, FileRecord, Manifest, read_manifest
from headway.errors import CheckpointError

FENCES: Final = "attempts"
_DIRECTORY: Final = re.compile(r"step-(\d{1,15})\.a(\d{1,9})")


@dataclass(frozen=True, order=True)
class Position:
    """A checkpoint's place: `attempt` wrote it at environment step `step`."""

    attempt: int
    step: int

    @property
    def directory(self) -> str:
        """Name of its directory under the root."""
        return f"step-{self.step:09d}.a{self.attempt}"

    @classmethod
    def parse(cls, name: str) -> Position | None:
        """Return the position that a directory's name tells, if it is one's."""
        match = _DIRECTORY.fullmatch(name)
        return cls(attempt=int(match[2]), step=int(match[1])) if match else None


class Fence(Contract):
    """What an attempt left before it trained."""

    uid: str = Field(max_length=128)
    attempt: Int = Field(ge=0)
    parent: str = Field("", max_length=64, description="Directory under the same root; empty: began anew.")
    run_began: Float = described(0.0, "When the run's first attempt began, in seconds since the epoch.", ge=0)
    failures: Int = described(0, "Attempts of the run that had ended until then without having been asked to.", ge=0)

    def next(self, attempt: int, parent: str, was_asked: bool) -> Fence:
        """Return the fence of the attempt after this one, which had left as it was asked to, or else has failed."""
        failures = self.failures + (0 if was_asked else 1)
        return Fence(uid=self.uid, attempt=attempt, parent=parent, run_began=self.run_began, failures=failures)


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole."""

    directory: Path
    manifest: Manifest


def lineage(positions: Iterable[Position], parents: dict[int, Position | None]) -> list[Position]:
    """Return what the newest fenced attempt may go on from, newest first. Pure.

    `parents` maps each fenced attempt to the checkpoint that it accepted, or to None if it began anew. An attempt's own
    checkpoints count, and those of its ancestors up to the one that was accepted; without any fence all count.
    """
    remaining, accepted = sorted(set(positions), reverse=True), []
    limit: int | None = None  # of the step: what an ancestor wrote after it was superseded does not count
    attempt = max(parents, default=None)
    if attempt is None:
        return remaining
    while attempt is not None:
        accepted += [p for p in remaining if p.attempt == attempt and (limit is None or p.step <= limit)]
        parent = parents.get(attempt)
        # A parent is always older; what is not comes from a damaged or forged fence and must not make a circle.
        known = parent is not None and parent.attempt < attempt
        attempt, limit = (parent.attempt, parent.step) if parent is not None and known else (None, None)
    return accepted


def all_fences(root: Path) -> list[Fence]:
    """Return the fences of every run that left some; unreadable ones are left out."""
    fences: list[Fence] = []
    for path in (root / FENCES).glob("a*.json") if (root / FENCES).is_dir() else ():
        try:
            fence = Fence.model_validate_json(path.read_bytes()[:65536])
        except (ValidationError, OSError):
            continue
        if path.name == f"a{fence.attempt}.json":
            fences.append(fence)
    return fences


def read_fences(root: Path, uid: str) -> dict[int, Position | None]:
    """Return this run's fences, as `lineage` wants them."""
    return {fence.attempt: Position.parse(fence.parent) for fence in all_fences(root) if fence.uid == uid}


def positions_under(root: Path) -> list[Position]:
    """List the directories under `root` that are named as checkpoints, whole or not."""
    if not root.is_dir():
        return []
    return [position for path in root.iterdir() if (position := Position.parse(path.name)) and path.is_dir()]


def choose(
    root: Path, uid: str, resume: str, log: list[str], check: Callable[[Found], None] = lambda found: None
) -> Found | None:
    """Return the checkpoint to go on from, None to begin anew; `resume` is "auto", "never" or a path.

    "never" and a path say how the first attempt of the run begins; later ones go on from the run's own: a restart or a
    suspension must not cost what has been trained. What was passed over, and
    why, is appended to `log`; `check` raises ValueError for what is to be passed over among the run's own. Raises
    CheckpointError if what is there must not or cannot be used.
    """
    if resume == "never" and not read_fences(root, uid):
        return None
    found = search(root, uid, log, check=check)
    if found is not None and resume not in ("auto", "never"):
        log.append(f"{resume} passed over: only a first attempt begins there, and this run has checkpoints of its own")
    if found is not None or resume in ("auto", "never"):
        return found
    path = Path(resume)
    if (path / FILE).is_file():
        try:
            return verify(path)
        except ValueError as error:
            raise CheckpointError(f"checkpoint.resume: {resume!r}: not a whole checkpoint: {error}") from None
    if (found := search(path, None, log)) is None:
        raise CheckpointError(f"checkpoint.resume: {resume!r}: no whole checkpoint there: name a step-* directory")
    return found


def search(
    root: Path,
    uid: str | None,
    log: list[str],
    with_replay: bool = True,
    check: Callable[[Found], None] = lambda found: None,
) -> Found | None:
    """Return the newest whole checkpoint of run `uid` under `root` (None: of any run), or None.

    What was passed over, and why, is appended to `log`; `check` as in `choose`. Raises CheckpointError if another run's
    checkpoints are there.
    """
    if uid is None:
        order = sorted(positions_under(root), reverse=True)
    else:
        everything = positions_under(root)
        order = lineage(everything, read_fences(root, uid))
        log += [f"{p.directory} passed over: of a superseded attempt" for p in everything if p not in order]
    for position in order:
        try:
            found = verify(root / position.directory, with_replay)
            check(found)
        except ValueError as error:
            log.append(f"{position.directory} passed over: {error}")
            continue
        if uid is not None and found.manifest.uid != uid:
            raise CheckpointError(
                f"checkpoints under {root} are of another run of this name (uid {found.manifest.uid}, this run's is "
                f"{uid}): move them away, choose another name, or set resume to never, which sets them aside"
            )
        return found
    return None


def verify(directory: Path, with_replay: bool = True) -> Found:
    """Check a checkpoint's manifest and the hash of each of its files. Raises ValueError that says what is wrong.

    Who needs the policy only goes without the replay, which lies beside the checkpoint.
    """
    manifest = read_manifest(directory)
    if Position.parse(directory.name) not in (None, Position(manifest.attempt, manifest.step)):
        raise ValueError(f"its manifest is of step {manifest.step}, attempt {manifest.attempt}")
    needed = {MODEL, *(f"rank-{rank}.safetensors" for rank in range(manifest.world_size))}
    if missing := needed - manifest.files.keys():
        raise ValueError(f"its manifest does not list {sorted(missing)[0]}")
    for name, record in manifest.files.items():
        _verify(directory / name, record)
    if with_replay:
        for segment in manifest.segments:
            _verify(directory.parent / SEGMENTS / segment.name, segment)
    return Found(directory, manifest)


def _verify(path: Path, record: FileRecord) -> None:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    if path.stat().st_size != record.size:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {record.size}")
    if file_hash(path) != record.sha256:
        raise ValueError(f"{path.name} is damaged: its hash differs from the manifest's")


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
