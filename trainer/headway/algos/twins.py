"""What SAC and TD3 share: twin critics, learned by the smaller of what their targets say. B rows, A action entries.

On a CPU the two critics learn side by side, a thread each; they share nothing but the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from headway_api.offpolicy_spec import TwinCritics
from torch import Tensor

from headway import randomness
from headway.algos.gradient import Gradient
from headway.algos.loss_scale import LossScale
from headway.algos.micro_batch import MicroBatch, Piece, joined
from headway.algos.recorded import Recorded, recorder
from headway.algos.state import flat_adam, learned_state, set_rate
from headway.algos.targets import Following, frozen
from headway.networks import ActorTwinCritics, load_weights
from headway.networks.twin_critics import Critic
from headway.parallel import Group, Lanes
from headway.replay import Batch
from headway.replay.draws import normals


class TwinLearner(ABC):
    """The critics' half of a Learner; `env_index` int64 [N]: global, on the device that learns."""

    statistics: tuple[str, ...] = ("loss/value", "q", "td_error")
    draws: tuple[int, ...] = ()  # purposes (replay.draws) of the normal numbers [B, A] of a gradient step

    def __init__(
        self,
        spec: TwinCritics,
        network: ActorTwinCritics,
        env_index: Tensor,
        seed: int,
        group: Group,
        threads: int,
        precision: str = "fp32",
    ) -> None:
        self.network, self.env_index, self.seed, self.group = network, env_index, seed, group
        self.device, self.shard = env_index.device, int(env_index[0])
        self.tau, self.policy_delay = spec.tau, spec.policy_delay
        self.micro = MicroBatch(spec.batch_size // group.world_size)
        self.scale = LossScale(precision, self.device)
        adam = partial(flat_adam, rate=spec.learning_rate)
        self.actor = Gradient(network.actor, adam, group, spec.max_grad_norm, 0, self.scale)
        self.critics = Gradient(network.critics, adam, group, spec.max_grad_norm, 3, self.scale)
        self.target = Following(network.critics, self.critics.flat)
        self.judges = frozen(network.critics, self.critics.flat)  # the same critics, for the policy to learn from
        self.optimisers = {"actor": self.actor.optimiser, "critics": self.critics.optimiser}
        self.totals = torch.zeros(len(self.statistics), device=self.device)
        self.lanes = Lanes(threads if self.device.type == "cpu" else 1, joins=True)
        self._recorded = {
            learns_policy: Recorded(
                partial(self._whole_step, learns_policy),
                lambda: (*self.state().values(), self.totals),
                recorder(group, self.device, precision),
            )
            for learns_policy in (False, True)
        }

    def noise(self, steps: Tensor) -> Tensor:
        """Standard normal numbers, float32 [T, N, A]."""
        return randomness.normals(self.seed, self.env_index, steps, self.network.size)

    def random(self, noise: Tensor) -> Tensor:
        """Uniform in [-1, 1], [N, A]: of a normal number, its own distribution function."""
        return torch.erf(noise / 2.0**0.5)

    def begin_training(self, env_steps: int, env_steps_before: int) -> None:  # noqa: B027 (it has nothing to do)
        """Nothing: targets follow at gradient steps."""

    def learn(self, batch: Batch, step: int) -> Tensor:
        """See Learner.learn."""
        rows, size = len(batch.slot), self.network.size
        noise = (normals(self.seed, self.shard, step, rows, size, purpose, self.device) for purpose in self.draws)
        return self._recorded[self.learns_policy(step)](batch, *noise)

    @abstractmethod
    def learns_policy(self, step: int) -> bool:
        """Say whether gradient step number `step` is one of the policy too."""

    def rehearsal(self, batch: Batch) -> Callable[[], None]:
        """See Learner.rehearsal: of a gradient step that is one of the policy too."""
        rows = len(batch.slot)
        noise = (torch.zeros(rows, self.network.size, device=self.device) for _ in self.draws)
        piece = Piece(batch, tuple(noise), rows)

        def rehearse() -> None:
            with self.actor.forgotten(), self.critics.forgotten():
                self._rehearse(piece)

        return rehearse

    @abstractmethod
    def _rehearse(self, piece: Piece) -> None:
        """Make a gradient step's passes, and no step."""

    @abstractmethod
    def _step(self, learns_policy: bool, batch: Batch, *noise: Tensor) -> Tensor:
        """Make a gradient step; return the TD errors [B]."""

    def _whole_step(self, learns_policy: bool, batch: Batch, *noise: Tensor) -> Tensor:
        errors = self._step(learns_policy, batch, *noise)
        self.scale.update()
        return self.scale.finite(errors, 1.0)

    def learn_critics(self, piece: Piece, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Add the gradient of both critics' errors, to what is `wanted` [b] of a piece.

        Return the TD errors [b], their mean, and the critics' statistics of the piece.
        """
        parts = self.lanes.run(*(partial(self._learn_critic, critic, piece, wanted) for critic in self._twins()))
        errors = 0.5 * (parts[0][0] + parts[1][0])
        loss, value = (parts[0][k] + parts[1][k] for k in (1, 2))
        return errors, torch.stack((loss, 0.5 * value, errors.mean()))

    def step_critics(self, pieces: Sequence[Piece], found: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Make the critics' step, with what `learn_critics` has found of each piece; return the TD errors [B]."""
        errors, statistics = joined(pieces, found)
        with torch.no_grad():
            self.critics.average(statistics)
            self.critics.apply()
            self.totals[:3] += self.scale.finite(self.critics.statistics)
        return errors

    def _twins(self) -> tuple[Critic, Critic]:
        first, second = self.network.critics
        return first, second

    def _learn_critic(self, critic: Critic, piece: Piece, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add one critic's gradient; return |TD errors| [b], the loss and the mean value."""
        batch = piece.batch
        value = critic(batch.features, batch.action)
        error = value - wanted
        squares = error.square() if batch.weight is None else error.square() * batch.weight
        loss = 0.5 * squares.mean()
        self.critics.backward(loss, piece.share)
        return error.detach().abs(), loss.detach(), value.detach().mean()

    @torch.no_grad()
    def target_value(self, features: Tensor, action: Tensor) -> Tensor:
        """The smaller of what the target critics say, [B]."""
        values = self.lanes.run(
            *(partial(_without_gradient, critic, features, action) for critic in self.target.module)
        )
        return torch.minimum(*values)

    def parameter_total(self) -> Tensor:
        """See Learner.parameter_total."""
        return self.actor.flat.total + self.critics.flat.total

    def set_learning_rate(self, rate: float) -> None:
        """See Learner.set_learning_rate."""
        for optimiser in self.optimisers.values():
            set_rate(optimiser, rate)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """See Learner.load_weights."""
        load_weights(self.network, weights)
        self.target.copy()

    def state(self) -> dict[str, Tensor]:
        """See Learner.state."""
        optimisers = {f"optimiser.{name}": optimiser for name, optimiser in self.optimisers.items()}
        return learned_state(self.network, optimisers) | {"target.critics": self.target.value}


def _without_gradient(critic: Critic, features: Tensor, action: Tensor) -> Tensor:
    """Call in a thread that has its own idea of whether gradients are wanted."""
    with torch.no_grad():
        value: Tensor = critic(features, action)
        return value
