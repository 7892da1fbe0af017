"""Deep Q-learning (Mnih et al. 2015), double (van Hasselt et al. 2016) and dueling (Wang et al. 2016) if asked.

With n-step returns, priorities and hindsight from the replay; learned by the Huber loss. A choices, B rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from headway_api.offpolicy_spec import Dqn
from torch import Tensor
from torch.nn import functional as F

from headway import randomness
from headway.algos.exploration import mostly
from headway.algos.gradient import Gradient
from headway.algos.loss_scale import LossScale
from headway.algos.micro_batch import MicroBatch, Piece, joined
from headway.algos.recorded import Recorded, recorder
from headway.algos.state import flat_adam, learned_state
from headway.algos.targets import Following
from headway.networks import QNetwork, load_weights
from headway.parallel import Group
from headway.replay import Batch


class DQNLearner:
    """See learner.Learner. `env_index` int64 [N]: global, on the device that learns."""

    name = "dqn"
    statistics = ("loss/value", "dqn/q", "dqn/td_error", "dqn/gradient_norm")

    def __init__(
        self,
        spec: Dqn,
        network: QNetwork,
        choices: int,
        env_index: Tensor,
        seed: int,
        group: Group,
        precision: str = "fp32",
    ) -> None:
        self.spec, self.network, self.choices = spec, network, choices
        self.env_index, self.seed = env_index, seed
        self.micro = MicroBatch(spec.batch_size // group.world_size)
        self.scale = LossScale(precision, env_index.device)
        adam = partial(flat_adam, rate=spec.learning_rate)
        self.gradient = Gradient(network, adam, group, spec.max_grad_norm, len(self.statistics) - 1, self.scale)
        self.target = Following(network, self.gradient.flat)
        self.totals = torch.zeros(len(self.statistics), device=env_index.device)
        self._recorded = Recorded(
            self._step, lambda: (*self.state().values(), self.totals), recorder(group, env_index.device, precision)
        )

    def noise(self, steps: Tensor) -> Tensor:
        """Uniform numbers in (0, 1), float64 [T, N]."""
        return randomness.uniforms(self.seed, self.env_index, steps)

    def random(self, noise: Tensor) -> Tensor:
        """One of the choices, int64 [N]."""
        return (noise * self.choices).long()

    def explore(self, features: Tensor, noise: Tensor, share: float) -> Tensor:
        """The best choice, or in `share` of the cases any."""
        return mostly(self.network(features).argmax(1), noise, share, self.choices)

    def begin_training(self, env_steps: int, env_steps_before: int) -> None:
        """Renew a hard target where its number of steps has been passed."""
        hard = self.spec.target.hard
        if hard is not None and env_steps // hard.every_steps > env_steps_before // hard.every_steps:
            self.target.copy()

    def learn(self, batch: Batch, step: int) -> Tensor:
        """See Learner.learn."""
        return self._recorded(batch)

    def rehearsal(self, batch: Batch) -> Callable[[], None]:
        """See Learner.rehearsal."""
        piece = Piece(batch, (), len(batch.slot))

        def rehearse() -> None:
            with self.gradient.forgotten():
                self._learn_piece(piece)

        return rehearse

    def _step(self, batch: Batch) -> Tensor:
        pieces = self.micro.split(batch)
        self.gradient.begin()
        error, statistics = joined(pieces, [self._learn_piece(piece) for piece in pieces])
        with torch.no_grad():
            self.gradient.average(statistics)
            self.totals[:-1] += self.scale.finite(self.gradient.statistics)
            self.totals[-1] += self.scale.finite(self.gradient.apply())
        self.scale.update()
        if self.spec.target.polyak is not None:
            self.target.follow(self.spec.target.polyak.tau)
        return self.scale.finite(error, 1.0)

    def _learn_piece(self, piece: Piece) -> tuple[Tensor, Tensor]:
        """Add the gradient of a piece; return its TD errors [b], and the first statistics of it."""
        batch = piece.batch
        wanted = self._wanted(batch)
        chosen = self.network(batch.features).gather(1, batch.action[:, None])[:, 0]
        loss = F.huber_loss(chosen, wanted, reduction="none")
        loss = (loss if batch.weight is None else loss * batch.weight).mean()
        self.gradient.backward(loss, piece.share)
        with torch.no_grad():
            error = wanted - chosen
            return error, torch.stack((loss.detach(), chosen.mean(), error.abs().mean()))

    @torch.no_grad()
    def _wanted(self, batch: Batch) -> Tensor:
        """Targets [B]: the return, and the target's value of what follows."""
        following = self.target.module(batch.next_features)
        if self.spec.double:
            best = self.network(batch.next_features).argmax(1, keepdim=True)
            value = following.gather(1, best)[:, 0]
        else:
            value = following.amax(1)
        return torch.addcmul(batch.reward, batch.discount, value)

    def parameter_total(self) -> Tensor:
        """See Learner.parameter_total."""
        return self.gradient.flat.total

    def set_learning_rate(self, rate: float) -> None:
        """See Learner.set_learning_rate."""
        self.gradient.set_rate(rate)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """See Learner.load_weights."""
        load_weights(self.network, weights)
        self.target.copy()

    def state(self) -> dict[str, Tensor]:
        """See Learner.state."""
        return learned_state(self.network, {"optimiser": self.gradient.optimiser}) | {"target": self.target.value}
