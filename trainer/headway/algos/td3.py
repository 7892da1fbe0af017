"""Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, arXiv 1802.09477).

B rows, A action entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from headway_api.offpolicy_spec import Td3
from torch import Tensor

from headway.algos.micro_batch import Piece, mean
from headway.algos.targets import Following
from headway.algos.twins import TwinLearner
from headway.networks import ActorTwinCritics
from headway.parallel import Group
from headway.replay import Batch
from headway.replay.draws import TARGET


class TD3Learner(TwinLearner):
    """See learner.Learner."""

    name = "td3"
    draws = (TARGET,)
    statistics = ("loss/value", "td3/q", "td3/td_error", "loss/policy")

    def __init__(
        self,
        spec: Td3,
        network: ActorTwinCritics,
        env_index: Tensor,
        seed: int,
        group: Group,
        threads: int,
        precision: str = "fp32",
    ) -> None:
        super().__init__(spec, network, env_index, seed, group, threads, precision)
        self.spec = spec
        self.target_actor = Following(network.actor, self.actor.flat)
        self._no_memory = torch.zeros(0, 0, device=self.device)

    def explore(self, features: Tensor, noise: Tensor, share: float) -> Tensor:
        """The policy's actions with noise of deviation `share`, [N, A]."""
        return (self.network.output(features).tanh() + share * noise).clamp_(-1.0, 1.0)

    def learns_policy(self, step: int) -> bool:
        """See TwinLearner.learns_policy."""
        return step % self.policy_delay == self.policy_delay - 1

    def _step(self, learns_policy: bool, batch: Batch, *noise: Tensor) -> Tensor:
        """See TwinLearner._step."""
        pieces = self.micro.split(batch, *noise)
        self.critics.begin()
        found = [self.learn_critics(piece, self._wanted(piece.batch, *piece.noise)) for piece in pieces]
        errors = self.step_critics(pieces, found)
        if learns_policy:
            self._learn_policy(pieces)
            self.target.follow(self.tau)
            self.target_actor.follow(self.tau)
        return errors

    @torch.no_grad()
    def _wanted(self, batch: Batch, noise: Tensor) -> Tensor:
        """Targets [B]: values around the target policy's actions, so that no narrow peak is trusted (section 5.3)."""
        spec, features = self.spec, batch.next_features
        noise = (noise * spec.target_noise).clamp_(-spec.target_noise_clip, spec.target_noise_clip)
        output, _ = self.target_actor.module(features, self._no_memory)
        value = self.target_value(features, (output.tanh() + noise).clamp_(-1.0, 1.0))
        return torch.addcmul(batch.reward, batch.discount, value)

    def _learn_policy(self, pieces: Sequence[Piece]) -> None:
        """Make the policy's step, up the first critic."""
        self.actor.begin()
        losses = [self._climb(piece) for piece in pieces]
        with torch.no_grad():
            self.actor.average(self.actor.statistics)
            self.actor.apply()
            self.totals[3] += self.scale.finite(mean(pieces, losses) * self.policy_delay)

    def _climb(self, piece: Piece) -> Tensor:
        """Add the policy's gradient of a piece; return its loss."""
        features = piece.batch.features
        loss: Tensor = -self.judges[0](features, self.network.output(features).tanh()).mean()
        self.actor.backward(loss, piece.share)
        return loss.detach()

    def _rehearse(self, piece: Piece) -> None:
        """See TwinLearner._rehearse."""
        self.learn_critics(piece, self._wanted(piece.batch, *piece.noise))
        self._climb(piece)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """See Learner.load_weights."""
        super().load_weights(weights)
        self.target_actor.copy()

    def state(self) -> dict[str, Tensor]:
        """See Learner.state."""
        return super().state() | {"target.actor": self.target_actor.value}
