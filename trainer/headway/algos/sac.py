"""Soft actor-critic with automatic temperature (Haarnoja et al. 2018, arXiv 1812.05905). B rows, A action entries."""

from __future__ import annotations

import math
from functools import partial

import torch
from headway_api.offpolicy_spec import Sac
from torch import Tensor, nn

from headway.algos.state import flat_adam
from headway.algos.twins import TwinLearner
from headway.networks import ActorTwinCritics, squashed_sample
from headway.parallel import Group
from headway.replay import Batch
from headway.replay.draws import POLICY, TARGET


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
        """See TwinLearner._step. The policy is asked at the next state and, to learn, at this one side by side."""
        target_noise, policy_noise = noise
        asked = [partial(self._sample, batch.next_features, target_noise, False)]
        if learns_policy:
            asked.append(partial(self._sample, batch.features, policy_noise, True))
        (following, log_prob), *sampled = self.lanes.run(*asked)
        with torch.no_grad():
            temperature = self.log_temperature.exp()  # [1]
            soft = self.target_value(batch.next_features, following) - temperature * log_prob
            wanted = torch.addcmul(batch.reward, batch.discount, soft)
        errors = self.learn_critics(batch, wanted)
        for action, log_density in sampled:
            self._learn_policy(batch, action, log_density, temperature)
        self.target.follow(self.tau)
        return errors

    def _sample(self, features: Tensor, noise: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor]:
        """Actions [B, A] of the policy and their log densities [B]."""
        with torch.set_grad_enabled(with_gradient):
            return squashed_sample(self.network.output(features), noise)

    def _learn_policy(self, batch: Batch, action: Tensor, log_prob: Tensor, temperature: Tensor) -> None:
        """Make the policy's step, towards what the smaller critic values, and the temperature's."""
        parts = self.lanes.run(*(partial(_value_and_slope, judge, batch.features, action) for judge in self.judges))
        (first, slope), (second, other_slope) = parts
        slope = torch.where((first <= second)[:, None], slope, other_slope)  # [B, A] of the smaller
        rows = len(action)
        self.actor.begin()
        # The loss is mean(temperature * log_prob - min Q): its gradient with respect to what the policy said.
        slopes = [self.scale.of(slope / -rows), self.scale.of((temperature / rows).expand(rows))]
        torch.autograd.backward([action, log_prob], slopes)
        with torch.no_grad():
            entropy = -log_prob.detach().mean()
            self.actor.average(self.actor.statistics)
            self.actor.apply()
            loss = -temperature[0] * entropy - torch.minimum(first, second).mean()
            self.totals[3:] += self.scale.finite(torch.stack((loss, entropy, temperature[0])) * self.policy_delay)
            if self.spec.auto_temperature:
                self._learn_temperature(entropy)

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
