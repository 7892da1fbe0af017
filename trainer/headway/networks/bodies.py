"""From features to outputs, with and without memory, behind one interface.

B rows, T steps, N environments, F features, H numbers of memory (0 without), O outputs. Memory is an explicit tensor:
who calls keeps it, and clears its rows where episodes begin.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from headway_api.algo_spec import Cnn1d, Gru, Mlp
from torch import Tensor, nn

from headway.envs.protocol import FeatureLayout
from headway.errors import SpecError
from headway.networks.layers import ACTIVATIONS, BeamConvolution, ScanEncoder, Weights, linear, narrow, stack


class Body(Protocol):
    """One of the two halves of an actor-critic."""

    memory_size: int  # H
    head: nn.Linear  # the last layer
    precision: str  # of the products within it: fp32, bf16 or fp16; weights, memory and outputs are float32

    def __call__(self, features: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [B, O] and the memory after them [B, H], for features [B, F] and the memory before them."""
        ...

    def sequence(self, features: Tensor, memory: Tensor, begins: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [T, N, O] and memories [T, N, H] after each step, for features [T, N, F] and memory [N, H] before.

        `begins` bool [T, N]: memory is cleared before these steps.
        """
        ...


class FeedForward(nn.Module):
    """Layers without memory."""

    memory_size = 0
    precision = "fp32"

    def __init__(self, layers: list[nn.Module], head: nn.Linear) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = head

    def forward(self, features: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """See Body."""
        return self._outputs(features), memory

    def sequence(self, features: Tensor, memory: Tensor, begins: Tensor) -> tuple[Tensor, Tensor]:
        """See Body."""
        outputs = self._outputs(features.flatten(0, 1))
        return outputs.unflatten(0, features.shape[:2]), memory.expand(len(features), *memory.shape)

    def _outputs(self, features: Tensor) -> Tensor:
        with narrow(self.precision, features.device):
            outputs: Tensor = self.head(self.layers(features))
        return outputs.float()


class Recurrent(nn.Module):
    """An encoder and a gated recurrent unit (Cho et al. 2014, arXiv 1406.1078)."""

    precision = "fp32"

    def __init__(self, encoder: list[nn.Module], cell: nn.GRUCell, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*encoder)
        self.cell = cell
        self.head = head
        self.memory_size = cell.hidden_size

    def forward(self, features: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """See Body."""
        with narrow(self.precision, features.device):
            memory = self.cell(self.encoder(features), memory).float()
            return self.head(memory).float(), memory

    def sequence(self, features: Tensor, memory: Tensor, begins: Tensor) -> tuple[Tensor, Tensor]:
        """See Body. Gradients flow back to the first step and no farther."""
        keep = (~begins).to(features.dtype).unsqueeze(-1)
        memories = []
        with narrow(self.precision, features.device, again=True):
            encoded = self.encoder(features.flatten(0, 1)).unflatten(0, features.shape[:2])
            for t in range(len(features)):
                memory = self.cell(encoded[t], memory * keep[t]).float()
                memories.append(memory)
            after = torch.stack(memories)
            return self.head(after).float(), after


def mlp(spec: Mlp, layout: FeatureLayout, outputs: int, last_gain: float, weights: Weights) -> Body:
    """Fully connected layers."""
    layers = stack(layout.size, spec.hidden, spec.activation, weights, spec.layer_norm)
    return FeedForward(layers, linear(spec.hidden[-1], outputs, last_gain, weights))


def cnn1d(spec: Cnn1d, layout: FeatureLayout, outputs: int, last_gain: float, weights: Weights) -> Body:
    """Convolutions along the beams, then fully connected layers. Raises SpecError where there are no beams for them."""
    if layout.channels == 0:
        raise SpecError("train.network.cnn1d", spec.to_wire(), "this environment has no scans: choose mlp")
    convolutions: list[nn.Module] = []
    channels, beams = layout.channels, layout.beams
    for number, width in enumerate(spec.channels):
        if spec.kernel // 2 > beams:
            fix = f"convolution {number + 1} sees {beams} beams, too few for it: choose a smaller kernel or stride"
            raise SpecError("train.network.cnn1d.kernel", spec.kernel, fix)
        convolution = BeamConvolution(channels, width, spec.kernel, spec.stride, layout.circular, weights)
        convolutions += [convolution, ACTIVATIONS[spec.activation]()]
        channels, beams = width, math.ceil(beams / spec.stride)
    encoder = ScanEncoder(layout, convolutions, layout.plain + channels * beams)
    layers = [encoder, *stack(encoder.size, spec.hidden, spec.activation, weights)]
    return FeedForward(layers, linear(spec.hidden[-1], outputs, last_gain, weights))


def gru(spec: Gru, layout: FeatureLayout, outputs: int, last_gain: float, weights: Weights) -> Body:
    """Fully connected layers, then a gated recurrent unit."""
    encoder = stack(layout.size, spec.hidden, spec.activation, weights)
    cell = nn.GRUCell(spec.hidden[-1], spec.size)
    for name, parameter in cell.named_parameters():
        if name.startswith("weight"):  # each gate's block of its own
            for gate in parameter.data.chunk(3):
                weights.fill(gate, 1.0)
        else:
            nn.init.zeros_(parameter)
    return Recurrent(encoder, cell, linear(spec.size, outputs, last_gain, weights))
