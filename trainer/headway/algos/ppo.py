"""Proximal policy optimisation with the clipped objective (Schulman et al. 2017, arXiv 1707.06347)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Final, TypeVar

import torch
from headway_api.algo_spec import Ppo
from torch import Tensor

from headway import randomness
from headway.algos.divergence import refuse
from headway.algos.gradient import Gradient
from headway.algos.loss_scale import LossScale
from headway.algos.micro_batch import MicroBatch
from headway.algos.onpolicy import OnPolicy
from headway.algos.rollout import Rollout
from headway.algos.state import restore
from headway.envs.protocol import ActionSpace, FeatureLayout, Transition
from headway.networks import ActorCritic, Body
from headway.parallel import Group, Lanes
from headway.returns import gae

T = TypeVar("T")
# What one minibatch measures; averaged over ranks behind the gradients, in the same all-reduce.
STATISTICS: Final = ("loss/policy", "ppo/approx_kl", "ppo/clip_fraction", "ppo/entropy", "loss/value")


@dataclass(frozen=True)
class Batch:
    """A rollout to learn from, by units: what minibatches are drawn of. U units of S steps.

    Without memory a unit is one step, S absent: U = T * N. With it a unit is an environment's whole rollout: U = N,
    S = T.
    """

    features: Tensor  # [U, S, F]
    begins: Tensor  # bool [U, S]
    action: Tensor  # [U, S, A] or int64 [U, S]
    log_prob: Tensor  # [U, S]: under the policy that acted
    advantage: Tensor  # [U, S]
    target: Tensor  # [U, S], in the critic's units
    actor_memory: Tensor  # [U, H] before the first step
    critic_memory: Tensor  # [U, H]


class PPO(OnPolicy):
    """Rollouts of T steps of N environments, then several epochs of minibatches over them."""

    def __init__(
        self,
        spec: Ppo,
        network: ActorCritic,
        layout: FeatureLayout,
        actions: ActionSpace,
        env_index: Tensor,
        seed: int,
        group: Group,
        threads: int = 1,
        precision: str = "fp32",
    ) -> None:
        self.spec = spec
        self.network = network
        self.group = group
        self.seed = seed
        self.env_index = env_index  # [N] global, on the device that learns
        self.device = env_index.device
        self.scale = LossScale(precision, self.device)
        self.gradient = Gradient(
            network, lambda flat: torch.optim.Adam([flat], lr=spec.learning_rate, eps=1e-5, fused=True), group,
            spec.max_grad_norm, len(STATISTICS), self.scale,
        )  # fmt: skip
        num_envs = env_index.numel()
        self.rollout = Rollout(spec.rollout_steps, num_envs, layout.size, actions, self.device)
        self.recurrent = network.memory_size > 0
        unit = spec.rollout_steps if self.recurrent else 1
        self.micro = MicroBatch(spec.minibatch_size // group.world_size, unit)
        # Memory before the rollout's first step, and the actor's now; where an episode is about to begin.
        self.actor_memory = torch.zeros(num_envs, network.memory_size, device=self.device)  # [N, H]
        self.critic_memory = torch.zeros_like(self.actor_memory)
        self.memory = self.actor_memory
        self.begins = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self.lanes = Lanes(threads if self.device.type == "cpu" else 1)

    @torch.no_grad()
    def act(self, features: Tensor, step: int) -> Tensor:
        """Sample from the policy; see Algorithm.act."""
        rollout, network = self.rollout, self.network
        if rollout.filled == 0:  # the noise of a whole rollout at once: it depends on nothing that happens in it
            steps = torch.arange(step, step + rollout.length, device=self.device)
            self.noise = network.distribution.noise(self.seed, self.env_index, steps)
        rollout.begins[rollout.filled] = self.begins
        if self.recurrent:
            self.memory = self.memory.masked_fill(self.begins[:, None], 0.0)
        output, self.memory = network.actor(network.prepare(features.to(self.device)), self.memory)
        rollout.output[rollout.filled] = output
        return network.distribution.sample(output, self.noise[rollout.filled]).to(features.device)

    def observe(self, transition: Transition) -> None:
        """Take in one transition of every environment; see Algorithm.observe."""
        self.rollout.add(transition)
        step = transition.step
        self.begins = (step.terminated | step.truncated).to(self.device)

    def update(self, next_features: Tensor, fraction_left: float) -> dict[str, float]:
        """Learn from the rollout and empty it; see Algorithm.update."""
        anneal = fraction_left if self.spec.anneal_learning_rate else 1.0
        self.gradient.set_rate(self.spec.learning_rate * anneal)
        metrics = self._fit(self._batch(next_features.to(self.device)))
        if self.network.observation_scale is not None:  # not before: the policy that acted is the one that is improved
            self.network.observation_scale.see(self.rollout.features.flatten(0, 1), self.group.sum_)
        self.updates += 1
        self.rollout.clear()
        metrics["ppo/learning_rate"] = self.spec.learning_rate * anneal
        return metrics

    @torch.no_grad()
    def _batch(self, next_features: Tensor) -> Batch:
        """Compute advantages and value targets of the whole rollout, and lay it out by units."""
        rollout, spec, network = self.rollout, self.spec, self.network
        features = network.prepare(rollout.features)
        value, next_value, memories = self._values(features, network.prepare(next_features))
        advantage, target = gae(
            rollout.reward, value, next_value, rollout.terminated, rollout.truncated, spec.gamma, spec.gae_lambda
        )
        if network.value_scale is not None:
            network.value_scale.see(target, network.critic.head, self.group.sum_)
            mean, deviation = network.value_scale.units
            target = (target - mean) / deviation
        log_prob = network.distribution.log_prob(rollout.output, rollout.action)
        batch = self._by_units(features, rollout.begins, rollout.action, log_prob, self._normalised(advantage), target)
        self.actor_memory, self.critic_memory = self.memory, memories[-1]  # before the next rollout's first step
        return batch

    def _by_units(self, *rows: Tensor) -> Batch:
        """Lay out what is in a Batch before the memories, [T, N, ...] each."""
        if self.recurrent:
            return Batch(
                *(tensor.transpose(0, 1).contiguous() for tensor in rows), self.actor_memory, self.critic_memory
            )
        none = self.memory.new_zeros(self.rollout.reward.numel(), 0)
        return Batch(*(tensor.flatten(0, 1) for tensor in rows), none, none)

    def _values(self, features: Tensor, next_features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values [T, N] of all steps, and of what followed before any reset; the critic's memories [T, N, H]."""
        critic, rollout = self.network.critic, self.rollout
        if self.recurrent:  # by environments: memory runs along time
            parts = zip(features.chunk(2, 1), self.critic_memory.chunk(2), rollout.begins.chunk(2, 1), strict=True)
        else:  # pieces that stay in the cache
            parts = zip(features.chunk(8), repeat(self.critic_memory), rollout.begins.chunk(8), strict=False)
        pieces = self.lanes.run(*(partial(_without_gradient, critic.sequence, *part) for part in parts))
        outputs, memories = (torch.cat(list(piece), int(self.recurrent)) for piece in zip(*pieces, strict=True))
        value = outputs.squeeze(-1)
        last, _ = critic(next_features, memories[-1].masked_fill(self.begins[:, None], 0.0))
        next_value = torch.cat((value[1:], last.view(1, -1)))
        cut, finals = rollout.finals()
        if len(cut):  # where the clock ended an episode, its own last observation follows, not the next episode's
            final_value, _ = critic(self.network.prepare(finals), memories.flatten(0, 1)[cut])
            next_value.view(-1)[cut] = final_value.squeeze(-1)
        if self.network.value_scale is not None:
            mean, deviation = self.network.value_scale.units
            value, next_value = value * deviation + mean, next_value * deviation + mean
        return value, next_value, memories

    def _normalised(self, advantage: Tensor) -> Tensor:
        """Shift and scale to mean 0 and deviation 1 over the rollouts of all ranks."""
        double = advantage.double()
        moments = torch.stack((double.sum(), double.square().sum(), double.new_tensor(double.numel())))
        total, squares, count = self.group.sum_(moments).tolist()
        mean = total / count
        deviation = max(squares / count - mean * mean, 0.0) ** 0.5
        return (advantage - mean) / (deviation + 1e-8)

    def _fit(self, batch: Batch) -> dict[str, float]:
        """Make the epochs of gradient steps; stop early, on all ranks alike, where the policy has moved too far."""
        self.scale.refuse_overflow()
        size = self.micro.share // self.micro.unit  # units
        totals, steps, norms = torch.zeros_like(self.gradient.statistics), 0, torch.zeros((), device=self.device)
        for epoch in range(self.spec.epochs):
            units = len(batch.action)
            order = randomness.permutation(units, self.seed, self.updates, epoch, int(self.env_index[0]), self.device)
            for index in order.split(size):
                self._backward(batch, index)
                found = self.scale.finite(self.gradient.statistics)
                statistics = dict(zip(STATISTICS, found.tolist(), strict=True))
                refuse(statistics, f"at gradient step {steps + 1}", advantage=batch.advantage, target=batch.target)
                # Averaged over ranks before, so that all of them decide alike.
                if 0 < 1.5 * self.spec.target_kl < statistics["ppo/approx_kl"]:
                    self.scale.update()
                    return self._metrics(totals, steps, norms)
                norms += self.scale.finite(self.gradient.apply())
                self.scale.update()
                totals += found
                steps += 1
                self.beat()
        return self._metrics(totals, steps, norms)

    def _backward(self, batch: Batch, index: Tensor) -> None:
        """Find the gradient of the minibatch's loss, and its statistics, averaged over ranks."""
        self.gradient.begin()
        statistics = self.lanes.run(
            partial(self.micro.means, partial(self._improve_policy, batch), index),
            partial(self.micro.means, partial(self._improve_value, batch), index),
        )
        self.gradient.average(torch.cat(statistics))

    def rehearsal(self, rows: int) -> Callable[[], None]:
        """See Algorithm.rehearsal."""
        rollout, nothing = self.rollout, torch.zeros_like(self.rollout.reward)
        batch = self._by_units(rollout.features, rollout.begins, rollout.action, nothing, nothing, nothing)
        index = torch.arange(rows // self.micro.unit, device=self.device)

        def rehearse() -> None:
            with self.gradient.forgotten():
                self.lanes.run(
                    partial(self._improve_policy, batch, index, 1.0), partial(self._improve_value, batch, index, 1.0)
                )

        return rehearse

    def _improve_policy(self, batch: Batch, index: Tensor, share: float) -> Tensor:
        """Add the policy's gradient of some units; return the first statistics of them."""
        spec, distribution = self.spec, self.network.distribution
        output = self._outputs(self.network.actor, batch, batch.actor_memory, index)
        log_ratio = distribution.log_prob(output, batch.action[index]) - batch.log_prob[index]
        ratio = log_ratio.exp()
        advantage = batch.advantage[index]
        # L^CLIP, equation 7: the worse of the plain and the clipped objective, so that moving farther gains nothing.
        clipped = ratio.clamp(1 - spec.clip_range, 1 + spec.clip_range)
        loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
        entropy = distribution.entropy(output)
        self.gradient.backward(loss - spec.entropy_coef * entropy, share)
        with torch.no_grad():
            # k3 of Schulman's note "Approximating KL divergence": unbiased, and never negative.
            kl = (ratio - 1 - log_ratio).mean()
            outside = ((ratio - 1).abs() > spec.clip_range).float().mean()
            return torch.stack((loss, kl, outside, entropy))

    def _improve_value(self, batch: Batch, index: Tensor, share: float) -> Tensor:
        """Add the critic's gradient of some units; return the last statistic of them."""
        value = self._outputs(self.network.critic, batch, batch.critic_memory, index).squeeze(-1)
        loss = 0.5 * (value - batch.target[index]).square().mean()
        self.gradient.backward(self.spec.value_coef * loss, share)
        return loss.detach()[None]

    def _outputs(self, body: Body, batch: Batch, memory: Tensor, index: Tensor) -> Tensor:
        """Outputs [B, O] of units, or [B, S, O] of sequences."""
        features = batch.features.index_select(0, index)
        if not self.recurrent:
            return body(features, memory)[0]
        outputs, _ = body.sequence(features.transpose(0, 1), memory[index], batch.begins[index].T)
        return outputs.transpose(0, 1)

    def _metrics(self, totals: Tensor, steps: int, norms: Tensor) -> dict[str, float]:
        *means, norm, parameters = torch.cat(
            (totals / max(steps, 1), norms[None], self.gradient.flat.total[None])
        ).tolist()
        refuse({"ppo/gradient_norm": norm, "the sum of the parameters": parameters})
        return (
            dict(zip(STATISTICS, means, strict=True))
            | {
                "ppo/gradient_norm": norm / max(steps, 1),
                "ppo/gradient_steps": float(steps),
            }
            | self.scale.metrics()
        )

    def get_env_state(self) -> dict[str, Tensor]:
        """Memory, and where episodes are about to begin; nothing without memory. See Algorithm.get_env_state."""
        return {name: tensor.cpu() for name, tensor in self._env_state().items()}

    def set_env_state(self, state: dict[str, Tensor]) -> None:
        """See Algorithm.set_env_state."""
        restore(self._env_state(), state)

    def _env_state(self) -> dict[str, Tensor]:
        if not self.recurrent:
            return {}
        return {"actor_memory": self.actor_memory, "critic_memory": self.critic_memory, "begins": self.begins}


def _without_gradient(function: Callable[..., T], *arguments: Tensor) -> T:
    """Call in a thread that has its own idea of whether gradients are wanted."""
    with torch.no_grad():
        return function(*arguments)
