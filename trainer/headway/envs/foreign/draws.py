"""What an episode of a foreign environment is seeded with: a function of (seed, split, index, episode) alone.

So any split of the environments over ranks and processes plays the same episodes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SPLITS = {"train": 0, "validation": 1, "test": 2}
SEED_BITS = 29  # below the split's two: seeds stay below 2^31, which every package takes, and splits share none


class Draw(NamedTuple):
    """What is drawn for one episode."""

    seed: int
    stage: int


def draw_episode(seed: int, split: str, index: int, episode: int, stage: int, replay: float) -> Draw:
    """Draw the environment's seed, and the episode's stage: `stage`, or with chance `replay` an earlier one."""
    words = np.random.SeedSequence((seed, SPLITS[split], index, episode)).generate_state(3)
    own, chance, which = (int(word) for word in words)
    replayed = stage > 0 and chance < replay * 2**32
    return Draw(SPLITS[split] << SEED_BITS | own >> 32 - SEED_BITS, which * stage >> 32 if replayed else stage)
