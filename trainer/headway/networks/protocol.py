"""What every network that acts has in common. B rows, F features, H numbers of memory."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class PolicyNetwork(Protocol):
    """A module that chooses actions; its state is what checkpoints call `network.*`."""

    memory_size: int  # H, 0 without

    def prepare(self, features: Tensor) -> Tensor:
        """Features [..., F] as the network takes them."""
        ...

    def greedy(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Actions without exploring, float32 [B, A] in [-1, 1] or int64 [B], and the memory after them [B, H]."""
        ...
