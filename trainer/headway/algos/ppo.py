"""Proximal policy optimisation with the clipped objective (Schulman et al. 2017, arXiv 1707.06347)."""

from __future__ import annotations

import math
from typing import Final

import torch
from headway_api.algo_spec import Ppo
from torch import Tensor

from headway import randomness
from headway.algos.protocol import Featurise
from headway.algos.rollout import Rollout
from headway.envs.protocol import Step
from headway.errors import SpecError
from headway.networks import ActorCritic, gaussian_entropy, gaussian_log_prob
from headway.parallel import FlatParameters, Group
from headway.returns import gae

# What one minibatch measures; averaged over ranks behind the gradients, in the same all-reduce.
STATISTICS: Final = ("loss/policy", "loss/value", "ppo/approx_kl", "ppo/clip_fraction")


class PPO:
    """Rollouts of T steps of N environments, then several epochs of minibatches over them."""

    def __init__(
        self, spec: Ppo, network: ActorCritic, feature_size: int, env_index: Tensor, seed: int, group: Group
    ) -> None:
        self.spec = spec
        self.network = network
        self.group = group
        self.seed = seed
        self.env_index = env_index  # [N] global
        self.updates = 0
        self.flat = FlatParameters(network, extra=len(STATISTICS))
        self.optimiser = torch.optim.Adam([self.flat.value], lr=spec.learning_rate, eps=1e-5, fused=True)
        action_size = network.log_std.numel()
        self.rollout = Rollout(spec.rollout_steps, env_index.numel(), feature_size, action_size)

    @torch.no_grad()
    def act(self, features: Tensor, step: int) -> Tensor:
        """Sample from the policy; see Algorithm.act."""
        rollout = self.rollout
        if rollout.filled == 0:  # the noise of a whole rollout at once: it depends on nothing that happens in it
            steps = torch.arange(step, step + rollout.length)
            rollout.noise = randomness.normals(self.seed, self.env_index, steps, self.network.log_std.numel())
        noise = rollout.noise[rollout.filled]
        return torch.addcmul(self.network.mean(features), self.network.log_std.exp(), noise)

    def observe(self, features: Tensor, action: Tensor, step: Step, featurise: Featurise) -> None:
        """Take in one transition of every environment; see Algorithm.observe."""
        self.rollout.add(features, action, step, featurise)

    def ready(self) -> bool:
        """Say whether the rollout is full."""
        return self.rollout.filled == self.rollout.length

    def update(self, next_features: Tensor, fraction_left: float) -> dict[str, float]:
        """Learn from the rollout and empty it; see Algorithm.update."""
        anneal = fraction_left if self.spec.anneal_learning_rate else 1.0
        self.optimiser.param_groups[0]["lr"] = self.spec.learning_rate * anneal
        batch = self._targets(next_features)
        metrics = self._fit(batch)
        self.updates += 1
        self.rollout.clear()
        metrics["ppo/entropy"] = float(gaussian_entropy(self.network.log_std.detach()))
        metrics["ppo/learning_rate"] = self.spec.learning_rate * anneal
        return metrics

    @torch.no_grad()
    def _targets(self, next_features: Tensor) -> dict[str, Tensor]:
        """Compute advantages and value targets of the whole rollout; flatten it to rows, B = T * N."""
        rollout, spec = self.rollout, self.spec
        value = self.network.value(rollout.features.flatten(0, 1)).view(rollout.length, -1)  # [T, N]
        next_value = torch.cat((value[1:], self.network.value(next_features)[None]))  # [T, N]
        if rollout.cut:  # where the clock ended an episode, its own last observation follows, not the next episode's
            where = torch.cat([flat_index for flat_index, _ in rollout.cut])
            next_value.view(-1)[where] = self.network.value(torch.cat([final for _, final in rollout.cut]))
        advantage, target = gae(
            rollout.reward, value, next_value, rollout.terminated, rollout.truncated, spec.gamma, spec.gae_lambda
        )
        return {
            "features": rollout.features.flatten(0, 1),
            "action": rollout.action.flatten(0, 1),
            "log_prob": gaussian_log_prob(rollout.noise.flatten(0, 1), self.network.log_std),
            "advantage": self._normalised(advantage).flatten(),
            "target": target.flatten(),
        }

    def _normalised(self, advantage: Tensor) -> Tensor:
        """Shift and scale to mean 0 and deviation 1 over the rollouts of all ranks."""
        double = advantage.double()
        moments = torch.stack((double.sum(), double.square().sum(), double.new_tensor(double.numel())))
        total, squares, count = self.group.sum_(moments).tolist()
        mean = total / count
        deviation = max(squares / count - mean * mean, 0.0) ** 0.5
        return (advantage - mean) / (deviation + 1e-8)

    def _fit(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Make the epochs of gradient steps; stop early, on all ranks alike, where the policy has moved too far."""
        size = self.spec.minibatch_size // self.group.world_size
        totals, steps, norms = torch.zeros(len(STATISTICS)), 0, torch.zeros(())
        for epoch in range(self.spec.epochs):
            rows = len(batch["action"])
            order = randomness.permutation(
                rows, self.seed, self.updates, epoch, int(self.env_index[0]), self.env_index.device
            )
            for index in order.split(size):
                self._backward({name: tensor[index] for name, tensor in batch.items()})
                statistics = dict(zip(STATISTICS, self.flat.extra.tolist(), strict=True))
                if not all(map(math.isfinite, statistics.values())):
                    raise self._diverged("loss")
                # Averaged over ranks before, so that all of them decide alike.
                if 0 < 1.5 * self.spec.target_kl < statistics["ppo/approx_kl"]:
                    return self._metrics(totals, steps, norms)
                norms += self.flat.clip_gradient(self.spec.max_grad_norm)
                self.optimiser.step()
                totals += self.flat.extra
                steps += 1
        return self._metrics(totals, steps, norms)

    def _backward(self, batch: dict[str, Tensor]) -> None:
        """Put the gradient of the minibatch's loss, and its statistics, averaged over ranks, into the flat buffer."""
        spec, network = self.spec, self.network
        noise = (batch["action"] - network.mean(batch["features"])) * torch.exp(-network.log_std)
        log_ratio = gaussian_log_prob(noise, network.log_std) - batch["log_prob"]
        ratio = log_ratio.exp()
        # L^CLIP, equation 7: the worse of the plain and the clipped objective, so that moving farther gains nothing.
        clipped = ratio.clamp(1 - spec.clip_range, 1 + spec.clip_range)
        policy_loss = -torch.minimum(ratio * batch["advantage"], clipped * batch["advantage"]).mean()
        value_loss = 0.5 * (network.value(batch["features"]) - batch["target"]).square().mean()
        entropy = gaussian_entropy(network.log_std)
        loss = policy_loss + spec.value_coef * value_loss - spec.entropy_coef * entropy
        self.flat.buffer.zero_()
        loss.backward()
        with torch.no_grad():
            # k3 of Schulman's note "Approximating KL divergence": unbiased, and never negative.
            kl = (ratio - 1 - log_ratio).mean()
            outside = ((ratio - 1).abs() > spec.clip_range).float().mean()
            self.flat.extra.copy_(torch.stack((policy_loss, value_loss, kl, outside)))
            self.group.sum_(self.flat.buffer).div_(self.group.world_size)

    def _diverged(self, what: str) -> SpecError:
        """Return the user's error: from a checkpoint training would diverge again, bit for bit, so it is permanent."""
        fix = f"the {what} of update {self.updates} is not finite: lower it"
        return SpecError("train.algo.ppo.learningRate", self.spec.learning_rate, fix)

    def _metrics(self, totals: Tensor, steps: int, norms: Tensor) -> dict[str, float]:
        if not bool(torch.isfinite(norms)):  # before anything is saved
            raise self._diverged("gradient")
        means = (totals / max(steps, 1)).tolist()
        return dict(zip(STATISTICS, means, strict=True)) | {
            "ppo/gradient_norm": float(norms) / max(steps, 1),
            "ppo/gradient_steps": float(steps),
        }

    @torch.no_grad()
    def policy(self, features: Tensor) -> Tensor:
        """Mean action, clipped to [-1, 1]; see Algorithm.policy."""
        return self.network.mean(features).clamp(-1.0, 1.0)

    def get_state(self) -> dict[str, Tensor]:
        """Networks, Adam's moments and the count of updates. Complete between an update and the next `observe`."""
        state = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        return state | self._adam_state() | {"updates": torch.tensor(self.updates)}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called; see Algorithm.set_state."""
        mine = self.get_state()
        if mine.keys() != state.keys():
            raise ValueError(f"these tensors are missing or not known: {sorted(mine.keys() ^ state.keys())}")
        for name, tensor in state.items():
            if tensor.shape != mine[name].shape or tensor.dtype != mine[name].dtype:
                expected = f"{mine[name].dtype} {[*mine[name].shape]}"
                raise ValueError(f"{name} is {tensor.dtype} {[*tensor.shape]}, not {expected}")
        for name, tensor in state.items():
            mine[name].copy_(tensor)  # in place: memory keeps its alignment, on which the kernels' rounding may depend
        self.updates = int(state["updates"])
        self.rollout.clear()

    def _adam_state(self) -> dict[str, Tensor]:
        """Adam's own tensors, which it makes at its first step; made here if that has not come yet."""
        flat = self.flat.value
        if not self.optimiser.state[flat]:
            self.optimiser.state[flat] = {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(flat.data),
                "exp_avg_sq": torch.zeros_like(flat.data),
            }
        return {f"optimiser.{name}": tensor for name, tensor in self.optimiser.state[flat].items()}
