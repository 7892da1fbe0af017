"""Which checkpoints stay: the newest, the one of the best evaluation, and milestones. A pure decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headway.checkpoint.lineage import Position


@dataclass(frozen=True)
class Retention:
    """What is kept of a run's checkpoints."""

    keep: int = 3
    """How many of the newest."""
    best: bool = True
    """Whether the one of the best evaluation stays: the one at it, or the first after it."""
    milestone_steps: int = 0
    """The first one at or after each multiple of so many environment steps stays for ever; 0: none does."""


def kept(rule: Retention, newest_first: Sequence[Position], best: Mapping[Position, list[float]]) -> set[Position]:
    """Return what stays of a lineage.

    `best`: for each that has a manifest, what the best evaluation so far is compared by, or nothing. What has none is
    no checkpoint, stays for no reason and takes no other's place.
    """
    whole = [position for position in newest_first if position in best]
    stays = set(whole[: rule.keep])
    if not whole:
        return stays
    oldest_first = sorted(whole, key=lambda position: position.step)
    if rule.best and (found := best[whole[0]]):
        # Each manifest names the best until then, so the oldest that names the present one is the first after it.
        stays.add(next(position for position in oldest_first if best[position] == found))
    if rule.milestone_steps:
        reached = 0  # multiples that older ones have reached
        for position in oldest_first:
            if position.step // rule.milestone_steps > reached:
                stays.add(position)
                reached = position.step // rule.milestone_steps
    return stays
