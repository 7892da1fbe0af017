"""Checkpoints on disk: written so that a kill at any moment leaves the last one whole. No rank waits for another here.

A checkpoint is written into a hidden directory, every file synced, the manifest last, and then renamed: there is no
moment at which a directory of the right name is half a checkpoint (Pillai et al. 2014, "All file systems are not
created equal": file before rename, directory after it).
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from headway.checkpoint.files import delete_checkpoint, sync_directory, write, write_atomically, write_tensors_hashed
from headway.checkpoint.lineage import FENCES, Fence, Position, all_fences, lineage, positions_under, read_fences
from headway.checkpoint.manifest import FILE, MODEL, SEGMENTS, Manifest, Written, read_manifest
from headway.checkpoint.retention import Retention, kept
from headway.checkpoint.segments import SegmentWriter, delete_unnamed
from headway.checkpoint.snapshot import Snapshot
from headway.errors import CheckpointError

log = logging.getLogger("headway")

_SUFFIX: Final = ".partial"


class CheckpointStore:
    """The checkpoints of one attempt of one run, under `root`. Every rank has one; rank 0 writes what is shared."""

    def __init__(self, root: Path, uid: str, attempt: int, retention: Retention, rank: int = 0) -> None:
        self.root = root
        self.uid = uid
        self.attempt = attempt
        self.retention = retention
        self.rank = rank
        self.segments = SegmentWriter(root, attempt, rank)
        self.fenced: Fence | None = None  # what `fence` has left, on rank 0

    def fence(self, parent: Path | None) -> None:
        """Supersede all earlier attempts: only descendants of `parent` count from now on. Rank 0 calls it.

        Raises CheckpointError if a newer attempt has begun.
        """
        self._refuse_if_superseded()
        self._clear_partial(of_any=True)
        newest = max(self._own_fences(), key=lambda fence: fence.attempt, default=None)
        inside = Position.parse(parent.name) if parent and parent.parent.resolve() == self.root.resolve() else None
        if inside is not None and inside.attempt == self.attempt:
            self.fenced = newest  # the same attempt once more, by hand: its fence stands
            return
        directory = inside.directory if inside else ""
        if newest is None:
            self.fenced = Fence(uid=self.uid, attempt=self.attempt, parent=directory, run_began=time.time())
        else:
            was_asked = inside is not None and inside.attempt == newest.attempt
            was_asked = was_asked and read_manifest(self.root / directory).left
            self.fenced = newest.next(self.attempt, directory, was_asked)
        if inside is None:
            self._set_aside()
        (self.root / FENCES).mkdir(parents=True, exist_ok=True)
        content = json.dumps(self.fenced.to_wire()).encode()
        write_atomically(self.root / FENCES / f"a{self.attempt}.json", content)

    def write(self, snapshot: Snapshot) -> Written:
        """Write and sync this rank's files of a checkpoint; it counts once `publish` has named them.

        Raises OSError, and CheckpointError if a newer attempt has begun, or another run here: this process is a
        leftover and must end.
        """
        self._refuse_if_superseded()
        self._refuse_if_set_aside()
        partial = self._partial(snapshot.draft)
        partial.mkdir(parents=True, exist_ok=True)  # whichever rank is first
        name = f"rank-{self.rank}.safetensors"
        files = {name: write_tensors_hashed(partial / name, snapshot.own)}
        if self.rank == 0:
            files[MODEL] = write_tensors_hashed(partial / MODEL, snapshot.shared)
        return Written(files=files, segments=self.segments.write(snapshot.backlog))

    def publish(self, draft: Manifest, written: Iterable[Written]) -> None:
        """Make a checkpoint of what all ranks have written, and delete what need not be kept. Rank 0 calls it.

        Raises OSError, having published nothing, and CheckpointError as `write` does.
        """
        parts = list(written)
        files = {name: record for part in parts for name, record in part.files.items()}
        segments = [segment for part in parts for segment in part.segments]
        manifest = draft.model_copy(update={"files": files, "segments": segments})
        partial, final = self._partial(draft), self.final(draft)
        self._refuse_if_elsewhere(partial, manifest)
        write(partial / FILE, json.dumps(manifest.to_wire(), indent=1).encode())
        sync_directory(partial)
        self._refuse_if_superseded()
        self._refuse_if_set_aside()
        if final.exists():  # the same attempt, once more by hand, passed over a damaged checkpoint of this step
            delete_checkpoint(final)
        partial.rename(final)
        try:
            sync_directory(self.root)
        except OSError:
            delete_checkpoint(final)  # its name may not last: older ones stay in its place
            raise
        try:
            self._retain()
        except OSError as error:
            log.warning("checkpoints that need not be kept could not be deleted: %s", error)

    def abandon(self, draft: Manifest) -> None:
        """Leave nothing of a checkpoint that could not be published: every rank its segments, rank 0 the directory."""
        try:
            self.segments.undo()
            if self.rank == 0:
                shutil.rmtree(self._partial(draft), ignore_errors=True)
        except OSError as error:
            log.warning("what was written of a checkpoint could not be deleted: %s", error)

    def final(self, draft: Manifest) -> Path:
        """Where a checkpoint is once it is published."""
        return self.root / Position(self.attempt, draft.step).directory

    def _partial(self, draft: Manifest) -> Path:
        return self.root / f".{self.final(draft).name}{_SUFFIX}"

    def _clear_partial(self, of_any: bool = False) -> None:
        """Delete what was left half written, by this attempt and older ones: a newer one looks after its own."""
        for leftover in self.root.glob(f".step-*{_SUFFIX}"):
            position = Position.parse(leftover.name[1:].removesuffix(_SUFFIX))
            if of_any or position is None or position.attempt <= self.attempt:
                shutil.rmtree(leftover, ignore_errors=True)

    def _retain(self) -> None:
        """Delete what need not be kept, what is superseded, what was left half written, and segments of none left."""
        here, manifests = positions_under(self.root), {}
        for position in here:
            with suppress(ValueError):  # damaged: passed over by every resume
                manifests[position] = read_manifest(self.root / position.directory)
        order = lineage(here, read_fences(self.root, self.uid))
        stays = kept(self.retention, order, {position: m.best for position, m in manifests.items()})
        for position in here:
            if position not in stays and position.attempt <= self.attempt:
                delete_checkpoint(self.root / position.directory)
                manifests.pop(position, None)
        self._clear_partial()
        if (self.root / SEGMENTS).is_dir():
            named = {segment.name for manifest in manifests.values() for segment in manifest.segments}
            delete_unnamed(self.root, named, self.attempt)

    def _set_aside(self) -> None:
        """Move what a run that begins anew finds under its root into a folder of its own: nothing is lost or mixed."""
        found = [self.root / position.directory for position in positions_under(self.root)]
        found += [folder for name in (FENCES, SEGMENTS) if (folder := self.root / name).is_dir()]
        if not found:
            return
        number = 1
        while (aside := self.root / f"set-aside-{number}").exists():
            number += 1
        aside.mkdir()
        for path in found:
            path.rename(aside / path.name)

    def _refuse_if_elsewhere(self, partial: Path, manifest: Manifest) -> None:
        for name, record in manifest.files.items():
            if not (partial / name).is_file() or (partial / name).stat().st_size != record.size:
                raise CheckpointError(
                    f"{name} of another node is not under {partial}: checkpoints of several nodes need storage that "
                    "all of them share; set checkpoint to a volume with access mode ReadWriteMany"
                )

    def _own_fences(self) -> list[Fence]:
        return [fence for fence in all_fences(self.root) if fence.uid == self.uid]

    def _refuse_if_superseded(self) -> None:
        newer = [attempt for attempt in read_fences(self.root, self.uid) if attempt > self.attempt]
        if newer:
            raise CheckpointError(f"attempt {max(newer)} has superseded this one ({self.attempt}): nothing was written")

    def _refuse_if_set_aside(self) -> None:
        """A run of the same name that was made anew has moved this one's fence away and put up its own."""
        fences = all_fences(self.root)
        others = [fence.uid for fence in fences if fence.uid != self.uid]
        if others and not any(fence.uid == self.uid for fence in fences):
            raise CheckpointError(
                f"run {others[0]} has begun anew in place of this one ({self.uid}) under {self.root}: nothing was saved"
            )
