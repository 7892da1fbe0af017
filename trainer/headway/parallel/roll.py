"""What ranks say of themselves, and what follows from it about those that say nothing: pure.

Nothing here looks at a clock. Silence is counted in looks, which only a process that runs itself can take: one that was
stopped for an hour, with or without the others, accuses nobody when it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from headway.errors import RankLostError

LOOK_S = 0.5  # between two signs of life, and between two looks at those of others
GONE_LOOKS = 5  # once a connection has broken, whoever is silent for so many is gone


@dataclass(frozen=True)
class Patience:
    """How long ranks are waited for, in seconds."""

    arrival_s: float  # for one that lives, and does not come to where the others wait
    life_s: float  # for any sign of life


@dataclass(frozen=True)
class Sign:
    """A rank's sign of life."""

    beat: int  # one more each time
    node: int
    gpu: str  # which one, over all machines; empty without
    calls: int  # calls that need all ranks: how many it has entered

    def encode(self) -> str:
        """Return it as JSON."""
        return json.dumps(astuple(self))

    @staticmethod
    def decode(text: bytes) -> Sign:
        """Read what `encode` wrote."""
        return Sign(*json.loads(text))


class Roll:
    """The ranks as one of them, `rank`, hears them."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.others = [other for other in range(world_size) if other != rank]
        self.signs: dict[int, Sign] = {}
        self._silence = dict.fromkeys(self.others, 0)  # looks in a row without a new sign

    def hear(self, signs: Mapping[int, Sign]) -> None:
        """Take in one look at the others' newest signs."""
        for rank, sign in signs.items():
            known = self.signs.get(rank)
            self._silence[rank] = self._silence[rank] + 1 if known and known.beat == sign.beat else 0
            self.signs[rank] = sign

    @property
    def missing(self) -> list[int]:
        """Those of whom nothing was ever heard."""
        return [rank for rank in self.others if rank not in self.signs]

    def late(self, waited_s: float, patience: Patience) -> RankLostError | None:
        """Judge those who have not even begun, after a wait of `waited_s` seconds."""
        if not self.missing or waited_s < patience.arrival_s:
            return None
        return self._lost(self.missing, "not begun", waited_s)

    def hung(self, calls: int, waited_s: float, patience: Patience) -> RankLostError | None:
        """Judge those for whom this rank has waited in its call number `calls` for `waited_s` seconds."""
        if silent := self._silent(patience.life_s / LOOK_S):
            return self._lost(silent, "given no sign of life", patience.life_s)
        if waited_s < patience.arrival_s:
            return None
        if behind := [rank for rank, sign in self.signs.items() if sign.calls < calls]:
            return self._lost(behind, "not come to where the others wait", waited_s)
        return RankLostError(f"all ranks live and have waited for one another for {waited_s:g} s", hung=True)

    def gone(self) -> RankLostError | None:
        """Say who is gone, after a connection has broken; None until it shows."""
        silent = self._silent(GONE_LOOKS)
        return RankLostError(self.names(silent, "is gone", "are gone"), tuple(silent)) if silent else None

    def names(self, ranks: Sequence[int], singular: str, plural: str) -> str:
        """Return a sentence about ranks: "rank 2 (node 1) is gone"."""
        known = [f"{rank} (node {self.signs[rank].node})" if rank in self.signs else str(rank) for rank in ranks]
        return f"rank {known[0]} {singular}" if len(known) == 1 else f"ranks {', '.join(known)} {plural}"

    def _silent(self, looks: float) -> list[int]:
        return [rank for rank in self.others if self._silence[rank] >= looks]

    def _lost(self, ranks: Sequence[int], what: str, seconds: float) -> RankLostError:
        text = self.names(ranks, f"has {what}", f"have {what}")
        return RankLostError(f"{text} for {seconds:g} s", tuple(ranks), hung=True)


def encode(lost: RankLostError) -> str:
    """Return a verdict as JSON, for the other ranks."""
    return json.dumps([str(lost), lost.ranks, lost.hung])


def decode(text: bytes) -> RankLostError:
    """Read what `encode` wrote."""
    message, ranks, hung = json.loads(text)
    return RankLostError(message, tuple(ranks), hung)
