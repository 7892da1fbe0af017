"""Networks that follow: the same modules over one flat buffer each, so that following is one operation."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

from torch import Tensor, nn

from headway.parallel import FlatParameters

M = TypeVar("M", bound=nn.Module)


def frozen(module: M, flat: FlatParameters) -> M:
    """The same module over the same memory as `flat`, which is `module`'s: its weights get no gradients.

    What is differentiated through it costs half of the matrix products.
    """
    return _over(module, flat, flat.value.data)


class Following:
    """A copy of a module that is behind it."""

    def __init__(self, module: nn.Module, flat: FlatParameters) -> None:
        self._source = flat.value
        self.value = flat.value.data.clone()  # [size] all parameters
        self.module = _over(module, flat, self.value)

    def copy(self) -> None:
        """Be what the module is now."""
        self.value.copy_(self._source.data)

    def follow(self, share: float) -> None:
        """Go `share` of the way."""
        self.value.lerp_(self._source.data, share)


def _over(module: M, flat: FlatParameters, value: Tensor) -> M:
    copy = deepcopy(module)
    for parameter, piece in zip(copy.parameters(), flat.pieces, strict=True):
        parameter.requires_grad_(False)
        parameter.grad = None
        parameter.data = value[piece].view_as(parameter)
    return copy
