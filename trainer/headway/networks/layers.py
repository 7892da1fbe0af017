"""What networks are made of. B rows, C channels, L beams. Weights are functions of the generator alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.envs.protocol import FeatureLayout


class _SigmoidTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.mul(x, 2.0).sigmoid_().mul_(2.0).sub_(1.0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(gradient, y)


class Tanh(nn.Module):
    """tanh(x) = 2 sigmoid(2x) - 1, to 1e-6: on a CPU torch's sigmoid is five times as fast as its tanh."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return _SigmoidTanh.apply(x) if x.device.type == "cpu" else torch.tanh(x)


ACTIVATIONS: Final[dict[str, type[nn.Module]]] = {"tanh": Tanh, "relu": nn.ReLU, "elu": nn.ELU}


def linear(inputs: int, outputs: int, gain: float, generator: torch.Generator) -> nn.Linear:
    """Make a layer with orthogonal weights and no bias (Andrychowicz et al. 2021, arXiv 2006.05990, C.56 to C.60)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def stack(
    inputs: int, widths: Sequence[int], activation: str, generator: torch.Generator, normalised: bool = False
) -> list[nn.Module]:
    """Make fully connected layers, each with its activation; `normalised` before it (Ba et al. 2016)."""
    layers: list[nn.Module] = []
    for width in widths:
        norm = [nn.LayerNorm(width)] if normalised else []
        layers += [linear(inputs, width, math.sqrt(2), generator), *norm, ACTIVATIONS[activation]()]
        inputs = width
    return layers


class BeamConvolution(nn.Module):
    """A convolution along the beams, [B, C, L] to [B, C', ceil(L / stride)]; a full circle is padded with itself."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, circular: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride)
        nn.init.orthogonal_(self.convolution.weight, math.sqrt(2), generator=generator)
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]
        self.padding = ((kernel - 1) // 2, kernel // 2)
        self.mode = "circular" if circular else "constant"

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then convolve."""
        return self.convolution(F.pad(x, self.padding, self.mode))


class ScanEncoder(nn.Module):
    """Convolutions over the scans among the features, [B, F] to [B, size]; plain features pass by them."""

    def __init__(self, layout: FeatureLayout, convolutions: Sequence[nn.Module], size: int) -> None:
        super().__init__()
        self.layout = layout
        self.convolutions = nn.Sequential(*convolutions)
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """Plain features first, as in the layout."""
        plain = self.layout.plain
        scans = features[:, plain:].unflatten(1, (self.layout.channels, self.layout.beams))
        return torch.cat((features[:, :plain], self.convolutions(scans).flatten(1)), dim=1)
