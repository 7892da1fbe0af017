"""A gradient step, as all algorithms make it: one flat buffer, averaged over ranks, clipped, in the run's precision.

`begin`, then `backward` once or more often, by any lane and for any piece of the batch (algos.micro_batch), then
`average`, by all ranks together, then `apply`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from headway.algos.loss_scale import LossScale
from headway.algos.state import set_rate
from headway.parallel import FlatParameters, Group


class Gradient:
    """Of one module, whose parameters become views of a flat buffer (parallel.flat)."""

    def __init__(
        self,
        module: nn.Module,
        make_optimiser: Callable[[nn.Parameter], torch.optim.Optimizer],
        group: Group,
        max_norm: float,
        statistics: int,
        scale: LossScale,
    ) -> None:
        """`max_norm` 0 clips nothing. `statistics`: how many numbers travel with the gradients."""
        self.flat = FlatParameters(module, extra=statistics)
        self.optimiser = make_optimiser(self.flat.value)
        self.group, self.max_norm, self.scale = group, max_norm, scale
        self._no_norm = torch.zeros((), device=self.flat.value.device)

    @property
    def statistics(self) -> Tensor:
        """What `average` was given, averaged over ranks."""
        return self.flat.extra

    def begin(self) -> None:
        """Forget the gradient."""
        self.flat.buffer.zero_()

    def backward(self, loss: Tensor, share: float = 1.0) -> None:
        """Add the gradient of `loss`, the mean of a piece that is `share` of the batch."""
        self.scale.of(loss if share == 1.0 else loss * share).backward()

    @contextmanager
    def forgotten(self) -> Iterator[None]:
        """Whatever is added within is forgotten at the end, however that comes."""
        self.begin()
        try:
            yield
        finally:
            self.begin()

    def average(self, statistics: Tensor) -> None:
        """Average the gradient, and `statistics`, over ranks; all of them then hold the same."""
        self.flat.extra.copy_(statistics)
        self.group.mean_(self.flat.buffer)
        self.scale.remove(self.optimiser)

    def apply(self) -> Tensor:
        """Clip the gradient, make the optimiser's step, and return the gradient's norm before, 0 if none is clipped."""
        norm = self.flat.clip_gradient(self.max_norm) if self.max_norm else self._no_norm
        self.scale.step(self.optimiser)
        return norm

    def set_rate(self, rate: float) -> None:
        """Set the step size."""
        set_rate(self.optimiser, rate)
