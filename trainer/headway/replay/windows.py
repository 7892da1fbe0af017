"""n-step returns over windows of transitions that follow each other (Sutton 1988; Hessel et al. 2018, equation 3).

A window begins with the transition that was drawn and has at most n. It ends early where its episode ends, whichever
way, and at the newest transition: what follows its last one is asked for its value, unless that was a termination. So
no transition is lost at the end of an episode, and none is joined with the next one's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Return:
    """What windows add up to."""

    reward: Tensor  # float32 [B]: sum of gamma^k r_k over the window
    discount: Tensor  # float32 [B]: gamma^length, 0 after a termination
    length: Tensor  # int64 [B], 1 to n


def n_step(
    reward: Tensor,  # float32 [B, n]
    terminated: Tensor,  # bool [B, n]
    truncated: Tensor,  # bool [B, n]
    inside: Tensor,  # bool [B, n]; the first of each is true
    gamma: float,
) -> Return:
    """Sum the rewards of each window up to its first end."""
    ended = terminated | truncated
    ended_before = ended.cumsum(1) - ended.long() > 0
    counts = inside & ~ended_before
    length = counts.sum(1)
    powers = gamma ** torch.arange(reward.shape[1] + 1, device=reward.device, dtype=torch.float64)
    total = (reward.double() * counts * powers[:-1]).sum(1)
    dies = (terminated & counts).any(1)
    return Return(total.float(), (powers[length] * ~dies).float(), length)
