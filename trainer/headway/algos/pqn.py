"""Parallelised Q-network (Gallici et al. 2025, arXiv 2407.04811): Q-learning without a replay or a target network.

Rollouts of T steps of N environments, Q(lambda) returns by the present network, then epochs of minibatches. Many
environments take the place of the replay, and normalised layers that of the target network. A choices, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from headway_api.offpolicy_spec import Exploration, Pqn
from torch import Tensor

from headway import randomness
from headway.algos.divergence import refuse
from headway.algos.exploration import StagedExploration, mostly
from headway.algos.gradient import Gradient
from headway.algos.loss_scale import LossScale
from headway.algos.micro_batch import MicroBatch
from headway.algos.onpolicy import OnPolicy
from headway.algos.rollout import Rollout
from headway.algos.state import restore
from headway.envs.protocol import ActionSpace, FeatureLayout, Transition
from headway.networks import QNetwork
from headway.parallel import Group
from headway.returns import q_lambda


class PQN(OnPolicy):
    """See Algorithm for each method."""

    def __init__(
        self,
        spec: Pqn,
        network: QNetwork,
        layout: FeatureLayout,
        actions: ActionSpace,
        env_index: Tensor,
        total_envs: int,
        total_steps: int,
        seed: int,
        group: Group,
        stages: Sequence[Exploration | None],
        precision: str = "fp32",
    ) -> None:
        self.spec, self.network, self.choices = spec, network, actions.size
        self.env_index, self.seed, self.group = env_index, seed, group
        self.total_envs, self.total_steps = total_envs, total_steps
        self.device = env_index.device
        self.micro = MicroBatch(spec.minibatch_size // group.world_size)
        self.scale = LossScale(precision, self.device)
        self.gradient = Gradient(
            network,
            lambda flat: torch.optim.RAdam([flat], lr=spec.learning_rate),
            group,
            spec.max_grad_norm,
            2,
            self.scale,
        )
        self.exploration = StagedExploration(spec.exploration, stages)
        self.rollout = Rollout(spec.rollout_steps, env_index.numel(), layout.size, actions, self.device)

    def begin_stage(self, stage: int, step: int) -> None:
        """See ExploresByStage."""
        self.exploration.begin_stage(stage, step)

    @torch.no_grad()
    def act(self, features: Tensor, step: int) -> Tensor:
        """The best choice, or in a share of the cases any; see Algorithm.act."""
        if self.rollout.filled == 0:
            steps = torch.arange(step, step + self.rollout.length, device=self.device)
            self.noise = randomness.uniforms(self.seed, self.env_index, steps)
        noise, share = self.noise[self.rollout.filled], self.exploration.share(step * self.total_envs)
        value = self.network(features.to(self.device))
        self.rollout.output[self.rollout.filled] = value
        return mostly(value.argmax(1), noise, share, self.choices).to(features.device)

    def observe(self, transition: Transition) -> None:
        """Take in one transition of every environment; see Algorithm.observe."""
        self.rollout.add(transition)

    def update(self, next_features: Tensor, fraction_left: float) -> dict[str, float]:
        """Learn from the rollout and empty it; see Algorithm.update."""
        anneal = fraction_left if self.spec.anneal_learning_rate else 1.0
        self.gradient.set_rate(self.spec.learning_rate * anneal)
        rollout, wanted = self.rollout, self._returns(next_features.to(self.device))
        rows = self._rows(wanted)
        totals, norms, steps = torch.zeros(2, device=self.device), torch.zeros((), device=self.device), 0
        for epoch in range(self.spec.epochs):
            shard = int(self.env_index[0])
            order = randomness.permutation(len(rows[0]), self.seed, self.updates, epoch, shard, self.device)
            for index in order.split(self.micro.share):
                self._backward(rows, index)
                totals += self.scale.finite(self.gradient.statistics)
                norms += self.scale.finite(self.gradient.apply())
                self.scale.update()
                steps += 1
                self.beat()
        sums = torch.cat((totals, norms[None], self.gradient.flat.total[None]))
        loss, value, norm, parameters = (sums / steps).tolist()
        found = {"loss/value": loss, "pqn/q": value, "pqn/gradient_norm": norm}
        refuse(found | {"the sum of the parameters": parameters}, target=wanted)
        self.scale.refuse_overflow()
        self.updates += 1
        self.rollout.clear()
        share = self.exploration.share(self.updates * rollout.length * self.total_envs)
        return found | {"pqn/exploration": share} | self.scale.metrics()

    @torch.no_grad()
    def _returns(self, next_features: Tensor) -> Tensor:
        """Q(lambda) of the whole rollout, [T, N]."""
        rollout = self.rollout
        best = rollout.output.amax(-1)
        following = torch.cat((best[1:], self.network(next_features).amax(-1)[None]))
        cut, finals = rollout.finals()
        if len(cut):  # where the clock ended an episode, its own last observation follows, not the next episode's
            following.view(-1)[cut] = self.network(finals).amax(-1)
        return q_lambda(
            rollout.reward, following, rollout.terminated, rollout.truncated, self.spec.gamma, self.spec.q_lambda
        )

    def _rows(self, wanted: Tensor) -> tuple[Tensor, ...]:
        """Features, actions and what is wanted of them, of all T * N steps."""
        return self.rollout.features.flatten(0, 1), self.rollout.action.flatten(), wanted.flatten()

    def _backward(self, rows: tuple[Tensor, ...], index: Tensor) -> None:
        """Find the gradient of a minibatch, its loss and mean value, averaged over ranks."""
        self.gradient.begin()
        statistics = self.micro.means(partial(self._learn_piece, rows), index)
        with torch.no_grad():
            self.gradient.average(statistics)

    def _learn_piece(self, rows: tuple[Tensor, ...], index: Tensor, share: float) -> Tensor:
        """Add the gradient of some rows; return their loss and mean value."""
        features, action, wanted = (row[index] for row in rows)
        value = self.network(features).gather(1, action[:, None])[:, 0]
        loss = 0.5 * (value - wanted).square().mean()
        self.gradient.backward(loss, share)
        with torch.no_grad():
            return torch.stack((loss, value.mean()))

    def rehearsal(self, rows: int) -> Callable[[], None]:
        """See Algorithm.rehearsal."""
        columns, index = self._rows(torch.zeros_like(self.rollout.reward)), torch.arange(rows, device=self.device)

        def rehearse() -> None:
            with self.gradient.forgotten():
                self._learn_piece(columns, index, 1.0)

        return rehearse

    def get_env_state(self) -> dict[str, Tensor]:
        """Nothing; see Algorithm.get_env_state."""
        return {}

    def set_env_state(self, state: dict[str, Tensor]) -> None:
        """See Algorithm.set_env_state."""
        restore({}, state)
