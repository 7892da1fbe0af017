"""Running means and deviations of inputs and value targets, in double precision, the same on every rank.

They are buffers of the network: part of checkpoints and of saved policies, and frozen outside of updates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Sum = Callable[[Tensor], Tensor]  # adds a double tensor up over ranks (Group.sum_)
LEAST_VARIANCE = 1e-8


class ObservationScale(nn.Module):
    """Shifts and scales each of F features by its mean and deviation over all that was seen."""

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, size: int, limit: float = 10.0) -> None:
        super().__init__()
        self.limit = limit  # outliers are cut off here, in deviations
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))  # sum of squared deviations

    def forward(self, features: Tensor) -> Tensor:
        """Float32 [..., F], cut off at `limit`; not scaled until something was seen."""
        variance = torch.where(self.count > 0, self.squares / self.count.clamp_min(1.0), 1.0)
        scale = variance.clamp_min(LEAST_VARIANCE).rsqrt()
        return features.sub(self.mean.float()).mul_(scale.float()).clamp_(-self.limit, self.limit)

    def see(self, features: Tensor, sum_over_ranks: Sum) -> None:
        """Take rows [B, F] of every rank into the running moments (Chan et al. 1983, equations 1.5a and 1.5b)."""
        # Around the running mean, which all ranks share: so sums of squares lose no digits where means are far from 0.
        deviation = features.double() - self.mean
        sums = torch.stack((deviation.sum(0), deviation.square().sum(0), torch.full_like(self.mean, len(features))))
        total, squares, rows = sum_over_ranks(sums)
        shift, count = total / rows, self.count + rows[0]
        self.squares += squares - total * shift + shift.square() * (self.count * rows[0] / count)
        self.mean += shift * (rows[0] / count)
        self.count.copy_(count)


class ValueScale(nn.Module):
    """Lets a critic learn in units of its targets' mean and deviation: PopArt (van Hasselt et al. 2016, 1602.07714).

    When the units change, the last layer is changed so that its values in the old units stay what they were.
    """

    SHORTEST = 0.05  # weight of the newest update: a plain mean of the first 20, then an exponential one

    updates: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("updates", "mean", "square"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    @property
    def units(self) -> tuple[float, float]:
        """Mean and deviation; 0 and 1 until something was seen."""
        if float(self.updates) == 0.0:
            return 0.0, 1.0
        mean = float(self.mean)
        return mean, max(float(self.square) - mean * mean, LEAST_VARIANCE) ** 0.5

    @torch.no_grad()
    def see(self, target: Tensor, head: nn.Linear, sum_over_ranks: Sum) -> None:
        """Take targets of any shape, of every rank, into the units; preserve the outputs of `head` [1, H]."""
        old_mean, old_deviation = self.units
        double = target.double()
        sums = torch.stack((double.sum(), double.square().sum(), double.new_tensor(float(double.numel()))))
        total, squares, count = sum_over_ranks(sums)
        self.updates += 1
        weight = max(1.0 / float(self.updates), self.SHORTEST)
        self.mean.lerp_(total / count, weight)
        self.square.lerp_(squares / count, weight)
        mean, deviation = self.units
        head.weight.mul_(old_deviation / deviation)
        head.bias.mul_(old_deviation).add_(old_mean - mean).div_(deviation)
