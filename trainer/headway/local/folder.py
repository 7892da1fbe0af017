"""The output folder of a local run: whose it is, who is writing to it, and what the trainer last reported."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from headway_api import load
from headway_api.progress import ProgressReport
from headway_api.training_run import TrainingRun
from pydantic import ValidationError

from headway.errors import UserError
from headway.local.document import to_wire


@dataclass(frozen=True)
class Folder:
    """The fixed places in an output folder; other programs read them."""

    path: Path

    @property
    def document(self) -> Path:
        """The TrainingRun with its status."""
        return self.path / "trainingrun.yaml"

    @property
    def progress(self) -> Path:
        """What rank 0 last reported."""
        return self.path / "progress.json"

    @property
    def metrics(self) -> Path:
        """One JSON object an update."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Root of checkpoints: step-* folders are under `<namespace>/<name>`."""
        return self.path / "checkpoints"

    def log(self, attempt: int) -> Path:
        """What the ranks of one attempt said."""
        return self.path / "logs" / f"attempt-{attempt}.log"

    def outcome(self, attempt: int) -> Path:
        """How one attempt ended."""
        return self.path / "logs" / f"attempt-{attempt}.json"

    # --- whose it is ----------------------------------------------------------------------------------------------

    def claim(self) -> int:
        """Make the folder and lock it against other runs; the lock ends with all processes that hold the descriptor.

        Raises UserError if another process trains here, or if the folder cannot be written.
        """
        try:
            (self.path / "logs").mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(f"--out {self.path}: cannot be written: {error.strerror}: give another folder") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
            raise UserError(
                f"--out {self.path}: process {owner} is training here: wait for it, stop it, or give another folder"
            ) from None
        sign(descriptor, os.getpid())
        return descriptor

    def refuse_strangers(self, name: str) -> None:
        """Raise UserError if something else than the run `name` is in the folder. Reads only."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise UserError(f"--out {self.path}: is not a folder: give another one")
        if not self.document.exists():
            if any(entry.name not in {".lock", "logs"} for entry in self.path.iterdir()):
                raise UserError(f"--out {self.path}: is not empty and holds no run: give a new or an empty folder")
        elif (other := self.read().metadata.name) != name:
            raise UserError(f"--out {self.path}: holds the run {other!r}, not {name!r}: give another folder")

    def adopt(self, run: TrainingRun) -> TrainingRun:
        """Return the run with the identity and the status that it has in this folder.

        A new run gets a new UID, and so does one that begins anew (`resume: never`): what is there is another life's.
        """
        if not self.document.exists():
            metadata = run.metadata.model_copy(update={"uid": str(uuid.uuid4())})
            return run.model_copy(update={"metadata": metadata, "status": None})
        known = self.read()
        uid = str(uuid.uuid4()) if run.spec.checkpoint.resume == "never" else known.metadata.uid
        place = {"uid": uid, "namespace": known.metadata.namespace}
        return run.model_copy(update={"metadata": run.metadata.model_copy(update=place), "status": known.status})

    # --- reading and writing --------------------------------------------------------------------------------------

    def read(self) -> TrainingRun:
        """Return the object as it was last written. Raises UserError if it is not readable."""
        try:
            return load.load_run(self.document)
        except load.SpecError as error:
            raise UserError(f"{self.document}: is damaged: {error}: restore it, or give another folder") from None

    def write(self, run: TrainingRun) -> None:
        """Replace the object, whole at any moment."""
        write_whole(self.document, yaml.safe_dump(to_wire(run), sort_keys=False, allow_unicode=True))

    def read_progress(self, attempt: int) -> ProgressReport | None:
        """Return the newest report of `attempt`, or None while there is none."""
        with contextlib.suppress(OSError, ValidationError):
            report = ProgressReport.model_validate_json(self.progress.read_bytes())
            return report if report.attempt == attempt else None
        return None

    def read_outcome(self, attempt: int) -> dict[str, Any]:
        """Return the launcher's last word on an attempt; nothing if it was killed."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self.outcome(attempt).read_text(encoding="utf-8")))
        return {}

    def last_lines(self, attempt: int, count: int = 12) -> list[str]:
        """Return the end of an attempt's log."""
        with contextlib.suppress(OSError):
            return self.log(attempt).read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
        return []


def sign(lock: int, pid: int) -> None:
    """Note which process trains under a lock, for whoever finds it locked."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{pid}\n".encode(), 0)


def write_whole(path: Path, text: str) -> None:
    """Write a file such that a reader, or a crash, sees the old content or the new."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
