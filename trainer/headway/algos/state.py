"""The state of a learning algorithm as named tensors: what algorithms share to give it and to take it back."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def flat_adam(flat: nn.Parameter, rate: float) -> torch.optim.Adam:
    """Adam for one tensor. On a GPU all that it reads lies there, so that its step can be part of a graph."""
    on_gpu = flat.is_cuda
    given: Tensor | float = torch.tensor(rate, device=flat.device) if on_gpu else rate
    return torch.optim.Adam([flat], lr=given, fused=True, capturable=on_gpu)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the step size, in place where it is a tensor."""
    (group,) = optimiser.param_groups
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def flat_adam_state(optimiser: torch.optim.Optimizer, flat: nn.Parameter) -> dict[str, Tensor]:
    """Return Adam's own tensors for its one parameter; made here if its first step has not come yet."""
    if not optimiser.state[flat]:
        optimiser.state[flat] = {
            "step": torch.zeros((), device=flat.device),
            "exp_avg": torch.zeros_like(flat.data),
            "exp_avg_sq": torch.zeros_like(flat.data),
        }
    return dict(optimiser.state[flat])


def learned_state(network: nn.Module, optimisers: dict[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return the network's tensors, and below each optimiser's name those of its one parameter, not copied."""
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for prefix, optimiser in optimisers.items():
        (flat,) = optimiser.param_groups[0]["params"]
        state |= {f"{prefix}.{name}": tensor for name, tensor in flat_adam_state(optimiser, flat).items()}
    return state


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return them with longer names."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return those whose names begin so, without that."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def restore(mine: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """Copy `state` into the tensors `mine`. Raises ValueError, having changed nothing, if they do not fit.

    In place: memory keeps its alignment, on which the kernels' rounding may depend.
    """
    if mine.keys() != state.keys():
        raise ValueError(f"these tensors are missing or not known: {sorted(mine.keys() ^ state.keys())}")
    for name, tensor in state.items():
        if tensor.shape != mine[name].shape or tensor.dtype != mine[name].dtype:
            expected = f"{mine[name].dtype} {[*mine[name].shape]}"
            raise ValueError(f"{name} is {tensor.dtype} {[*tensor.shape]}, not {expected}")
    for name, tensor in state.items():
        mine[name].copy_(tensor)
