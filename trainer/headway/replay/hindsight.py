"""Where goals of relabelled transitions come from (Andrychowicz et al. 2017, section 4.5). Pure functions of integers.

One goal relabels a whole n-step window. It is what was achieved by some transition, told as an offset in steps from the
window's first one; only episodes that have ended and are wholly there are relabelled.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from headway.replay.draws import GOAL, RELABEL

PURPOSES: Final = {"relabel": RELABEL, "goal": GOAL}
SPAN: Final = 2**62  # words are below this


def is_whole(since: Tensor, until: Tensor, ahead: Tensor, held: int) -> Tensor:
    """Say which transitions are of an episode that has ended and of which no step has been overwritten, bool [B].

    `since`, `until`: steps from the episode's first and to its last, until -1 while it runs; `ahead`: newer steps.
    """
    return (until >= 0) & (ahead + since < held)


def is_relabelled(word: Tensor, goals: int) -> Tensor:
    """Choose `goals` of goals + 1 transitions by their words, bool [B]."""
    return word < SPAN // (goals + 1) * goals


def goal_offset(strategy: str, word: Tensor, since: Tensor, until: Tensor, steps: int) -> Tensor:
    """Steps from a window's first transition to the one whose achieved goal is taken, int64 [B].

    future: at or after the window's last, within the episode; final: the episode's last; episode: any of it. `steps`:
    of a window. Means something for whole episodes only.
    """
    until = until.clamp_min(0)
    if strategy == "final":
        return until
    if strategy == "episode":
        return word % (since + until + 1) - since
    last = until.clamp_max(steps - 1)  # the window is cut at the episode's end
    return last + word % (until - last + 1)


def any_slot(word: Tensor, slots: int) -> Tensor:
    """Strategy random: any transition that is there, int64 [B]."""
    return torch.remainder(word, slots)
