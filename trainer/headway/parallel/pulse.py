"""A thread that gives signs of life, whatever the main thread waits for, and looks for those of the other ranks.

They meet in torch's store, over a connection of their own. `headway worker` of node 0 holds it (torch's agent does);
without an agent, rank 0. Nobody but this thread touches that connection: a store that is stopped lets nobody go.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from torch.distributed import Store

from headway.errors import RankLostError
from headway.parallel.roll import LOOK_S, Roll, Sign, decode, encode

VERDICT = "verdict"
FIRST_LOOKS_S = 0.05  # between looks until all have arrived
TOLD_S = 2.0  # in which the store takes a verdict, and again, on the node that has the store, in which others read it


class Pulse:
    """This rank's signs of life, and what it has heard of the others. Other threads read and set attributes."""

    def __init__(self, store: Store, rank: int, world_size: int, node: int = 0, gpu: str = "") -> None:
        self.roll = Roll(rank, world_size)
        self.sign = Sign(0, node, gpu, 0)
        self.calls = 0  # calls that need all ranks, entered by the main thread
        self.listening = True  # look for others' signs too: only while they are waited for
        self.rounds = 0  # signs that the store has taken
        self.verdict: RankLostError | None = None  # why the gang ends, by the first rank that said so
        self.error: Exception | None = None  # of the store, which is gone then
        self._own: RankLostError | None = None
        self._store, self._rank = store, rank
        self._over, self._told = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; do not wait for a store that does not answer."""
        self._over.set()
        self._thread.join(2 * LOOK_S)

    def tell(self, lost: RankLostError) -> RankLostError:
        """Tell the others why this rank ends. Return what the first to say so has said, if the store tells in time."""
        self._own = lost
        if self._told.wait(TOLD_S) and self.sign.node == 0:  # the store may go when this process does
            time.sleep(TOLD_S)
        return self.verdict or lost

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._round()
                self._over.wait(FIRST_LOOKS_S if self.roll.missing or self._own else LOOK_S)
        except Exception as error:  # torch's own, of the connection
            self.error = error

    def _round(self) -> None:
        self.sign = replace(self.sign, beat=self.sign.beat + 1, calls=self.calls)
        self._store.set(_key(self._rank), self.sign.encode())
        if self.listening:
            self._listen()
        if self._own is not None:
            self.verdict = decode(self._store.compare_set(VERDICT, "", encode(self._own)))
            self._told.set()
        self.rounds += 1

    def _listen(self) -> None:
        there = [other for other in self.roll.others if other in self.roll.signs or self._store.check([_key(other)])]
        texts = self._store.multi_get([_key(other) for other in there]) if there else []
        self.roll.hear({other: Sign.decode(text) for other, text in zip(there, texts, strict=True)})
        if self._store.check([VERDICT]):
            self.verdict = decode(self._store.get(VERDICT))


def _key(rank: int) -> str:
    return f"sign/{rank}"
