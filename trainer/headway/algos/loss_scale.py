"""Losses in half precision (fp16) are multiplied, so that small gradients do not vanish (Micikevicius et al. 2018).

Torch's own GradScaler does it: where a gradient overflows, the step is left out and the factor halved; after 2,000
steps without that it is doubled. With other precisions nothing happens here.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from headway.algos.divergence import DivergenceError

LEAST: Final = 2.0**-14  # a factor below this does not fall for want of range: what overflows has diverged


class LossScale:
    """One for all optimisers of an algorithm. `remove` and `step` for each of them, then `update` once."""

    def __init__(self, precision: str, device: torch.device) -> None:
        self.is_on = precision == "fp16"
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.is_on)
        if self.is_on:
            self._scaler.scale(torch.zeros((), device=device))  # makes its tensors, before two lanes do
        self._overflows = 0

    @property
    def value(self) -> float:
        """The factor now."""
        return self._scaler.get_scale()

    def refuse_overflow(self) -> None:
        """Raise DivergenceError where steps overflow whatever the factor."""
        if self.is_on and self.value < LEAST:
            raise DivergenceError("the factor of fp16's losses", self.value, "and gradients still overflow")

    def of(self, tensor: Tensor) -> Tensor:
        """Return the loss, or a gradient, times the factor."""
        scaled: Tensor = self._scaler.scale(tensor)
        return scaled

    def remove(self, optimiser: torch.optim.Optimizer) -> None:
        """Divide the optimiser's gradients by the factor, and see whether any has overflowed."""
        if self.is_on:
            self._scaler.unscale_(optimiser)

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Make the optimiser's step, or leave it out."""
        self._scaler.step(optimiser)

    def update(self) -> None:
        """Adjust the factor after a gradient step."""
        if self.is_on:
            before = self.value
            self._scaler.update()
            self._overflows += self.value < before

    def finite(self, tensor: Tensor, instead: float = 0.0) -> Tensor:
        """With fp16, put `instead` where an overflow has left no number; else return the tensor itself."""
        return tensor.nan_to_num(instead, instead, instead) if self.is_on else tensor

    def metrics(self) -> dict[str, float]:
        """Overflows since the last call, and the factor; nothing but with fp16."""
        if not self.is_on:
            return {}
        found = {"precision/overflows": float(self._overflows), "precision/loss_scale": self.value}
        self._overflows = 0
        return found

    def get_state(self) -> dict[str, Tensor]:
        """The factor and the steps since it changed; nothing but with fp16."""
        if not self.is_on:
            return {}
        state = self._scaler.state_dict()
        return {"scale": torch.tensor(state["scale"]), "steps": torch.tensor(state["_growth_tracker"])}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called."""
        if self.is_on:
            scale, steps = float(state["scale"]), int(state["steps"])
            self._scaler.load_state_dict(self._scaler.state_dict() | {"scale": scale, "_growth_tracker": steps})
