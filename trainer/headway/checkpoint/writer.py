"""Saving beside the training: a thread of its own writes, syncs and hashes what a snapshot has copied.

The thread never talks to other ranks: their sums would mix with the main threads'. At each boundary of an update the
main threads vote whether any rank is still at work. Once none is, they exchange what was written, rank 0's thread
publishes it, and at a boundary after that all ranks know. One rank writes and publishes at one go.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from headway_api.base import Contract

from headway.checkpoint.interval import Interval
from headway.checkpoint.manifest import Manifest, Written
from headway.checkpoint.snapshot import Snapshot
from headway.checkpoint.store import CheckpointStore
from headway.errors import CheckpointError, UserError
from headway.parallel import Group
from headway.run_context import CheckpointRef
from headway.units import size

log = logging.getLogger("headway")

_TRIES: Final = 2  # at a last save
_CLOSING_S: Final = 10.0  # how long an error that ends the training waits for the thread

Take = Callable[[bool], Snapshot]  # told whether training waits until it is written


class _Job:
    """Work in a thread of its own."""

    def __init__(self, work: Callable[[], Written | None]) -> None:
        self.written: Written | None = None
        self.error: Exception | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether `written` and `error` hold."""
        return not self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it is done, or for so long."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self.written = self._work()
        except Exception as error:
            self.error = error


class _Told(Contract):
    """How a rank's job has ended. `refused`: by the storage; `ended`: by a UserError; `broken`: by anything else."""

    how: Literal["done", "refused", "ended", "broken"]
    why: str = ""
    written: Written | None = None


class Saver:
    """One rank's part in saving. All ranks call every method alike, at boundaries of updates."""

    def __init__(self, store: CheckpointStore, group: Group, interval: Interval) -> None:
        self.store, self.group, self.interval = store, group, interval
        self.saved: CheckpointRef | None = None  # the newest that is published
        self._began_at = time.monotonic()  # the last save, or the training
        self._cost_s = 0.0  # by which the save under way has delayed training so far
        self._draft: Manifest | None = None  # of the save under way
        self._needed = 0  # bytes of this rank's files
        self._job: _Job | None = None  # what this rank does, or has done, for it; None: others work
        self._is_publishing = False

    @property
    def is_due(self) -> bool:
        """This rank's vote: whether it is time for a save by rank 0's clock."""
        return self.group.is_main and time.monotonic() - self._began_at >= self.interval.seconds

    @property
    def is_busy(self) -> bool:
        """This rank's vote: whether it is still at work for the save under way."""
        return self._job is not None and not self._job.is_done

    def at_boundary(self, take: Take, due: bool, leaving: bool, busy: bool) -> None:
        """Do what is to be done between two updates; all but `take` are equal on all ranks.

        `due`: a save is wanted, which begins here unless one is under way; with an interval of 0 training waits for it.
        `leaving`: no update follows. `busy`: some rank has voted so.

        Raises CheckpointError if training must not or cannot be saved; what the thread has raised, on all ranks.
        """
        if leaving:
            self.finish(take)
            return
        if self._draft is not None and not busy:
            with self._costing():
                self._report(self._advance())
            if self._draft is None:
                self._reckon()
        if due and self._draft is None:
            self._cost_s, waits = 0.0, self.interval.seconds == 0.0
            with self._costing():
                self._begin(take(waits))
            if waits:
                self._report(self._settle())

    def settle(self) -> None:
        """Wait until the save that is under way is published, if there is one."""
        self._report(self._settle())

    def finish(self, take: Take) -> None:
        """Save this very moment and wait until it is published. Raises CheckpointError if two tries have failed."""
        self.settle()
        for _ in range(_TRIES):
            self._begin(take(True).as_the_last())
            if not (refused := self._settle()):
                return
            if self.group.is_main:
                log.warning("the last checkpoint could not be saved: %s", refused)
        newest = f"its newest checkpoint is {self.saved.path}" if self.saved else "it has no checkpoint yet"
        raise CheckpointError(
            f"the last checkpoint could not be saved: {refused}: make room or mend the storage, and start the run "
            f"again ({newest})"
        )

    def close(self) -> None:
        """Leave the thread to itself, after a while: an error has ended the training."""
        if self._job is not None:
            self._job.wait(_CLOSING_S)

    @contextmanager
    def _costing(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._cost_s += time.monotonic() - began

    def _reckon(self) -> None:
        """A save has ended: what it has cost says how soon the next one is due."""
        if (fence := self.store.fenced) is not None:
            self.interval.saved(self._cost_s, fence.failures, time.time() - fence.run_began)

    def _begin(self, snapshot: Snapshot) -> None:
        self._began_at = time.monotonic()
        self._draft, self._needed, self._is_publishing = snapshot.draft, snapshot.bytes, self.group.world_size == 1
        self._job = _Job(lambda: self._write(snapshot))
        if snapshot.backlog.is_live:
            self._job.wait()

    def _write(self, snapshot: Snapshot) -> Written:
        written = self.store.write(snapshot)
        if self.group.world_size == 1:
            self.store.publish(snapshot.draft, [written])
        return written

    def _settle(self) -> str:
        """Wait until no save is under way. Returns why the storage has refused the last one, or nothing."""
        refused = ""
        while self._draft is not None:
            if self._job is not None:
                self._job.wait()
            refused = self._advance()
        return refused

    def _advance(self) -> str:
        """Go on where every rank has done its part: publish, or be done. Returns why the storage has refused."""
        assert self._draft is not None
        draft, told = self._draft, self._exchange()
        self._job = None
        if refused := "; ".join(t.why for t in told if t.how == "refused"):
            self.store.abandon(draft)
            self._draft = None
        elif self._is_publishing:
            self.saved = CheckpointRef(draft.step, self.store.final(draft), draft.saved_at)
            self._draft = None
        else:
            self._is_publishing = True
            if self.group.is_main:
                written = [t.written for t in told if t.written is not None]
                self._job = _Job(lambda: self.store.publish(draft, written))
        return refused

    def _exchange(self) -> list[_Told]:
        """Tell one another how each rank's job has ended. Raises on all ranks if one cannot go on."""
        mine = self._told()
        told = [
            _Told.model_validate_json(message)
            for message in self.group.gather(mine.model_dump_json(exclude_none=True).encode())
        ]
        for rank, other in enumerate(told):
            if other.how in ("done", "refused"):
                continue
            if rank == self.group.rank and self._job is not None and self._job.error is not None:
                raise self._job.error
            if other.how == "ended":
                raise CheckpointError(other.why)
            raise RuntimeError(f"rank {rank} could not save: {other.why}")
        return told

    def _told(self) -> _Told:
        if self._job is None or self._job.error is None:
            return _Told(how="done", written=self._job.written if self._job else None)
        error = self._job.error
        if isinstance(error, OSError):
            return _Told(how="refused", why=self._why(error))
        return _Told(how="ended" if isinstance(error, UserError) else "broken", why=str(error) or repr(error))

    def _why(self, error: OSError) -> str:
        where = Path(error.filename) if isinstance(error.filename, str) else self.store.root
        try:
            free = f"{size(shutil.disk_usage(self.store.root).free)} free"
        except OSError:
            free = "no telling what is free"
        return f"{where}: {error.strerror or error} ({free}, {size(self._needed)} needed by rank {self.group.rank})"

    def _report(self, refused: str) -> None:
        if refused and self.group.is_main:
            log.warning(
                "a checkpoint could not be saved: %s: training goes on, the next one is tried when due", refused
            )
