"""Soft actor-critic with automatic temperature (Haarnoja et al. 2018, arXiv 1812.05905). B rows, A action entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from headway_api.offpolicy_spec import Sac
from torch import Tensor, nn

from headway.algos.micro_batch import Piece, mean
from headway.algos.state import flat_adam
from headway.algos.twins import TwinLearner
from headway.networks import ActorTwinCritics, squashed_sample
from headway.parallel import Group
from headway.replay import Batch
from headway.replay.draws import POLICY, TARGET

Sample = tuple[Tensor, Tensor]  # actions [b, A] of the policy and their log densities [b]


class SACLearner(TwinLearner):
    """See learner.Learner."""

    name = "sac"
    draws = (TARGET, POLICY)
    statistics = ("loss/value", "sac/q", "sac/td_error", "loss/policy", "sac/entropy", "sac/temperature")

    def __init__(
        self,
        spec: Sac,
        network: ActorTwinCritics,
        env_index: Tensor,
        seed: int,
        group: Group,
        threads: int,
        precision: str = "fp32",
    ) -> None:
        super().__init__(spec, network, env_index, seed, group, threads, precision)
        self.spec = spec
        self.target_entropy = -float(network.size) if spec.target_entropy is None else spec.target_entropy
        self.log_temperature = nn.Parameter(torch.full((1,), math.log(spec.temperature), device=self.device))
        self.log_temperature.grad = torch.zeros_like(self.log_temperature)
        if spec.auto_temperature:
            self.optimisers["temperature"] = flat_adam(self.log_temperature, spec.learning_rate)

    def explore(self, features: Tensor, noise: Tensor, share: float) -> Tensor:
        """A sample of the policy, [N, A]."""
        return squashed_sample(self.network.output(features), noise)[0]

    def learns_policy(self, step: int) -> bool:
        """See TwinLearner.learns_policy."""
        return step % self.policy_delay == 0

    def _step(self, learns_policy: bool, batch: Batch, *noise: Tensor) -> Tensor:
        """See TwinLearner._step."""
        pieces = self.micro.split(batch, *noise)
        temperature = self._temperature()
        ahead = learns_policy and len(pieces) == 1  # of several pieces, one's graph is kept at a time
        self.critics.begin()
        found, samples = [], []
        for piece in pieces:
            wanted, sampled = self._wanted(piece, temperature, ahead)
            found.append(self.learn_critics(piece, wanted))
            samples += sampled
        errors = self.step_critics(pieces, found)
        if learns_policy:
            self._learn_policy(pieces, samples, temperature)
        self.target.follow(self.tau)
        return errors

    @torch.no_grad()
    def _temperature(self) -> Tensor:
        """What entropy is worth, [1]."""
        return self.log_temperature.exp()

    def _wanted(self, piece: Piece, temperature: Tensor, ahead: bool) -> tuple[Tensor, list[Sample]]:
        """Targets [b]; and with `ahead` the policy's sample at this state, which is made beside that at the next."""
        batch = piece.batch
        asked = [partial(self._sample, batch.next_features, piece.noise[0], False)]
        if ahead:
            asked.append(partial(self._sample, batch.features, piece.noise[1], True))
        (following, log_prob), *sampled = self.lanes.run(*asked)
        with torch.no_grad():
            soft = self.target_value(batch.next_features, following) - temperature * log_prob
            return torch.addcmul(batch.reward, batch.discount, soft), sampled

    def _sample(self, features: Tensor, noise: Tensor, with_gradient: bool) -> Sample:
        """Ask the policy."""
        with torch.set_grad_enabled(with_gradient):
            return squashed_sample(self.network.output(features), noise)

    def _learn_policy(self, pieces: Sequence[Piece], samples: Sequence[Sample], temperature: Tensor) -> None:
        """Make the policy's step, towards what the smaller critic values, and the temperature's.

        `samples`: of each piece, or none, and they are made here.
        """
        self.actor.begin()
        if samples:
            found = [self._climb(*both, temperature) for both in zip(pieces, samples, strict=True)]
        else:
            found = [self._climb(piece, self._sample_of(piece), temperature) for piece in pieces]
        with torch.no_grad():
            self.actor.average(self.actor.statistics)
            self.actor.apply()
            statistics = mean(pieces, found)
            self.totals[3:] += self.scale.finite(statistics * self.policy_delay)
            if self.spec.auto_temperature:
                self._learn_temperature(statistics[1])

    def _sample_of(self, piece: Piece) -> Sample:
        return self._sample(piece.batch.features, piece.noise[1], True)

    def _climb(self, piece: Piece, sample: Sample, temperature: Tensor) -> Tensor:
        """Add the policy's gradient of a piece; return the last statistics of it."""
        action, log_prob = sample
        parts = self.lanes.run(
            *(partial(_value_and_slope, judge, piece.batch.features, action) for judge in self.judges)
        )
        (first, slope), (second, other_slope) = parts
        slope = torch.where((first <= second)[:, None], slope, other_slope)  # [b, A] of the smaller
        # The loss is mean(temperature * log_prob - min Q): its gradient with respect to what the policy said.
        slopes = [
            self.scale.of(slope / -piece.total),
            self.scale.of((temperature / piece.total).expand(len(action))),
        ]
        torch.autograd.backward([action, log_prob], slopes)
        with torch.no_grad():
            entropy = -log_prob.detach().mean()
            loss = -temperature[0] * entropy - torch.minimum(first, second).mean()
            return torch.stack((loss, entropy, temperature[0]))

    def _rehearse(self, piece: Piece) -> None:
        """See TwinLearner._rehearse."""
        temperature = self._temperature()
        wanted, (sample,) = self._wanted(piece, temperature, ahead=True)
        self.learn_critics(piece, wanted)
        self._climb(piece, sample, temperature)

    def _learn_temperature(self, entropy: Tensor) -> None:
        """Raise it where there is less entropy than wanted (equation 18, on the logarithm as in the authors' code)."""
        assert self.log_temperature.grad is not None
        self.log_temperature.grad.copy_(self.scale.finite(entropy - self.target_entropy)[None])
        self.group.mean_(self.log_temperature.grad)
        self.optimisers["temperature"].step()

    def state(self) -> dict[str, Tensor]:
        """See Learner.state."""
        return super().state() | {"log_temperature": self.log_temperature.data}


def _value_and_slope(judge: nn.Module, features: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """A critic's values [B] and their slopes [B, A] with respect to the action."""
    with torch.enable_grad():
        action = action.detach().requires_grad_()
        value = judge(features, action)
        (slope,) = torch.autograd.grad(value.sum(), action)
    return value.detach(), slope
