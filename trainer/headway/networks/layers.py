"""What networks are made of. B rows, C channels, L beams. Weights are functions of a generator alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.envs.protocol import FeatureLayout

_NARROW: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}


def narrow(precision: str, device: torch.device, again: bool = False) -> AbstractContextManager[object]:
    """Within it matrix products are made in bf16 or fp16, as torch.autocast chooses; fp32 changes nothing.

    `again`: weights are used more than once, and so kept in the narrow type until the end. Not on a CPU: torch has one
    such store for all threads, and a lane that comes to its end would empty it under the other.
    """
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, _NARROW[precision], cache_enabled=again and device.type != "cpu")


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
HIDDEN: Final = math.sqrt(2.0)  # gain of layers with a nonlinearity after them


class Weights(Protocol):
    """How layers begin."""

    def fill(self, weight: Tensor, gain: float) -> None:
        """[outputs, inputs, ...]; with a gain of sqrt(2) rectified signals keep their size, or nearly."""
        ...

    def fill_bias(self, bias: Tensor, inputs: int) -> None:
        """[outputs], of a layer with as many inputs."""
        ...


class Orthogonal:
    """For policy gradients (Andrychowicz et al. 2021, arXiv 2006.05990, C.56 to C.60)."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def fill(self, weight: Tensor, gain: float) -> None:
        """See Weights."""
        nn.init.orthogonal_(weight, gain, generator=self.generator)

    def fill_bias(self, bias: Tensor, inputs: int) -> None:
        """No bias."""
        nn.init.zeros_(bias)


class Uniform:
    """For Q-learning: with a gain of sqrt(2) as torch begins by itself, for which published step sizes were chosen.

    Signals shrink from layer to layer, so first values are small, and a step changes them less.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def fill(self, weight: Tensor, gain: float) -> None:
        """See Weights."""
        bound = gain / math.sqrt(2 * weight[0].numel())
        nn.init.uniform_(weight, -bound, bound, generator=self.generator)

    def fill_bias(self, bias: Tensor, inputs: int) -> None:
        """See Weights."""
        bound = 1.0 / math.sqrt(inputs)
        nn.init.uniform_(bias, -bound, bound, generator=self.generator)


def linear(inputs: int, outputs: int, gain: float, weights: Weights) -> nn.Linear:
    """Make a layer."""
    layer = nn.Linear(inputs, outputs)
    weights.fill(layer.weight, gain)
    weights.fill_bias(layer.bias, inputs)
    return layer


def stack(
    inputs: int, widths: Sequence[int], activation: str, weights: Weights, normalised: bool = False
) -> list[nn.Module]:
    """Make fully connected layers, each with its activation; `normalised` before it (Ba et al. 2016)."""
    layers: list[nn.Module] = []
    for width in widths:
        norm = [nn.LayerNorm(width)] if normalised else []
        layers += [linear(inputs, width, HIDDEN, weights), *norm, ACTIVATIONS[activation]()]
        inputs = width
    return layers


class BeamConvolution(nn.Module):
    """A convolution along the beams, [B, C, L] to [B, C', ceil(L / stride)]; a full circle is padded with itself."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, circular: bool, weights: Weights) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride)
        weights.fill(self.convolution.weight, HIDDEN)
        assert self.convolution.bias is not None
        weights.fill_bias(self.convolution.bias, inputs * kernel)
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
