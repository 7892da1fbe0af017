"""Random words for draws from a replay: functions of (seed, shard, gradient step, number), so no generator has a state.

The same on every device: compiled for the CPU, where a call in torch would cost a hundred small operations.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import philox
from headway.randomness import philox as torch_philox

STREAM: Final = 0x68770020
# What a word is for: each purpose has words of its own.
INDEX: Final = 0
GOAL: Final = 1
RELABEL: Final = 2
POLICY: Final = 3  # noise of actions that a policy is learned by
TARGET: Final = 4  # noise of actions in targets
_MASK: Final = 0xFFFFFFFF
u32, u64 = np.uint32, np.uint64


@kernel
def word(seed, shard, step, purpose, number):
    """One int64 in [0, 2**62) of row `number` of gradient step `step`."""
    c3 = u32((purpose << 24) | shard)
    r0, r1, _, _ = philox(u32(number), u32(step), u32(step >> 32), c3, u32(seed), u32(STREAM))
    return np.int64(((u64(r0) << u64(32)) | u64(r1)) >> u64(2))


@kernel(allocates=True)
def _words(out, seed, shard, step, purpose):
    for row in range(out.shape[0]):
        for number in range(out.shape[1]):
            out[row, number] = word(seed, shard, step + row, purpose, number)


def words(seed: int, shard: int, step: int, steps: int, batch: int, purpose: int, device: torch.device) -> Tensor:
    """Int64 [steps, batch] in [0, 2**62), for gradient steps `step` to `step + steps - 1`.

    `shard` (below 2**24) tells ranks apart: the global index of their first environment.
    """
    if device.type == "cpu":
        out = torch.empty(steps, batch, dtype=torch.int64)
        _words(out.numpy(), seed, shard, step, purpose)
        return out
    number = torch.arange(batch, device=device)[None]
    rows = torch.arange(step, step + steps, device=device)[:, None]
    c3 = torch.full((1, 1), (purpose << 24) | shard, device=device)
    r0, r1, _, _ = torch_philox((number, rows & _MASK, (rows >> 32) & _MASK, c3), (seed & _MASK, STREAM))
    return r0 << 30 | r1 >> 2  # (r0 << 32 | r1) >> 2, without its overflow


@kernel(allocates=True)
def _normals(out, seed, shard, step, purpose):
    """Box-Muller: two normals from two uniforms, which are the halves of a word."""
    flat = out.ravel()
    for pair in range((flat.shape[0] + 1) // 2):
        both = word(seed, shard, step, purpose, pair)
        radius = math.sqrt(-2.0 * math.log(((both >> 31) + 0.5) / 2.0**31))
        angle = 2.0 * math.pi * (((both & 0x7FFFFFFF) + 0.5) / 2.0**31)
        flat[2 * pair] = radius * math.cos(angle)
        if 2 * pair + 1 < flat.shape[0]:
            flat[2 * pair + 1] = radius * math.sin(angle)


def normals(seed: int, shard: int, step: int, rows: int, size: int, purpose: int, device: torch.device) -> Tensor:
    """Standard normal numbers, float32 [rows, size], of one gradient step."""
    if device.type == "cpu":
        out = torch.empty(rows, size)
        _normals(out.numpy(), seed, shard, step, purpose)
        return out
    both = words(seed, shard, step, 1, (rows * size + 1) // 2, purpose, device)[0]
    radius = (-2.0 * (((both >> 31).double() + 0.5) / 2.0**31).log()).sqrt()
    angle = 2.0 * math.pi * (((both & 0x7FFFFFFF).double() + 0.5) / 2.0**31)
    pairs = torch.stack((radius * angle.cos(), radius * angle.sin()), 1).flatten()
    return pairs[: rows * size].float().view(rows, size)
