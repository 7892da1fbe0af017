"""Acting without exploring, with any network and on any device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headway.networks.protocol import PolicyNetwork


class GreedyPolicy:
    """Acts without exploring: algos.protocol.Policy. Takes features of any device, answers there."""

    def __init__(self, network: PolicyNetwork) -> None:
        self._network = network
        self._memory = torch.zeros(0, 0)

    @torch.no_grad()
    def __call__(self, features: Tensor, begins: Tensor) -> Tensor:
        """Likeliest actions for features [N, F]; memory is cleared where `begins` (bool [N]) is true."""
        network = self._network
        assert isinstance(network, nn.Module)
        device = next(network.parameters()).device
        inputs = network.prepare(features.to(device))
        if len(self._memory) != len(features):
            self._memory = inputs.new_zeros(len(features), network.memory_size)
        memory = self._memory.masked_fill(begins.to(device)[:, None], 0.0)
        action, self._memory = network.greedy(inputs, memory)
        return action.to(features.device)
