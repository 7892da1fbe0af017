"""When learning has diverged, and what can be seen of it afterwards.

That numbers are none is seen where algorithms read their statistics anyway, which are means over ranks: so all ranks
raise alike, and nothing waits for a device that did not wait before. What is looked through then costs nothing before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

import torch
from torch import Tensor, nn

from headway.errors import UserError

ENVIRONMENT: Final = "environment."  # names of what an environment gave
EXPLODES: Final = 1e8  # times the running median
SMALL: Final = 1e8  # what is below is no explosion: a first reward after many zeros is a large step, and a healthy one
PAST: Final = 16  # updates of which the median is
KNOWN: Final = 5  # fewer of them say nothing
_AT_ONCE: Final = 1 << 16  # rows that are looked through together
_COLUMNS: Final = 32  # that are named, of one tensor


class DivergenceError(UserError):
    """What is learned is no number any more, or an absurd one. From the same state it comes to that again."""

    def __init__(
        self, quantity: str, value: float, where: str = "", at_hand: Mapping[str, Tensor] | None = None
    ) -> None:
        """`where` in the update it was seen; `at_hand`: tensors to look through, besides `Algorithm.suspects`."""
        super().__init__(f"{quantity} is {value:g}" + (f" {where}" if where else ""))
        self.at_hand = dict(at_hand or {})


def refuse(numbers: Mapping[str, float], where: str = "", **at_hand: Tensor) -> None:
    """Raise DivergenceError for the first of the numbers that is not finite; they are the same on every rank."""
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise DivergenceError(name, value, where, at_hand)


def refuse_tensors(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise DivergenceError for the first of the tensors that holds a number that is not finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            refuse({name: float(tensor[~torch.isfinite(tensor)][0])}, where)


class Course:
    """How losses and gradient norms have gone: what an explosion is one against. Part of the checkpoint."""

    def __init__(self, past: Mapping[str, list[float]] | None = None) -> None:
        self.past = {name: list(values) for name, values in (past or {}).items()}

    def see(self, metrics: Mapping[str, float]) -> None:
        """Take in an update's. Raises DivergenceError for one beyond 1e8 times the median of the last updates."""
        watched = {k: abs(v) for k, v in metrics.items() if k.startswith("loss/") or k.endswith("gradient_norm")}
        for name, value in watched.items():
            past = self.past.setdefault(name, [])
            if len(past) >= KNOWN and value > EXPLODES * max(SMALL, median(past)):
                raise DivergenceError(name, value, f"after a median of {median(past):g} over {len(past)} updates")
            past.append(value)
            del past[:-PAST]


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Gradients by their parameters' names."""
    return {f"gradient.{name}": p.grad for name, p in network.named_parameters() if p.grad is not None}


@dataclass(frozen=True)
class Finding:
    """What there is to see of one tensor, as rows of its last axis."""

    name: str
    shape: list[int]
    nan: int
    infinite: int
    rows: list[int]  # how many hold a number that is not finite, of how many
    columns: list[int]  # that do, the first ones of them
    least: float | None  # of its finite numbers; None without any
    largest: float | None

    @property
    def broken(self) -> int:
        """How many of its numbers are not finite."""
        return self.nan + self.infinite

    def __str__(self) -> str:
        """Name it, and say how much of it is not finite."""
        return f"{self.name} ({self.broken} of {math.prod(self.shape)})"


@torch.no_grad()
def examine(suspects: Mapping[str, Tensor]) -> list[Finding]:
    """Look through tensors, a piece at a time; those of whole numbers and empty ones are left out."""
    return [_examine(name, t) for name, t in suspects.items() if t.is_floating_point() and t.numel()]


def _examine(name: str, tensor: Tensor) -> Finding:
    width = tensor.shape[-1] if tensor.dim() > 1 else 1
    pieces = (tensor.detach() if tensor.dim() > 1 else tensor.detach().reshape(-1, 1)).split(_AT_ONCE)
    nan = infinite = rows = 0
    least, largest, broken_columns = math.inf, -math.inf, torch.zeros(width, dtype=torch.bool)
    for piece in pieces:
        flat = piece.reshape(-1, width)
        finite = torch.isfinite(flat)
        nan += int(flat.isnan().sum())
        infinite += int(flat.isinf().sum())
        rows += int((~finite).any(1).sum())
        broken_columns |= (~finite).any(0).cpu()
        least = min(least, float(flat.masked_fill(~finite, math.inf).min()))
        largest = max(largest, float(flat.masked_fill(~finite, -math.inf).max()))
    return Finding(
        name=name,
        shape=list(tensor.shape),
        nan=nan,
        infinite=infinite,
        rows=[rows, tensor.numel() // width],
        columns=broken_columns.nonzero()[:_COLUMNS, 0].tolist(),
        least=None if math.isinf(least) else least,
        largest=None if math.isinf(largest) else largest,
    )
