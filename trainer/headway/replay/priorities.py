"""How surprising transitions are, as integers: what they are drawn by (Schaul et al. 2016, arXiv 1511.05952).

A priority is (|TD error| + epsilon)^alpha in units of 2**-24, at least 1 of them and at most 2**38: sums of 2**24
leaves fit 64 bits and do not depend on any order.
"""

from __future__ import annotations

from typing import Final, Protocol

import torch
from torch import Tensor

from headway.determinism import order_does_not_matter
from headway.replay.draws import INDEX, words

SCALE: Final = 2.0**24
LOWEST: Final = 1
HIGHEST: Final = 2**38
MOST_LEAVES: Final = 2**24  # of one rank


class Priorities(Protocol):
    """One leaf for each of `size` slots; 0: never drawn."""

    size: int

    @property
    def highest(self) -> int:
        """The highest priority ever seen; waits for the device."""
        ...

    def fill(self, first: int, count: int) -> None:
        """Give slots `first` to `first + count - 1`, which hold something new, the highest priority ever seen."""
        ...

    def draw(self, seed: int, shard: int, step: int, batch: int, beta: float) -> tuple[Tensor, Tensor]:
        """Slots int64 [B], never falling, each with probability leaf / sum, and their weights float32 [B].

        Weights are (M P)^-beta, M slots that hold something, over the largest of the batch. Stratified: one draw from
        each of B equal shares of the sum.
        """
        ...

    def update(self, index: Tensor, td_error: Tensor) -> None:
        """Set slots `index` int64 [B] (never falling) by new TD errors float32 [B]; twice the same: the higher."""
        ...

    def get_leaves(self) -> Tensor:
        """All leaves, int64 [size], on the CPU."""
        ...

    def set_leaves(self, leaves: Tensor, highest: int) -> None:
        """Go on with these leaves, int64 [size]."""
        ...


class RunningSums:
    """Priorities by the running sum of all leaves: on a GPU one pass over a million is faster than a tree's levels."""

    def __init__(self, size: int, alpha: float, epsilon: float, device: torch.device) -> None:
        self.size, self.alpha, self.epsilon = size, alpha, epsilon
        self.leaves = torch.zeros(size, dtype=torch.int64, device=device)
        self._highest = torch.full((), int(SCALE), dtype=torch.int64, device=device)

    @property
    def highest(self) -> int:
        """The highest priority ever seen; waits for the device."""
        return int(self._highest)

    def fill(self, first: int, count: int) -> None:
        """See Priorities.fill."""
        self.leaves[first : first + count] = self._highest

    def draw(self, seed: int, shard: int, step: int, batch: int, beta: float) -> tuple[Tensor, Tensor]:
        """See Priorities.draw."""
        sums = self.leaves.cumsum(0)  # of integers: the same whatever order the device adds in
        total = sums[-1]
        number = torch.arange(batch + 1, device=sums.device)
        bounds = number * (total // batch) + number * (total % batch) // batch
        word = words(seed, shard, step, 1, batch, INDEX, sums.device)[0]
        target = bounds[:-1] + word % bounds.diff().clamp_min(1)
        index = torch.searchsorted(sums, torch.minimum(target, total - 1), right=True)
        leaf = self.leaves[index].double()
        return index, (leaf / leaf.min()).pow(-beta).float()

    def update(self, index: Tensor, td_error: Tensor) -> None:
        """See Priorities.update."""
        priority = (td_error.double().abs() + self.epsilon).pow(self.alpha) * SCALE
        leaf = priority.round().nan_to_num(LOWEST).clamp(LOWEST, HIGHEST).long()
        with order_does_not_matter():  # of integers, the highest
            self.leaves.scatter_reduce_(0, index, leaf, "amax", include_self=False)
        self._highest = torch.maximum(self._highest, leaf.max())

    def get_leaves(self) -> Tensor:
        """See Priorities.get_leaves."""
        return self.leaves.to("cpu", copy=True)

    def set_leaves(self, leaves: Tensor, highest: int) -> None:
        """See Priorities.set_leaves."""
        self.leaves.copy_(leaves)
        self._highest.fill_(highest)
