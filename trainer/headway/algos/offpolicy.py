"""The loop that all off-policy algorithms share: act, keep, and every few steps learn from what is drawn.

Gradient steps are made as soon as they are due, within `observe`; an update, at which a run is logged, saved and
stopped, is many of them. N environments of this rank, F features.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from headway_api.offpolicy_spec import Exploration, OffPolicy
from headway_api.replay_spec import Prioritized
from torch import Tensor

from headway.algos.divergence import ENVIRONMENT, gradients, refuse
from headway.algos.exploration import StagedExploration
from headway.algos.learner import Learner
from headway.algos.micro_batch import MicroBatch
from headway.algos.state import restore, under
from headway.envs.protocol import Transition
from headway.networks import GreedyPolicy
from headway.parallel import Group
from headway.replay import Replay

_NOISE_STEPS = 256  # steps whose noise is drawn at once: it depends on nothing that happens in them


class OffPolicyAlgorithm:
    """An Algorithm (algos.protocol) of a learner and a replay."""

    beat: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self,
        spec: OffPolicy,
        learner: Learner,
        replay: Replay,
        total_envs: int,
        total_steps: int,
        group: Group,
        exploration: Exploration | None,
        stages: Sequence[Exploration | None],
    ) -> None:
        """`total_envs` and `total_steps`: over all ranks. `exploration`: the spec's, if this algorithm has one."""
        self.spec, self.learner, self.replay, self.group = spec, learner, replay, group
        self.total_envs, self.total_steps = total_envs, total_steps
        self._explores = exploration is not None
        self.exploration = StagedExploration(exploration or Exploration(start=0.0, end=0.0, steps=0), stages)
        self.device = replay.device
        # Steps of each environment between two updates: whole trainings, at least updateSteps in all environments.
        self.update_every = math.ceil(spec.update_steps / (total_envs * spec.train_every)) * spec.train_every
        self.steps = 0  # of each environment
        self.gradient_steps = 0
        self._noise = torch.zeros(0)
        self._noise_first = 0  # step of its first row
        self._learn_seconds = 0.0
        self._since = self._learned = 0  # steps and gradient steps since the last update

    # --- acting ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def act(self, features: Tensor, step: int) -> Tensor:
        """Explore; see Algorithm.act."""
        noise = self._noise_of(step)
        if step * self.total_envs < self.spec.learning_starts:
            return self.learner.random(noise).to(features.device)
        share = self.exploration.share(step * self.total_envs)
        return self.learner.explore(features.to(self.device), noise, share).to(features.device)

    def begin_stage(self, stage: int, step: int) -> None:
        """See ExploresByStage."""
        self.exploration.begin_stage(stage, step)

    def _noise_of(self, step: int) -> Tensor:
        if not self._noise_first <= step < self._noise_first + len(self._noise):
            self._noise_first = step
            self._noise = self.learner.noise(torch.arange(step, step + _NOISE_STEPS, device=self.device))
        return self._noise[step - self._noise_first]

    # --- learning -------------------------------------------------------------------------------------------------

    def observe(self, transition: Transition) -> None:
        """Keep one transition of every environment, and learn if it is time; see Algorithm.observe."""
        self.replay.add(transition)
        self.steps += 1
        self._since += 1
        if self.steps % self.spec.train_every == 0 and self._may_learn():
            self._train()

    def ready(self) -> bool:
        """Say whether an update is due."""
        return self._since == self.update_every

    def _may_learn(self) -> bool:
        """Say whether the random beginning is over and each rank has a batch."""
        begun = self.steps * self.total_envs
        return begun >= self.spec.learning_starts and begun >= self.spec.batch_size

    def _train(self) -> None:
        began = time.perf_counter()
        env_steps = self.steps * self.total_envs
        if self.spec.anneal_learning_rate:
            self.learner.set_learning_rate(self.spec.learning_rate * max(0.0, 1.0 - env_steps / self.total_steps))
        self.learner.begin_training(env_steps, env_steps - self.spec.train_every * self.total_envs)
        for batch in self.replay.batches(self.gradient_steps, self.spec.gradient_steps, self._beta(env_steps)):
            self.replay.learned(batch, self.learner.learn(batch, self.gradient_steps))
            self.gradient_steps += 1
            self._learned += 1
            self.beat()
        self._learn_seconds += time.perf_counter() - began

    def _beta(self, env_steps: int) -> float:
        """Importance weights correct fully at the end (Schaul et al. 2016, section 3.4)."""
        given: Prioritized | None = self.replay.spec.prioritized
        if given is None:
            return 0.0
        return given.beta + (1.0 - given.beta) * min(1.0, env_steps / self.total_steps)

    def update(self, next_features: Tensor, fraction_left: float) -> dict[str, float]:
        """Say what was learned since the last update; see Algorithm.update."""
        name = self.learner.name
        totals = self.group.sum_(self.learner.totals / (max(self._learned, 1) * self.group.world_size))
        *found, parameters = torch.cat((totals, self.learner.parameter_total()[None])).tolist()
        means = dict(zip(self.learner.statistics, found, strict=True))
        learned = f"within gradient steps {self.gradient_steps - self._learned + 1} to {self.gradient_steps}"
        refuse(means | {"the sum of the parameters": parameters}, learned)
        self.learner.scale.refuse_overflow()
        metrics = (means if self._learned else {}) | {
            f"{name}/gradient_steps": float(self._learned),
            "replay/transitions": float(self.replay.ring.held * self.total_envs),
            "time/learn_s": self._learn_seconds,
        }
        if self._explores:
            metrics[f"{name}/exploration"] = self.exploration.share(self.steps * self.total_envs)
        self.learner.totals.zero_()
        self._since, self._learned, self._learn_seconds = 0, 0, 0.0
        return metrics | self.learner.scale.metrics()

    @property
    def micro(self) -> MicroBatch:
        """See Algorithm.micro."""
        return self.learner.micro

    def rehearsal(self, rows: int) -> Callable[[], None]:
        """See Algorithm.rehearsal."""
        return self.learner.rehearsal(self.replay.blank(rows))

    def reseed(self, seed: int) -> None:
        """See Algorithm.reseed. What was drawn ahead is forgotten."""
        self.learner.seed = seed
        self.replay.reseed(seed)
        self._noise = self._noise[:0]

    def suspects(self) -> dict[str, Tensor]:
        """The replay, what was learned and the last gradients; see Algorithm.suspects."""
        ring = self.replay.ring
        kept = {name: column[: ring.held] for name, column in ring.columns.items()}
        actions = {"action": kept.pop("action")}
        return under(ENVIRONMENT, kept) | actions | self.learner.state() | gradients(self.learner.network)

    def policy(self) -> GreedyPolicy:
        """See Algorithm.policy."""
        return GreedyPolicy(self.learner.network)

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """See Algorithm.load_weights."""
        self.learner.load_weights(weights)

    def get_state(self) -> dict[str, Tensor]:
        """What was learned, and counters. Complete between an update and the next `observe`."""
        counters = {"steps": torch.tensor(self.steps), "gradient_steps": torch.tensor(self.gradient_steps)}
        counters |= under("loss_scale.", self.learner.scale.get_state())
        return {name: tensor.cpu() for name, tensor in self.learner.state().items()} | counters

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called; see Algorithm.set_state."""
        counters = {name: torch.tensor(0) for name in ("steps", "gradient_steps")}
        scale = self.learner.scale.get_state()
        restore(self.learner.state() | counters | under("loss_scale.", scale), state)
        if any(int(count) < 0 for count in counters.values()):
            raise ValueError("a counter of the algorithm is below 0")
        self.learner.scale.set_state(scale)
        self.steps, self.gradient_steps = int(counters["steps"]), int(counters["gradient_steps"])
        self._since = self._learned = 0
        self.learner.totals.zero_()

    def get_env_state(self) -> dict[str, Tensor]:
        """Nothing: the replay keeps what belongs to environments; see HasReplay."""
        return {}

    def set_env_state(self, state: dict[str, Tensor]) -> None:
        """See Algorithm.set_env_state."""
        restore({}, state)
