"""What the fresh episodes that ended since the last update were like, summed over ranks."""

from __future__ import annotations

import torch

from headway.curriculum import fresh
from headway.curriculum.gates import MILLIONTHS, in_millionths
from headway.envs.protocol import EpisodeEnds
from headway.parallel import Group


class EpisodeSums:
    """Sums over fresh episodes of one stage, in whole numbers: they do not depend on the order."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin a new count."""
        self.counts = torch.zeros(5, dtype=torch.int64)  # episodes, successes, collisions, steps, millionths of reward

    def add(self, ends: EpisodeEnds, stage: int) -> None:
        """Count the ends of one step, of fresh episodes of `stage`."""
        rows = fresh(ends, stage)
        reward = in_millionths(ends.total_reward)
        facts = torch.stack((rows.long(), ends.success.long(), ends.collision.long(), ends.length, reward))  # [5, N]
        self.counts += (facts * rows).sum(1)

    def metrics(self, group: Group) -> dict[str, float]:
        """Rates and means over all ranks; without the rates where no episode ended."""
        episodes, successes, collisions, steps, reward = group.sum_(self.counts).tolist()
        self.clear()
        if episodes == 0:
            return {"episodes/count": 0.0}
        return {
            "episodes/count": float(episodes),
            "episodes/success_rate": successes / episodes,
            "episodes/collision_rate": collisions / episodes,
            "episodes/timeout_rate": (episodes - successes - collisions) / episodes,
            "episodes/reward": reward / (episodes * MILLIONTHS),
            "episodes/steps": steps / episodes,
        }
