"""The memory of one on-policy rollout, allocated once."""

from __future__ import annotations

import torch
from torch import Tensor

from headway.envs.protocol import ActionSpace, Transition


class Rollout:
    """T steps of N environments on one device: F features, A action entries or choices."""

    def __init__(
        self, length: int, num_envs: int, feature_size: int, actions: ActionSpace, device: torch.device
    ) -> None:
        self.length = length  # T
        self.filled = 0
        rows = (length, num_envs)
        self.features = torch.zeros(*rows, feature_size, device=device)  # [T, N, F]
        self.output = torch.zeros(*rows, actions.size, device=device)  # [T, N, A]: the policy's, what actions came from
        shape, kind = (rows, torch.int64) if actions.discrete else ((*rows, actions.size), torch.float32)
        self.action = torch.zeros(shape, dtype=kind, device=device)  # [T, N, A] before any clipping, or [T, N] choices
        self.reward = torch.zeros(rows, device=device)  # [T, N]
        self.terminated = torch.zeros(rows, dtype=torch.bool, device=device)  # [T, N]
        self.truncated = torch.zeros(rows, dtype=torch.bool, device=device)  # [T, N]
        self.begins = torch.zeros(rows, dtype=torch.bool, device=device)  # [T, N]: an episode's first step
        self.cut: list[tuple[Tensor, Tensor]] = []  # (indices into [T * N], final features [k, F]) of truncated steps

    def add(self, transition: Transition) -> None:
        """Store one step of every environment. Final observations are kept only where the clock ended an episode."""
        t, step, features = self.filled, transition.step, transition.features
        self.features[t] = features
        self.action[t] = transition.action
        self.reward[t] = step.reward
        self.terminated[t] = step.terminated
        self.truncated[t] = step.truncated
        cut = step.truncated[step.final_rows]  # bool [K]
        if bool(cut.any()):
            final = transition.featurise({name: tensor[cut] for name, tensor in step.final_observation.items()})
            rows = step.final_rows[cut] + t * features.shape[0]
            self.cut.append((rows.to(self.reward.device), final.to(self.reward.device, copy=True)))
        self.filled += 1

    def finals(self) -> tuple[Tensor, Tensor]:
        """Indices [K] into [T * N] of truncated steps and their final features [K, F]; K may be 0."""
        if not self.cut:
            return self.begins.new_zeros(0, dtype=torch.int64), self.features.new_zeros(0, self.features.shape[-1])
        rows, finals = zip(*self.cut, strict=True)
        return torch.cat(rows), torch.cat(finals)

    def clear(self) -> None:
        """Make room for the next rollout; its memory is written over."""
        self.filled = 0
        self.cut = []
