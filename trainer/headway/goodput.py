"""Goodput: useful training time over the wall time since a run began, over all its attempts (docs/goodput.md).

The books are kept by rank 0. Every moment is booked as one of five parts, so they add up to the wall time. Two things
outlive an attempt: what a checkpoint's manifest holds, and a small file that is newer, from which the next attempt sees
what was made after that checkpoint and lost. Both are foreign data: what is implausible in them is left out, and never
costs a run.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from headway_api import progress
from headway_api.base import Contract, Float, Int
from headway_api.progress import MAX_SECONDS
from pydantic import Field, JsonValue, ValidationError

log = logging.getLogger(__name__)

FILE: Final = "goodput.json"  # in the run's output folder
MAX_BYTES: Final = 4096
LATEST: Final = 5e9  # seconds since the epoch, in the year 2128
WRITE_EVERY_S: Final = 1.0
NOTICED_S: Final = 1.0  # a clock that goes back by less is not worth a word

Part = Literal["useful", "start_up", "recompute", "checkpointing", "waiting"]


class Parts(Contract):
    """Seconds of each part since the run began; together the wall time."""

    useful: Float = Field(0.0, ge=0, le=MAX_SECONDS)
    start_up: Float = Field(0.0, ge=0, le=MAX_SECONDS)
    recompute: Float = Field(0.0, ge=0, le=MAX_SECONDS)
    checkpointing: Float = Field(0.0, ge=0, le=MAX_SECONDS)
    waiting: Float = Field(0.0, ge=0, le=MAX_SECONDS)

    @property
    def total(self) -> float:
        """The wall time, in seconds."""
        return self.useful + self.start_up + self.recompute + self.checkpointing + self.waiting

    def plus(self, part: Part, seconds: float) -> Parts:
        """Return these with `seconds` more of one part; less than none is none."""
        return self.model_copy(update={part: getattr(self, part) + max(0.0, seconds)})


class Entry(Contract):
    """The books at one moment, as a manifest and the file hold them."""

    uid: str = Field(max_length=128, description="Identity of the run: another run's books are not this one's.")
    attempt: Int = Field(ge=0)
    step: Int = Field(ge=0, description="Environment steps over all ranks.")
    at: Float = Field(ge=0, le=LATEST, description="The moment, in seconds since the epoch.")
    parts: Parts


def parse(content: bytes | dict[str, JsonValue], uid: str) -> Entry | None:
    """Return the entry if it is one of run `uid` and can be true, else None."""
    try:
        is_json = isinstance(content, bytes)
        entry = Entry.model_validate_json(content) if is_json else Entry.model_validate(content)
    except ValidationError:
        return None
    return entry if entry.uid == uid and entry.parts.total <= entry.at else None


def carried_over(newest: Entry | None, checkpoint: Entry | None) -> Entry | None:
    """Return the books that an attempt takes over: `newest` is the file's entry, `checkpoint` that of its parent.

    What is useful in the file beyond the checkpoint was made and lost: recompute. Start-up, saving and waiting beyond
    it stay what they were. A run that begins once more without a checkpoint has lost all that was useful.
    """
    if newest is None:
        return checkpoint
    kept = checkpoint.parts if checkpoint else Parts()
    lost = newest.parts.useful - kept.useful
    if newest.parts.total <= kept.total or lost < 0:  # older than the checkpoint, or of other books than these
        return checkpoint
    parts = newest.parts.model_copy(update={"useful": kept.useful}).plus("recompute", lost)
    return newest.model_copy(update={"parts": parts})


class Ledger:
    """The books of one attempt, in laps: each call of `lap` says what the time since the last one was spent on.

    Start-up begins when the attempt was launched. Laps are measured by a clock that cannot be set; where the wall
    clock runs ahead of it, the machine was suspended, or its clock set, and that is waiting.
    """

    def __init__(
        self, path: Path | None, uid: str, attempt: int, launched_at: float = 0.0,
        wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Open the books. `path` is the file, None on ranks that write none; `launched_at` is in seconds since the
        epoch, 0: now."""
        self._path, self._uid, self._attempt = path, uid, attempt
        self._wall, self._monotonic = wall, monotonic
        self._at, now = wall(), monotonic()
        age = max(0.0, self._at - launched_at) if launched_at else 0.0
        self._launched_at, self._lapped = self._at - age, now
        self._ahead = self._at - now  # the wall clock's lead over the other
        self._own, self._step = Parts().plus("start_up", age), 0
        self._written = now - WRITE_EVERY_S
        self._said: set[str] = set()
        self._newest = None if path is None else _read(path, uid)
        if self._newest is not None and self._newest.attempt > attempt:
            self._newest = self._path = None  # this process is a leftover
        self._before = self._since(self._newest)
        self._write(now)

    def go_on_from(self, manifest: dict[str, JsonValue]) -> None:
        """Take over the books of earlier attempts, once the checkpoint to go on from is known; {}: there is none."""
        self._before = self._since(carried_over(self._newest, parse(manifest, self._uid)))

    def lap(self, part: Part, step: int = 0) -> None:
        """Book the time since the last lap as `part`; `step` is where training stands by now."""
        now, self._at = self._monotonic(), self._wall()
        self._own = self._own.plus(part, now - self._lapped)
        self._lapped, self._step = now, max(step, self._step)
        lead = self._at - now - self._ahead
        if lead > 0:
            self._own = self._own.plus("waiting", lead)
        if lead > 0 or self._went_back(-lead):
            self._ahead += lead
        if now - self._written >= WRITE_EVERY_S:
            self._keep(now)

    @property
    def parts(self) -> Parts:
        """All seconds since the run began, up to the last lap."""
        own = self._own
        return Parts(**{part: seconds + getattr(own, part) for part, seconds in self._before})

    @property
    def fraction(self) -> float:
        """Goodput: the useful share of all seconds; 0 at the very beginning."""
        parts = self.parts
        return parts.useful / parts.total if parts.total > 0 else 0.0

    def entry(self) -> Entry:
        """Return the books at the last lap, for a manifest."""
        at = min(max(0.0, self._at), LATEST)  # whatever the clock says
        return Entry(uid=self._uid, attempt=self._attempt, step=self._step, at=at, parts=self.parts)

    def metrics(self) -> dict[str, float]:
        """Return the columns of metrics.jsonl."""
        return {"time/goodput": self.fraction} | {f"time/goodput_{part}_s": seconds for part, seconds in self.parts}

    def progress(self) -> progress.Goodput:
        """Return what is reported: milliseconds are enough."""
        seconds = {f"{part}_seconds": round(seconds, 3) for part, seconds in self.parts}
        return progress.Goodput(fraction=round(self.fraction, 4), **seconds)

    def _since(self, entry: Entry | None) -> Parts:
        """Return an entry's parts with the time from there to this attempt's launch, in which nothing ran."""
        if entry is None:
            return Parts()
        away = self._launched_at - entry.at
        self._went_back(-away)
        return entry.parts.plus("waiting", away)

    def _went_back(self, seconds: float) -> bool:
        """Say whether the wall clock has gone back noticeably; log it once. No part ever shrinks by it."""
        if seconds <= NOTICED_S:
            return False
        self._say_once("clock", f"the clock has gone back by {seconds:.0f} s: goodput counts that as no time")
        return True

    def _keep(self, now: float) -> None:
        """Write the file, unless it has become another's: a newer attempt's, or a run's that has begun anew here."""
        if self._path is None:
            return
        content = _content(self._path)
        other = parse(content, self._uid)
        if (other is not None and other.attempt > self._attempt) or (other is None and _is_an_entry(content)):
            self._path = None
            return
        self._write(now)

    def _write(self, now: float) -> None:
        """Replace the file, whole at any moment. It is not synced: after a power cut the manifest is there."""
        if self._path is None:
            return
        self._written = now
        draft = self._path.with_name(f".{self._path.name}.draft")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(self.entry().model_dump_json(by_alias=True), encoding="utf-8")
            os.replace(draft, self._path)
        except OSError as error:
            self._say_once("file", f"{self._path}: cannot be written: {error.strerror}: goodput may miss lost updates")

    def _say_once(self, about: str, text: str) -> None:
        if about not in self._said:
            self._said.add(about)
            log.warning("%s", text)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return b""


def _read(path: Path, uid: str) -> Entry | None:
    return parse(_content(path), uid)


def _is_an_entry(content: bytes) -> bool:
    """Say whether these are anybody's books."""
    try:
        return bool(Entry.model_validate_json(content))
    except ValidationError:
        return False
