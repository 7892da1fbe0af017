"""The memory that a vector environment and its workers share: one file without a name, carved into arrays."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.envs.foreign.spaces import Sizes

SUCCESS_UNKNOWN = -1


class Block(NamedTuple):
    """N environments, rows of the same index; O, G and A entries as in Sizes."""

    action: NDArray[np.float64]  # [N, A], or [N, 1] for choices
    observation: NDArray[np.float32]  # [N, O] to act on next
    achieved: NDArray[np.float32]  # [N, G]
    desired: NDArray[np.float32]  # [N, G]
    final_observation: NDArray[np.float32]  # [N, O] of the episode that ended at this step, else stale
    final_achieved: NDArray[np.float32]  # [N, G]
    final_desired: NDArray[np.float32]  # [N, G]
    reward: NDArray[np.float64]  # [N]
    terminated: NDArray[np.int8]  # [N]
    truncated: NDArray[np.int8]  # [N]
    success: NDArray[np.int8]  # [N] 1, 0, or SUCCESS_UNKNOWN where the environment does not say
    collision: NDArray[np.int8]  # [N]
    episode: NDArray[np.int64]  # [N] number of the episode under way, from 0
    stage: NDArray[np.int64]  # [N] its stage


def _layout(n: int, sizes: Sizes) -> list[tuple[tuple[int, ...], type]]:
    o, g = sizes.observation, sizes.goal
    seen: list[tuple[tuple[int, ...], type]] = [((n, o), np.float32), ((n, g), np.float32), ((n, g), np.float32)]
    action = ((n, 1 if sizes.discrete else sizes.action), np.float64)
    return [action, *seen, *seen, ((n,), np.float64), *4 * [((n,), np.int8)], *2 * [((n,), np.int64)]]


def share(path: Path, n: int, sizes: Sizes, create: bool = False) -> Block:
    """Map the file at `path` as a block; with `create` it is given its size first."""
    layout = _layout(n, sizes)
    bytes_of = [-(-int(np.prod(shape)) * np.dtype(kind).itemsize // 8) * 8 for shape, kind in layout]
    with path.open("r+b") as file:
        if create:
            file.truncate(sum(bytes_of))
        memory = mmap.mmap(file.fileno(), sum(bytes_of))
    starts = np.cumsum([0, *bytes_of[:-1]]).tolist()
    return Block(*(np.ndarray(shape, kind, memory, at) for (shape, kind), at in zip(layout, starts, strict=True)))


def own_block(n: int, sizes: Sizes) -> Block:
    """Return a block that is shared with nobody."""
    return Block(*(np.zeros(shape, kind) for shape, kind in _layout(n, sizes)))
