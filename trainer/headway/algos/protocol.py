"""The seam between the training loop and a learning algorithm: the loop knows no loss, the algorithm no environment."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from headway.envs.protocol import Observation, Step


class Algorithm(Protocol):
    """Collects what it needs from steps that the loop makes, and learns when it has enough.

    T steps in a rollout, N environments, F features, A action entries.
    """

    def act(self, features: Tensor, step: int) -> Tensor:
        """Explore: actions [N, A] for features [N, F]; noise is a function of (seed, environment index, step)."""
        ...

    def observe(self, features: Tensor, action: Tensor, step: Step, final_features: Tensor) -> None:
        """Take in one transition of every environment."""
        ...

    def ready(self) -> bool:
        """Say whether `update` has enough to learn from."""
        ...

    def update(self, next_features: Tensor, fraction_left: float) -> dict[str, float]:
        """Learn; return metrics, the same on every rank. `fraction_left` of totalSteps drives annealing."""
        ...

    def policy(self, features: Tensor) -> Tensor:
        """Act without exploring: [N, A]."""
        ...

    def get_state(self) -> dict[str, Tensor]:
        """Networks, optimisers, schedules and whatever has been collected since the last update."""
        ...

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on exactly where `get_state` was called."""
        ...


__all__ = ["Algorithm", "Observation"]
