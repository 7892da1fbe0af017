"""The only baseline of an environment that nobody here knows: actions drawn evenly."""

from __future__ import annotations

import torch
from torch import Tensor

from headway import randomness
from headway.envs.protocol import Observation, VectorEnv


class RandomActions:
    """Every action is as likely as any other; the same ones for the same number of environments."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._steps = 0

    def __call__(self, env: VectorEnv, observation: Observation, begins: Tensor) -> Tensor:
        """Actions [N, A] in [-1, 1], or int64 [N] choices."""
        size = 1 if env.actions.discrete else env.actions.size
        row, entry = torch.arange(env.num_envs)[:, None], torch.arange(size)[None, :]
        zero, step = torch.zeros_like(entry), torch.full_like(entry, self._steps)
        word = randomness.philox((row, entry, step, zero), (self._seed, randomness.STREAM_BASELINE))[0]  # [N, size]
        self._steps += 1
        if env.actions.discrete:
            return word[:, 0] * env.actions.size >> 32
        return (word.double() / 2**31 - 1).float()
