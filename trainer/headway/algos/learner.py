"""The seam between the loop that all off-policy algorithms share and what each of them learns by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from headway.algos.loss_scale import LossScale
from headway.algos.micro_batch import MicroBatch
from headway.networks.build import PolicyModule
from headway.replay import Batch


class Learner(Protocol):
    """Networks, their optimisers and the losses. N environments of this rank, B rows of its share of a batch."""

    name: str  # in the spec
    network: PolicyModule
    seed: int  # of its noise
    scale: LossScale
    micro: MicroBatch
    statistics: tuple[str, ...]  # names of `totals`
    totals: Tensor  # [k] on the device: sums over the gradient steps since they were last cleared

    def noise(self, steps: Tensor) -> Tensor:
        """Random numbers [T, N, ...] for steps int64 [T] of each environment."""
        ...

    def random(self, noise: Tensor) -> Tensor:
        """Actions of N environments that know nothing."""
        ...

    def explore(self, features: Tensor, noise: Tensor, share: float) -> Tensor:
        """Actions of N environments; `share` of the algorithm's exploration, for those that have one."""
        ...

    def begin_training(self, env_steps: int, env_steps_before: int) -> None:
        """Gradient steps follow; how many environment steps were made now, and before the training before."""
        ...

    def learn(self, batch: Batch, step: int) -> Tensor:
        """Make gradient step number `step`; return the TD errors [B]. Does not wait for the device."""
        ...

    def rehearsal(self, batch: Batch) -> Callable[[], None]:
        """See Algorithm.rehearsal: of all rows of `batch` at a time."""
        ...

    def parameter_total(self) -> Tensor:
        """The sum of all parameters that are learned, a scalar: a number as long as all of them are."""
        ...

    def set_learning_rate(self, rate: float) -> None:
        """Of all optimisers."""
        ...

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Begin with another run's network. Raises ValueError with what differs."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything that is learned, equal on all ranks: the tensors themselves, to be read and written."""
        ...
