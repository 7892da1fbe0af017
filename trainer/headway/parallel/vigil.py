"""Waiting for the other ranks, and giving up on those that are hung or gone: by name, on all ranks alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from torch.distributed import Work

from headway.errors import RankLostError
from headway.parallel.pulse import Pulse
from headway.parallel.roll import GONE_LOOKS, LOOK_S, Patience
from headway.watchdog import Heart

TICK_S = 1.0  # between two judgements of the others while they are waited for
POLL_S = 5e-5  # between two questions whether a GPU has done its part
EVIDENCE_S = 3 * GONE_LOOKS * LOOK_S  # at most, after a connection has broken, to find out whose it was
STORE_LOST = "node 0, which keeps the ranks' store, "


class Vigil:
    """Runs the calls that need all ranks, in the main thread. `heart` beats while it waits: waiting is no stall."""

    def __init__(self, pulse: Pulse, patience: Patience, heart: Heart) -> None:
        self._pulse, self._patience, self._heart = pulse, patience, heart
        self._ticks = 0  # of waiting, in this call
        self._deaf = 0  # of those, the last ones in which the store has told nothing
        self._rounds = 0

    def await_arrival(self) -> None:
        """Wait until every rank has given a first sign. Raises RankLostError."""
        while self._pulse.roll.missing and self._pulse.error is None:
            time.sleep(TICK_S / 20)
            self._ticks += 1
            if self._ticks % 20 == 0:
                self._consider(self._pulse.roll.late(self._ticks / 20, self._patience))
        self._done()

    def run(self, begin: Callable[[], Work | None], on_device: bool = False) -> None:
        """Begin a call of all ranks and wait for its end; `on_device` by asking a GPU. Raises RankLostError.

        Other RuntimeErrors are torch's own, of calls that cannot be made.
        """
        pulse = self._pulse
        pulse.calls += 1
        try:
            work = begin()
            while work is not None and not (_polled(work) if on_device else _waited(work)):
                pulse.listening = True
                self._ticks += 1
                waited_s = self._ticks * TICK_S
                self._consider(pulse.roll.hung(pulse.calls, waited_s, self._patience))
        except RankLostError:
            raise
        except RuntimeError as error:
            raise self._cause() or error from error
        self._done()

    def _done(self) -> None:
        self._ticks = self._deaf = 0
        self._pulse.listening = False

    def _consider(self, lost: RankLostError | None) -> None:
        """Raise what the first rank to give up has said, or what is to be said now."""
        self._heart.beat()
        pulse = self._pulse
        self._deaf, self._rounds = 0 if pulse.rounds != self._rounds else self._deaf + 1, pulse.rounds
        if pulse.verdict is not None:
            raise pulse.verdict
        if self._deaf * TICK_S >= self._patience.life_s:
            raise self._at(RankLostError(f"{STORE_LOST}has not answered for {self._patience.life_s:g} s", hung=True))
        if lost is not None:
            raise pulse.tell(self._at(lost))

    def _cause(self) -> RankLostError | None:
        """Find out who is gone, now that a connection has broken."""
        pulse = self._pulse
        pulse.listening = True
        for _ in range(int(EVIDENCE_S / LOOK_S)):
            if pulse.verdict is not None:
                return pulse.verdict
            if pulse.error is not None:
                return self._at(RankLostError(f"{STORE_LOST}is gone"))
            if gone := pulse.roll.gone():
                return pulse.tell(self._at(gone))
            time.sleep(LOOK_S)
        return None

    def _at(self, lost: RankLostError) -> RankLostError:
        return RankLostError(f"{lost}: given up ({self._heart.where()})", lost.ranks, lost.hung)


def _waited(work: Work) -> bool:
    """Say whether it has ended, after a tick at most. Raises what it failed with."""
    try:
        work.wait(timedelta(seconds=TICK_S))
    except RuntimeError:
        if not work.is_completed():
            return False
        work.wait()  # raises what it failed with; nothing where it has ended just now
    return True


def _polled(work: Work) -> bool:
    """The same of work on a GPU, whose own `wait` returns at once and hangs whoever looks at the result."""
    until = time.monotonic() + TICK_S
    while not work.is_completed():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    work.wait()
    return True
