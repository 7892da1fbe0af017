"""Values of choices. B rows, F features, A choices."""

from __future__ import annotations

from torch import Tensor, nn

from headway.networks.bodies import Body


class QNetwork(nn.Module):
    """Q(s, a) of every choice from one body, whose last layer has A outputs, or 1 + A where it is dueling."""

    memory_size = 0

    def __init__(self, body: Body, dueling: bool) -> None:
        super().__init__()
        self.body = body
        self.dueling = dueling

    def prepare(self, features: Tensor) -> Tensor:
        """Features [..., F] as they are."""
        return features

    def forward(self, features: Tensor) -> Tensor:
        """Q values [B, A]. Dueling: the state's value plus advantages around their mean (arXiv 1511.06581, eq. 9)."""
        output, _ = self.body(features, features.new_zeros(len(features), 0))
        if not self.dueling:
            return output
        value, advantage = output[:, :1], output[:, 1:]
        return value + advantage - advantage.mean(1, keepdim=True)

    def greedy(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """See PolicyNetwork.greedy."""
        return self(inputs).argmax(1), memory
