"""The memory of one on-policy rollout, allocated once."""

from __future__ import annotations

import torch
from torch import Tensor

from headway.algos.protocol import Featurise
from headway.envs.protocol import Step


class Rollout:
    """T steps of N environments: F features, A action entries."""

    def __init__(self, length: int, num_envs: int, feature_size: int, action_size: int) -> None:
        self.length = length  # T
        self.filled = 0
        self.features = torch.zeros(length, num_envs, feature_size)  # [T, N, F]
        self.action = torch.zeros(length, num_envs, action_size)  # [T, N, A]: as sampled, before any clipping
        self.noise = torch.zeros(length, num_envs, action_size)  # [T, N, A]: standard normal, what made `action`
        self.reward = torch.zeros(length, num_envs)  # [T, N]
        self.terminated = torch.zeros(length, num_envs, dtype=torch.bool)  # [T, N]
        self.truncated = torch.zeros(length, num_envs, dtype=torch.bool)  # [T, N]
        self.cut: list[tuple[Tensor, Tensor]] = []  # (indices into [T * N], final features [k, F]) of truncated steps

    def add(self, features: Tensor, action: Tensor, step: Step, featurise: Featurise) -> None:
        """Store one step of every environment. Final observations are kept only where the clock ended an episode."""
        t = self.filled
        self.features[t] = features
        self.action[t] = action
        self.reward[t] = step.reward
        self.terminated[t] = step.terminated
        self.truncated[t] = step.truncated
        cut = step.truncated[step.final_rows]  # bool [K]
        if bool(cut.any()):
            final = featurise({name: tensor[cut] for name, tensor in step.final_observation.items()})
            self.cut.append((step.final_rows[cut] + t * features.shape[0], final.clone()))
        self.filled += 1

    def clear(self) -> None:
        """Make room for the next rollout; its memory is written over."""
        self.filled = 0
        self.cut = []
