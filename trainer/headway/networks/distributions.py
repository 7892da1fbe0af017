"""What a policy's outputs mean: distributions over actions. B rows, N environments, T steps.

Random numbers come in from outside, as functions of (seed, environment, step), so that nothing here has a state.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from headway import randomness
from headway.envs.protocol import ActionSpace


class Distribution(Protocol):
    """A family of distributions over actions."""

    def noise(self, seed: int, env_index: Tensor, steps: Tensor) -> Tensor:
        """Random numbers [T, N, ...] for steps int64 [T] of environments int64 [N], one entry an action."""
        ...

    def sample(self, output: Tensor, noise: Tensor) -> Tensor:
        """Actions of B rows that `noise` chooses."""
        ...

    def mode(self, output: Tensor) -> Tensor:
        """Likeliest actions of B rows."""
        ...

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Log density or log probability of actions, of the shape of `output` without its last axis."""
        ...

    def entropy(self, output: Tensor) -> Tensor:
        """Mean entropy over all rows, a scalar."""
        ...


class Gaussian(nn.Module):
    """Outputs are means; the standard deviation is one for all states. Environments clip actions to [-1, 1]."""

    def __init__(self, size: int, initial_log_std: float) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.full((size,), initial_log_std))

    def noise(self, seed: int, env_index: Tensor, steps: Tensor) -> Tensor:
        """Standard normal numbers, [T, N, A]."""
        return randomness.normals(seed, env_index, steps, self.log_std.numel())

    def sample(self, output: Tensor, noise: Tensor) -> Tensor:
        """Float32 [B, A]."""
        return torch.addcmul(output, self.log_std.exp(), noise)

    def mode(self, output: Tensor) -> Tensor:
        """Float32 [B, A] in [-1, 1]."""
        return output.clamp(-1.0, 1.0)

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Sum over entries of the log density of the normal distribution."""
        noise = (action - output) * torch.exp(-self.log_std)
        constant = self.log_std.sum() + 0.5 * math.log(2 * math.pi) * self.log_std.numel()
        return -0.5 * noise.square().sum(-1) - constant

    def entropy(self, output: Tensor) -> Tensor:
        """Differential entropy, the same in every state."""
        return self.log_std.sum() + 0.5 * math.log(2 * math.pi * math.e) * self.log_std.numel()


class Categorical(nn.Module):
    """Outputs are logits of choices."""

    def noise(self, seed: int, env_index: Tensor, steps: Tensor) -> Tensor:
        """Uniform numbers in (0, 1), [T, N]."""
        return randomness.uniforms(seed, env_index, steps)

    def sample(self, output: Tensor, noise: Tensor) -> Tensor:
        """Int64 [B], by inverting the cumulative distribution: one random number a choice, however many there are."""
        cumulative = output.softmax(-1).cumsum(-1)
        return (cumulative[..., :-1] <= noise[..., None]).sum(-1)  # the last one ends at 1 but for rounding

    def mode(self, output: Tensor) -> Tensor:
        """Int64 [B]."""
        return output.argmax(-1)

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Log softmax at the choice."""
        return output.log_softmax(-1).gather(-1, action[..., None]).squeeze(-1)

    def entropy(self, output: Tensor) -> Tensor:
        """Mean of -sum p log p."""
        log_prob = output.log_softmax(-1)
        return -(log_prob.exp() * log_prob).sum(-1).mean()


def make_distribution(actions: ActionSpace, initial_log_std: float) -> Gaussian | Categorical:
    """Choose by the kind of actions."""
    return Categorical() if actions.discrete else Gaussian(actions.size, initial_log_std)
