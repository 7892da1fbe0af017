"""Counter-based random numbers in torch: values are functions of (seed, stream, counter), so no generator has a state.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), the same function as the environment
kernel's, checked against Random123's published answers. A rank computes the numbers of its own environments only,
and any split of the environments over ranks gives the same ones.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

STREAM_EXPLORATION: Final = 0x68770001  # outside the small numbers that the environments use for their streams
STREAM_SHUFFLE: Final = 0x68770002
STREAM_LEVELS: Final = 0x68770003
STREAM_EXPERT: Final = 0x68770004
STREAM_OPPONENT: Final = 0x68770005
STREAM_ROLLBACK: Final = 0x68770006
STREAM_BASELINE: Final = 0x68770010

_MASK: Final = 0xFFFFFFFF
_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four random 32-bit words for each counter. All tensors int64, of shapes that broadcast, values below 2**32."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The low 64 bits of a product are right in wrapping int64; the mask undoes the arithmetic shift's sign.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        high0, high1 = (product0 >> 32) & _MASK, (product1 >> 32) & _MASK
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, product1 & _MASK, high0 ^ c3 ^ k1, product0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def shifted(seed: int, rollbacks: int) -> int:
    """The seed of what a run draws after so many rollbacks, below 2**31; its own one before the first."""
    if rollbacks == 0:
        return seed
    counter = [torch.tensor(word) for word in (rollbacks, 0, 0, 0)]
    word, *_ = philox((counter[0], counter[1], counter[2], counter[3]), (seed & _MASK, STREAM_ROLLBACK))
    return int(word) >> 1


def normals(seed: int, env_index: Tensor, steps: Tensor, size: int) -> Tensor:
    """Standard normal exploration noise, float32 [T, N, size], of int64 `steps` [T] and `env_index` [N]."""
    device = env_index.device
    blocks = torch.arange(math.ceil(size / 4), device=device)
    counter = (
        env_index[None, :, None],  # [1, N, 1]
        (steps & _MASK)[:, None, None],  # [T, 1, 1]
        ((steps >> 32) & _MASK)[:, None, None],
        blocks[None, None, :],  # [1, 1, blocks]
    )
    words = torch.stack(philox(counter, (seed & _MASK, STREAM_EXPLORATION)), dim=-1)  # [T, N, blocks, 4]
    uniform = (words.flatten(-2).double() + 0.5) / 2**32  # in (0, 1), never 0 or 1
    # Box-Muller: two normals from two uniforms.
    radius, angle = (-2.0 * uniform[..., 0::2].log()).sqrt(), 2.0 * math.pi * uniform[..., 1::2]
    pairs = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
    return pairs.flatten(-2)[..., :size].float()


def uniforms(seed: int, env_index: Tensor, steps: Tensor) -> Tensor:
    """Uniform exploration noise in (0, 1), float64 [T, N], of int64 `steps` [T] and `env_index` [N]."""
    high, low, zero = (steps >> 32) & _MASK, steps & _MASK, torch.zeros_like(env_index)
    words = philox((env_index[None], low[:, None], high[:, None], zero[None]), (seed & _MASK, STREAM_EXPLORATION))
    return (words[0].double() + 0.5) / 2**32


def expert_draws(seed: int, env_index: Tensor, step: int) -> Tensor:
    """Uniform numbers in (0, 1), float64 [N], that decide whether an expert drives at this step."""
    low, high, zero = (torch.full_like(env_index, word) for word in (step & _MASK, (step >> 32) & _MASK, 0))
    return (philox((env_index, low, high, zero), (seed & _MASK, STREAM_EXPERT))[0].double() + 0.5) / 2**32


def opponent_draws(seed: int, env_index: Tensor, episode: Tensor) -> tuple[Tensor, Tensor]:
    """Two random 32-bit words for each episode int64 [K] of environment int64 [K]: they decide whom it meets."""
    counter = (env_index, episode & _MASK, (episode >> 32) & _MASK, torch.zeros_like(env_index))
    first, second, _, _ = philox(counter, (seed & _MASK, STREAM_OPPONENT))
    return first, second


def permutation(size: int, seed: int, update: int, epoch: int, shard: int, device: torch.device) -> Tensor:
    """A random order of `size` items, int64 [size]: a function of its arguments alone."""
    counter = [torch.tensor(word & _MASK) for word in (update, epoch, shard, update >> 32)]
    high, low, _, _ = philox((counter[0], counter[1], counter[2], counter[3]), (seed & _MASK, STREAM_SHUFFLE))
    generator = torch.Generator().manual_seed(int(high) << 31 | int(low))  # seeded for this order and thrown away
    return torch.randperm(size, generator=generator).to(device)
