"""The seam between the training loop and a learning algorithm: the loop knows no loss, the algorithm no environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from headway.algos.micro_batch import MicroBatch
from headway.envs.protocol import Transition
from headway.replay import Replay


class Policy(Protocol):
    """Acts without exploring. With a memory it keeps it from call to call, a row for each environment."""

    def __call__(self, features: Tensor, begins: Tensor) -> Tensor:
        """Return actions, float32 [N, A] in [-1, 1] or int64 [N], for features [N, F].

        `begins` bool [N] says where these are the first features of an episode: nothing is remembered there. A first
        call has it true everywhere.
        """
        ...


class Algorithm(Protocol):
    """Collects what it needs from steps that the loop makes, and learns when it has enough.

    N environments of this rank, F features, A action entries. All ranks call the same methods in the same order.
    """

    @property
    def micro(self) -> MicroBatch:
        """How its batches are cut; set before the first update."""
        ...

    beat: Callable[[], None]  # called after each gradient step: a long update is no stall

    def act(self, features: Tensor, step: int) -> Tensor:
        """Explore: float32 [N, A] or int64 [N] for features [N, F]; noise depends on (seed, global index, step)."""
        ...

    def observe(self, transition: Transition) -> None:
        """Take in one transition of every environment."""
        ...

    def ready(self) -> bool:
        """Say whether `update` has enough to learn from."""
        ...

    def update(self, next_features: Tensor, fraction_left: float) -> dict[str, float]:
        """Learn; return metrics, the same on every rank. `fraction_left` of totalSteps drives annealing.

        Raises DivergenceError, on all ranks alike, where what is learned is no number any more.
        """
        ...

    def reseed(self, seed: int) -> None:
        """Draw everything by another seed from now on; between an update and the next `act`."""
        ...

    def suspects(self) -> dict[str, Tensor]:
        """What to look through once learning has diverged: what it learned from and what it learned, by name.

        What environments gave is under `divergence.ENVIRONMENT`.
        """
        ...

    def rehearsal(self, rows: int) -> Callable[[], None]:
        """Return what makes the forward and backward passes of one piece of a batch, of `rows` rows of nothing.

        Whole units of `micro`, not more than its share. It changes nothing, meets no other rank, and may be called
        again. Making or calling it raises what the device raises when its memory is full.
        """
        ...

    def policy(self) -> Policy:
        """Return the present policy, with a memory of its own."""
        ...

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Begin with another run's network: its `network.*` without the prefix. Raises ValueError with what differs."""
        ...

    def get_state(self) -> dict[str, Tensor]:
        """Everything that the future depends on after an `update`, equal on all ranks; `network.*` is the policy."""
        ...

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on exactly where `get_state` was called. Raises ValueError if names, shapes or types differ."""
        ...

    def get_env_state(self) -> dict[str, Tensor]:
        """What else the future depends on and belongs to this rank's environments: [N, ...] each."""
        ...

    def set_env_state(self, state: dict[str, Tensor]) -> None:
        """Go on exactly where `get_env_state` was called; see `set_state`."""
        ...


@runtime_checkable
class HasReplay(Protocol):
    """An algorithm with a replay, which checkpoints keep in segments."""

    replay: Replay


@runtime_checkable
class ExploresByStage(Protocol):
    """An algorithm whose exploration a stage of the curriculum may set."""

    def begin_stage(self, stage: int, step: int) -> None:
        """Stage number `stage` has begun at environment step `step` over all ranks; called after a resume too."""
        ...
