"""What goes into a replay and what comes out of it. N environments, B drawn ones, F features, A action entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from headway.envs.protocol import ActionSpace, Featurise, Judge, Transition
from headway.replay.ring import Column, Ring


@dataclass(frozen=True)
class Source:
    """Where transitions come from: sizes, and the environment's own functions of rows."""

    features: int  # F
    observation: int  # O
    goal: int  # G
    actions: ActionSpace
    featurise: Featurise
    judge: Judge | None = None  # for hindsight


@dataclass(frozen=True)
class Drawn:
    """Windows of transitions, as they are learned from."""

    features: Tensor  # [B, F]: before the first step
    reward: Tensor  # [B]: n-step return
    discount: Tensor  # [B]: of the value of what follows, 0 where nothing does
    next_features: Tensor  # [B, F]: after the last step


@dataclass(frozen=True)
class Batch:
    """What one gradient step learns from."""

    features: Tensor  # [B, F]
    action: Tensor  # [B, A] or int64 [B]
    reward: Tensor  # [B]
    discount: Tensor  # [B]
    next_features: Tensor  # [B, F]
    weight: Tensor | None  # [B]; None: all 1
    slot: Tensor  # int64 [B]: of the windows' first transitions


class Rows(Protocol):
    """What is kept of a transition besides action, reward and ends, and how windows are made of it."""

    seed: int  # of what is drawn for a window

    def columns(self) -> dict[str, Column]:
        """Name what is kept."""
        ...

    def kept(self, transition: Transition) -> dict[str, Tensor]:
        """Entries of those columns, [N, ...]."""
        ...

    def draw(self, ring: Ring, records: dict[str, Tensor], slot: Tensor, step: int) -> Drawn:
        """Make windows from the slots int64 [S * B] of S gradient steps, from `step` on; `records`: what lies there."""
        ...
