"""What algorithms that learn from one rollout at a time share: readiness, and the state of what they learned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.algos.divergence import ENVIRONMENT, gradients
from headway.algos.gradient import Gradient
from headway.algos.loss_scale import LossScale
from headway.algos.rollout import Rollout
from headway.algos.state import below, learned_state, restore, under
from headway.networks import GreedyPolicy, load_weights


class OnPolicy:
    """Part of an Algorithm; see there for each method. A rollout is empty between an update and the next `observe`."""

    network: nn.Module
    gradient: Gradient
    scale: LossScale
    rollout: Rollout
    seed: int
    updates: int = 0
    beat: Callable[[], None] = staticmethod(lambda: None)

    def ready(self) -> bool:
        """Say whether the rollout is full."""
        return self.rollout.filled == self.rollout.length

    def reseed(self, seed: int) -> None:
        """See Algorithm.reseed."""
        self.seed = seed

    def suspects(self) -> dict[str, Tensor]:
        """The rollout, which is still there, what was learned and the last gradient; see Algorithm.suspects."""
        rollout, given = self.rollout, {"features": self.rollout.features, "reward": self.rollout.reward}
        given |= {"final_features": rollout.finals()[1]}
        return under(ENVIRONMENT, given) | {"action": rollout.action} | self._state() | gradients(self.network)

    def policy(self) -> GreedyPolicy:
        """See Algorithm.policy."""
        return GreedyPolicy(self.network)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """See Algorithm.load_weights."""
        load_weights(self.network, weights)

    def get_state(self) -> dict[str, Tensor]:
        """Network, the optimiser's moments and the count of updates. Complete between an update and `observe`."""
        return {name: tensor.cpu() for name, tensor in self._state().items()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called; see Algorithm.set_state."""
        mine = self._state()
        restore(mine, state)
        self.scale.set_state(below("loss_scale.", mine))
        self.updates = int(state["updates"])
        self.rollout.clear()

    def _state(self) -> dict[str, Tensor]:
        learned = learned_state(self.network, {"optimiser": self.gradient.optimiser})
        return learned | under("loss_scale.", self.scale.get_state()) | {"updates": torch.tensor(self.updates)}
