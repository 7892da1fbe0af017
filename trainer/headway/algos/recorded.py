"""A gradient step on a GPU as one graph: its kernels are recorded once and launched together from then on.

A step of SAC is some 300 small kernels, and launching them one by one takes longer than they do. What a graph changes
must stay where it is: parameters, gradients, moments and totals do. What it is given is copied into its own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Final

import torch
from torch import Tensor

from headway.parallel import Group
from headway.replay import Batch

GradientStep = Callable[..., Tensor]  # of a batch and of noise; returns the TD errors [B]
Work = Callable[[], Tensor]
_WARM: Final = 3  # calls before recording: libraries choose their kernels and take their memory in the first ones


class Recorded:
    """A gradient step that is recorded when it is first called: every step is made by the graph, the first one too.

    `changes`: gives all tensors that a step changes and the next one reads. `record` None: nothing is recorded.
    """

    def __init__(
        self,
        step: GradientStep,
        changes: Callable[[], Iterable[Tensor]],
        record: Callable[[Work], Work] | None,
    ) -> None:
        self._step, self._changes, self._record = step, changes, record
        self._replay: Work | None = None
        self._inputs: list[Tensor] = []

    def __call__(self, batch: Batch, *noise: Tensor) -> Tensor:
        """Make the step. What it returns holds until the next call."""
        if self._record is None:
            return self._step(batch, *noise)
        if self._replay is None:
            self._replay = self._begin(self._record, batch, noise)
        for mine, given in zip(self._inputs, _tensors(batch, noise), strict=True):
            mine.copy_(given)
        return self._replay()

    def _begin(self, record: Callable[[Work], Work], batch: Batch, noise: tuple[Tensor, ...]) -> Work:
        """Record with memory of its own, and leave what is learned as it was."""
        batch = Batch(**{f.name: _copy(getattr(batch, f.name)) for f in fields(Batch)})
        noise = tuple(map(torch.clone, noise))
        self._inputs = _tensors(batch, noise)
        before = [(tensor, tensor.clone()) for tensor in self._changes()]
        replay = record(lambda: self._step(batch, *noise))
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
        return replay


def recorder(group: Group, device: torch.device, precision: str = "fp32") -> Callable[[Work], Work] | None:
    """How steps are recorded on this device. Ranks that add up gradients within a step do not record.

    Nor does fp16, which asks after each step whether something has overflowed.
    """
    records = device.type == "cuda" and group.world_size == 1 and precision != "fp16"
    return cuda_graph if records else None


def cuda_graph(function: Work) -> Work:
    """Record on a GPU, as https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs says."""
    present, beside = torch.cuda.current_stream(), torch.cuda.Stream()
    beside.wait_stream(present)
    with torch.cuda.stream(beside):
        for _ in range(_WARM):
            function()
    present.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


def _tensors(batch: Batch, noise: tuple[Tensor, ...]) -> list[Tensor]:
    given = (getattr(batch, field.name) for field in fields(Batch))
    return [*(tensor for tensor in given if tensor is not None), *noise]


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()
