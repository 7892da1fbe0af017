"""Priorities on the CPU: a tree of integer sums, 16 children a node, so that 2**20 leaves are five levels.

Integers, because sums of floats depend on the order in which they were made: after a resume, or a million updates, a
tree of floats is not the sum of its leaves. Wide nodes, because a node's children are two cache lines that are read at
once: a binary tree of a million leaves misses the cache at most of its twenty levels.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.envs.nav.jit import kernel
from headway.replay.draws import INDEX, word
from headway.replay.priorities import HIGHEST, LOWEST, SCALE

_BITS: Final = 4
_CHILDREN: Final = 1 << _BITS

Sums = NDArray[np.int64]


@kernel(allocates=True)
def set_leaf(sums, starts, leaf, value):
    """Set one leaf, and add what it gained to every sum above it. `starts`: of each level in `sums`, leaves first."""
    gain = value - sums[leaf]
    at = leaf
    for level in range(starts.shape[0]):
        sums[starts[level] + at] += gain
        at >>= _BITS


@kernel(allocates=True)
def find_leaves(sums, starts, target, leaf):
    """Leaves [B] at which the running sum of all leaves first exceeds `target` [B], which is used up.

    All go down a level together: their reads do not depend on each other, so the memory serves many at once.
    """
    leaf[:] = 0
    for level in range(starts.shape[0] - 2, -1, -1):
        start = starts[level]
        for k in range(leaf.shape[0]):
            at = start + (leaf[k] << _BITS)
            rest = target[k]
            while rest >= sums[at]:
                rest -= sums[at]
                at += 1
            leaf[k] = at - start
            target[k] = rest


@kernel(allocates=True)
def _fill(sums, starts, first, count, value):
    for leaf in range(first, first + count):
        set_leaf(sums, starts, leaf, value)


@kernel(allocates=True)
def _update(sums, starts, index, td_error, alpha, epsilon, highest):
    """Set the leaves of `index` to their quantised priorities; return the highest priority ever."""
    for k in range(index.shape[0]):
        priority = (abs(np.float64(td_error[k])) + epsilon) ** alpha * SCALE
        if not priority > LOWEST:  # nor where it is no number: the walk down the tree checks nothing
            priority = np.float64(LOWEST)
        value = np.int64(min(np.rint(priority), np.float64(HIGHEST)))
        again = k > 0 and index[k] == index[k - 1]
        set_leaf(sums, starts, index[k], max(value, sums[index[k]]) if again else value)
        highest = max(highest, value)
    return highest


@kernel(allocates=True)
def _draw(sums, starts, seed, shard, step, beta, index, weight):
    """Stratified: one draw from each of `len(index)` equal shares of the sum (Schaul et al. 2016, appendix B.2.1)."""
    total = sums[starts[starts.shape[0] - 1]]
    batch = index.shape[0]
    whole, rest = total // batch, total % batch
    target = np.empty(batch, np.int64)
    for k in range(batch):
        low = k * whole + k * rest // batch
        width = (k + 1) * whole + (k + 1) * rest // batch - low
        target[k] = min(low + word(seed, shard, step, INDEX, k) % max(width, np.int64(1)), total - 1)
    find_leaves(sums, starts, target, index)
    least = total
    for k in range(batch):
        target[k] = sums[index[k]]
        least = min(least, target[k])
    for k in range(batch):
        # (M P(i))^-beta over its largest in the batch: M and the sum cancel out
        weight[k] = (np.float64(target[k]) / np.float64(least)) ** -beta


class SumTree:
    """See `priorities.Priorities`."""

    def __init__(self, size: int, alpha: float, epsilon: float) -> None:
        self.alpha, self.epsilon = alpha, epsilon
        self.highest = int(SCALE)
        starts, level = [0], size
        while level > 1:
            starts.append(starts[-1] + -(-level // _CHILDREN) * _CHILDREN)  # levels are padded with zeros
            level = -(-level // _CHILDREN)
        self.size = size
        self.starts = np.array(starts, np.int64)
        self.sums = np.zeros(starts[-1] + 1, np.int64)

    def fill(self, first: int, count: int) -> None:
        """See Priorities.fill."""
        _fill(self.sums, self.starts, first, count, self.highest)

    def draw(self, seed: int, shard: int, step: int, batch: int, beta: float) -> tuple[Tensor, Tensor]:
        """See Priorities.draw."""
        index, weight = torch.empty(batch, dtype=torch.int64), torch.empty(batch)
        _draw(self.sums, self.starts, seed, shard, step, beta, index.numpy(), weight.numpy())
        return index, weight

    def update(self, index: Tensor, td_error: Tensor) -> None:
        """See Priorities.update."""
        self.highest = _update(
            self.sums, self.starts, index.numpy(), td_error.numpy(), self.alpha, self.epsilon, self.highest
        )

    def get_leaves(self) -> Tensor:
        """See Priorities.get_leaves."""
        return torch.from_numpy(self.sums[: self.size].copy())

    def set_leaves(self, leaves: Tensor, highest: int) -> None:
        """See Priorities.set_leaves."""
        self.highest = highest
        below = leaves.numpy()
        self.sums[: self.size] = below
        for level in range(1, len(self.starts)):
            padded = np.zeros(-(-len(below) // _CHILDREN) * _CHILDREN, np.int64)
            padded[: len(below)] = below
            below = padded.reshape(-1, _CHILDREN).sum(1)
            self.sums[self.starts[level] : self.starts[level] + len(below)] = below
