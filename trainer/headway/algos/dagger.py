"""Imitation of an expert by dataset aggregation (Ross, Gordon, Bagnell 2011, arXiv 1011.0686).

At each step every environment is driven by the expert with probability beta, else by the policy (algorithm 3.1 there);
whoever drives, the expert's advice is kept, so that the policy learns what to do where it comes by itself. beta falls
linearly to 0. An expert that drives all along is behaviour cloning.

N environments of this rank, K steps of each kept, F features, A action entries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from headway_api.algo_spec import Dagger
from torch import Tensor

from headway import randomness
from headway.algos.divergence import ENVIRONMENT, gradients, refuse
from headway.algos.gradient import Gradient
from headway.algos.loss_scale import LossScale
from headway.algos.micro_batch import MicroBatch
from headway.algos.state import below, learned_state, restore, under
from headway.envs.protocol import ActionSpace, FeatureLayout, Transition
from headway.networks import ActorCritic, GreedyPolicy, load_weights
from headway.parallel import Group

Expert = Callable[[], Tensor]  # what it would do now: float32 [N, A] or int64 [N]


class DAgger:
    """Rollouts of T steps, each labelled by the expert; then gradient steps on all that is kept."""

    beat: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self,
        spec: Dagger,
        network: ActorCritic,
        layout: FeatureLayout,
        actions: ActionSpace,
        env_index: Tensor,
        total_envs: int,
        seed: int,
        group: Group,
        expert: Expert,
        precision: str = "fp32",
    ) -> None:
        self.spec, self.network, self.group, self.seed, self.expert = spec, network, group, seed, expert
        self.env_index = env_index  # [N] global, on the device that learns
        self.total_envs = total_envs
        self.device = env_index.device
        self.discrete = actions.discrete
        self.micro = MicroBatch(spec.minibatch_size // group.world_size)
        self.scale = LossScale(precision, self.device)
        self.gradient = Gradient(
            network, lambda flat: torch.optim.Adam([flat], lr=spec.learning_rate, eps=1e-5, fused=True), group,
            spec.max_grad_norm, 1, self.scale,
        )  # fmt: skip
        self.length = max(spec.rollout_steps, spec.capacity // total_envs)  # K
        n = env_index.numel()
        # The ring: environments first, so that it is split over ranks as they are.
        self.features = torch.zeros(n, self.length, layout.size, device=self.device)
        label = (
            torch.zeros(n, self.length, dtype=torch.int64)
            if actions.discrete
            else torch.zeros(n, self.length, actions.size)
        )
        self.advice = label.to(self.device)
        self.steps = 0  # ever taken in
        self.updates = 0
        self.taken = 0  # since the last update
        self.memory = torch.zeros(n, 0, device=self.device)  # these networks have none

    def share(self, step: int) -> float:
        """Probability that the expert drives at step number `step` of each environment."""
        if self.spec.expert_steps == 0:
            return 0.0
        return max(0.0, 1.0 - step * self.total_envs / self.spec.expert_steps)

    @torch.no_grad()
    def act(self, features: Tensor, step: int) -> Tensor:
        """Ask the expert, and let it or the policy drive; see Algorithm.act."""
        advice = self.expert().to(self.device)
        inputs = features.to(self.device)
        at = self.steps % self.length
        self.features[:, at] = inputs
        self.advice[:, at] = advice
        output, _ = self.network.actor(self.network.prepare(inputs), self.memory)
        own = self.network.distribution.mode(output)
        drives = randomness.expert_draws(self.seed, self.env_index, step) < self.share(step)  # bool [N]
        chosen = torch.where(drives if self.discrete else drives[:, None], advice, own)
        return chosen.to(features.device)

    def observe(self, transition: Transition) -> None:
        """Count the step, which `act` has kept; see Algorithm.observe."""
        self.steps += 1
        self.taken += 1

    def ready(self) -> bool:
        """Say whether a rollout has been taken in."""
        return self.taken == self.spec.rollout_steps

    def update(self, next_features: Tensor, fraction_left: float) -> dict[str, float]:
        """Learn from what is kept; see Algorithm.update."""
        kept = min(self.steps, self.length)
        features, advice = self.features[:, :kept].flatten(0, 1), self.advice[:, :kept].flatten(0, 1)
        loss, norm = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for index in self._minibatches(len(features)):
            self._backward(features, advice, index)
            loss += self.scale.finite(self.gradient.statistics[0])
            norm += self.scale.finite(self.gradient.apply())
            self.scale.update()
            self.beat()
        steps = self.spec.gradient_steps
        sums = torch.stack((loss, norm, self.gradient.flat.total)).tolist()
        found = {"loss/imitation": sums[0] / steps, "dagger/gradient_norm": sums[1] / steps}
        refuse(found | {"the sum of the parameters": sums[2]})
        self.scale.refuse_overflow()
        self.updates += 1
        self.taken = 0
        return (
            found
            | self.scale.metrics()
            | {
                "dagger/expert_share": self.share(self.steps),
                "dagger/labelled_steps": float(kept * self.total_envs),
            }
        )

    def _minibatches(self, rows: int) -> list[Tensor]:
        """Rows of each gradient step: orders of all that is kept, one after another, cut into pieces of equal size."""
        wanted = self.micro.share * self.spec.gradient_steps
        orders = [
            randomness.permutation(rows, self.seed, self.updates, k, int(self.env_index[0]), self.device)
            for k in range(math.ceil(wanted / rows))
        ]
        return list(torch.cat(orders)[:wanted].split(self.micro.share))

    def _backward(self, features: Tensor, advice: Tensor, index: Tensor) -> None:
        """Find the gradient of the minibatch's loss, and the loss, averaged over ranks."""
        self.gradient.begin()
        statistics = self.micro.means(partial(self._learn_piece, features, advice), index)
        with torch.no_grad():
            self.gradient.average(statistics)

    def _learn_piece(self, features: Tensor, advice: Tensor, index: Tensor, share: float) -> Tensor:
        """Add the gradient of some rows; return their loss.

        Squared error for numbers, which is the likelihood of a Gaussian whose deviation is left as it is; cross-entropy
        for choices. The value function is not touched.
        """
        output, _ = self.network.actor(self.network.prepare(features[index]), self.memory)
        if self.discrete:
            loss = -self.network.distribution.log_prob(output, advice[index]).mean()
        else:
            loss = 0.5 * (output - advice[index]).square().sum(-1).mean()
        self.gradient.backward(loss, share)
        return loss.detach()[None]

    def rehearsal(self, rows: int) -> Callable[[], None]:
        """See Algorithm.rehearsal. A minibatch may be larger than all that is kept."""
        features, advice = self.features.flatten(0, 1), self.advice.flatten(0, 1)
        index = torch.arange(rows, device=self.device) % len(features)

        def rehearse() -> None:
            with self.gradient.forgotten():
                self._learn_piece(features, advice, index, 1.0)

        return rehearse

    def reseed(self, seed: int) -> None:
        """See Algorithm.reseed."""
        self.seed = seed

    def suspects(self) -> dict[str, Tensor]:
        """What is kept, what was learned and the last gradient; see Algorithm.suspects."""
        given = {ENVIRONMENT + "features": self.features, "advice": self.advice}
        return given | self.get_state() | gradients(self.network)

    def policy(self) -> GreedyPolicy:
        """Return the present policy; see Algorithm.policy."""
        return GreedyPolicy(self.network)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Begin with another run's network; see Algorithm.load_weights."""
        load_weights(self.network, weights)

    def get_state(self) -> dict[str, Tensor]:
        """Network, Adam's moments and counters. Complete between an update and the next `act`."""
        learned = learned_state(self.network, {"optimiser": self.gradient.optimiser})
        counters = {"updates": torch.tensor(self.updates), "steps": torch.tensor(self.steps)}
        return learned | counters | under("loss_scale.", self.scale.get_state())

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called; see Algorithm.set_state."""
        updates, steps = int(state.get("updates", -1)), int(state.get("steps", -1))
        if updates < 0 or steps != updates * self.spec.rollout_steps:
            raise ValueError(f"steps {steps} and updates {updates} contradict rolloutSteps {self.spec.rollout_steps}")
        mine = self.get_state()
        restore(mine, state)
        self.scale.set_state(below("loss_scale.", mine))
        self.updates, self.steps, self.taken = updates, steps, 0

    def get_env_state(self) -> dict[str, Tensor]:
        """What is kept of each environment; see Algorithm.get_env_state."""
        return {"features": self.features, "advice": self.advice}

    def set_env_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_env_state` was called; see Algorithm.set_env_state."""
        restore(self.get_env_state(), state)
