"""All parameters of a module in one flat buffer, and all gradients in another.

Ranks add their gradients in one all-reduce, in parameter order, whatever happened before: PyTorch's DDP rebuilds its
buckets after the first backward pass, so that a resumed process would sum in another order than an uninterrupted one
(docs/decisions/0003). The optimiser then makes one step over one tensor, which is also the fastest on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ALIGNMENT = 16  # elements: each parameter begins on a cache line, as the matrix kernels like it


class FlatParameters:
    """Makes the parameters of `module` views of `value`, and their gradients views of `buffer`.

    `buffer` has `extra` more entries behind the gradients: numbers that are averaged over ranks in the same call.
    """

    def __init__(self, module: nn.Module, extra: int = 0) -> None:
        parameters = list(module.parameters())
        self.pieces: list[slice] = []  # where each parameter lies
        size = 0
        for parameter in parameters:
            self.pieces.append(slice(size, size + parameter.numel()))
            size += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
        self.size = size
        self.value = nn.Parameter(torch.zeros(size, device=parameters[0].device))
        self.buffer = torch.zeros(size + extra, device=parameters[0].device)
        self.value.grad = self.buffer[:size]
        for parameter, piece in zip(parameters, self.pieces, strict=True):
            self.value.data[piece] = parameter.data.reshape(-1)
            parameter.data = self.value.data[piece].view_as(parameter)
            parameter.grad = self.buffer[piece].view_as(parameter)

    @property
    def gradient(self) -> Tensor:
        """All gradients, [size]: in parameter order, with zeros between parameters."""
        return self.buffer[: self.size]

    @property
    def extra(self) -> Tensor:
        """The numbers behind the gradients, [extra]."""
        return self.buffer[self.size :]

    @property
    def total(self) -> Tensor:
        """The sum of all parameters, a scalar: a number as long as all of them are."""
        return self.value.detach().sum()

    def clip_gradient(self, max_norm: float) -> Tensor:
        """Scale the gradients down to `max_norm` if they exceed it; return their norm before that, a scalar tensor."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        self.gradient.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm
