"""Ranks whose learning diverges once: a program for `gang.start`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headway.algos import dagger, offpolicy, ppo, pqn
from trainer_tests.parallel_tests import gang

ALGORITHMS = (ppo.PPO, pqn.PQN, dagger.DAgger, offpolicy.OffPolicyAlgorithm)


def train_a_rank(
    update: int, env: str, wire: dict[str, Any], folder: Path, attempt: int, killed_at: int, victim: int
) -> None:
    """As gang.train_a_rank, but that a weight is no number after update number `update` as long as draws are those of
    the run's own seed, 0."""
    for kind in ALGORITHMS:
        _break(kind, update)
    gang.train_a_rank(env, wire, folder, attempt, killed_at, victim)


def _break(kind: Any, update: int) -> None:
    learn = kind.update

    def broken(self: Any, next_features: Any, fraction_left: float) -> dict[str, float]:
        learner = getattr(self, "learner", self)
        made = self.steps // self.update_every if hasattr(self, "update_every") else self.updates + 1
        if made == update and learner.seed == 0:
            next(iter(learner.network.parameters())).data.view(-1)[0] = float("nan")
        return learn(self, next_features, fraction_left)

    kind.update = broken
