"""Writing checkpoints so that a kill at any moment leaves the last one whole, and reading their tensors with care.

A checkpoint is written into a hidden directory, every file synced, the manifest last, and then renamed: there is no
moment at which a directory of the right name is half a checkpoint (Pillai et al. 2014, "All file systems are not
created equal": file before rename, directory after it).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from torch import Tensor

from headway.checkpoint.files import sync_directory, write, write_atomically, write_tensors_hashed
from headway.checkpoint.lineage import FENCES, Fence, Position, all_fences, lineage, positions_under, read_fences
from headway.checkpoint.manifest import FILE, MODEL, SEGMENTS, FileRecord, Manifest, Segment, read_manifest
from headway.checkpoint.segments import History, SegmentWriter, delete_unnamed
from headway.errors import CheckpointError
from headway.parallel import Group
from headway.run_context import CheckpointRef


class CheckpointStore:
    """The checkpoints of one attempt of one run, under `root`. Every rank has one; rank 0 writes what is shared."""

    def __init__(self, root: Path, uid: str, attempt: int, keep: int, group: Group) -> None:
        self.root = root
        self.uid = uid
        self.attempt = attempt
        self.keep = keep
        self.group = group
        self.segments = SegmentWriter(root, attempt, group.rank)

    def fence(self, parent: Path | None) -> None:
        """Supersede all earlier attempts: only descendants of `parent` count from now on. Rank 0 calls it.

        Raises CheckpointError if a newer attempt has begun.
        """
        self._refuse_if_superseded()
        inside = Position.parse(parent.name) if parent and parent.parent.resolve() == self.root.resolve() else None
        if inside is None:
            self._set_aside()
        elif inside.attempt == self.attempt:
            return  # the same attempt once more, by hand: its fence stands
        record = Fence(uid=self.uid, attempt=self.attempt, parent=inside.directory if inside else "")
        (self.root / FENCES).mkdir(parents=True, exist_ok=True)
        write_atomically(self.root / FENCES / f"a{self.attempt}.json", json.dumps(record.to_wire()).encode())

    def save(
        self, shared: dict[str, Tensor], own: dict[str, Tensor], draft: Manifest, history: History | None = None
    ) -> CheckpointRef:
        """Write one checkpoint, all ranks together. `draft` lists no files yet; `own` is this rank's state.

        `history` is this rank's replay, if it has one.

        Raises CheckpointError on rank 0 if a newer attempt has begun, or another run here: this process is a leftover
        and must end.
        """
        position = Position(self.attempt, draft.step)
        partial, final = self.root / f".{position.directory}.partial", self.root / position.directory
        if self.group.is_main:
            self._refuse_if_superseded()
            self._refuse_if_set_aside()
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.group.any(False)  # nobody writes before the directory is there
        name = f"rank-{self.group.rank}.safetensors"
        records = {name: write_tensors_hashed(partial / name, own)}
        if self.group.is_main:
            records[MODEL] = write_tensors_hashed(partial / MODEL, shared)
        segments = [] if history is None else self.segments.write(history)
        written = {"files": {n: r.to_wire() for n, r in records.items()}, "segments": [s.to_wire() for s in segments]}
        gathered = [json.loads(message) for message in self.group.gather(json.dumps(written).encode())]
        if self.group.is_main:
            files = {n: FileRecord(**r) for of_rank in gathered for n, r in of_rank["files"].items()}
            pieces = [Segment(**s) for of_rank in gathered for s in of_rank["segments"]]
            self._publish(partial, final, draft.model_copy(update={"files": files, "segments": pieces}))
        return CheckpointRef(draft.step, final, draft.saved_at)

    def _publish(self, partial: Path, final: Path, manifest: Manifest) -> None:
        for name, record in manifest.files.items():
            if not (partial / name).is_file() or (partial / name).stat().st_size != record.size:
                raise CheckpointError(
                    f"{name} of another node is not under {partial}: checkpoints of several nodes need storage that "
                    "all of them share; set checkpoint to a volume with access mode ReadWriteMany"
                )
        write(partial / FILE, json.dumps(manifest.to_wire(), indent=1).encode())
        sync_directory(partial)
        self._refuse_if_superseded()
        self._refuse_if_set_aside()
        if final.exists():  # the same attempt, once more by hand, passed over a damaged checkpoint of this step
            shutil.rmtree(final)
        partial.rename(final)
        sync_directory(self.root)
        self._retain()

    def _retain(self) -> None:
        """Keep the newest of the lineage; delete older ones, superseded ones and what was left half written."""
        here = positions_under(self.root)
        kept = lineage(here, read_fences(self.root, self.uid))[: self.keep]
        for position in here:
            if position not in kept and position.attempt <= self.attempt:
                # First the manifest: a half deleted directory must not look whole.
                (self.root / position.directory / FILE).unlink(missing_ok=True)
                shutil.rmtree(self.root / position.directory, ignore_errors=True)
        for leftover in self.root.glob(".step-*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        if (self.root / SEGMENTS).is_dir():
            delete_unnamed(self.root, self._named(), self.attempt)

    def _named(self) -> set[str]:
        """Segments that some manifest here needs."""
        found: set[str] = set()
        for position in positions_under(self.root):
            try:
                manifest = read_manifest(self.root / position.directory)
            except ValueError:
                continue  # damaged: passed over by every resume
            found |= {segment.name for segment in manifest.segments}
        return found

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
