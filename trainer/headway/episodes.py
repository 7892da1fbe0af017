"""What the episodes that ended since the last update were like, summed over ranks."""

from __future__ import annotations

import torch

from headway.envs.protocol import EpisodeEnds
from headway.parallel import Group


class EpisodeSums:
    """Sums over episodes of one stage; integers apart from rewards, so that they do not depend on the order."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin a new count."""
        self.counts = torch.zeros(4, dtype=torch.int64)  # episodes, successes, collisions, steps
        self.reward = torch.zeros(1, dtype=torch.float64)

    def add(self, ends: EpisodeEnds, stage: int) -> None:
        """Count the ends of one step, of episodes that began in `stage`."""
        rows = ends.ended & (ends.stage == stage)
        facts = torch.stack((rows.long(), ends.success.long(), ends.collision.long(), ends.length))  # [4, N]
        self.counts += (facts * rows).sum(1)
        self.reward += torch.where(rows, ends.total_reward, 0.0).sum(dtype=torch.float64)

    def metrics(self, group: Group) -> dict[str, float]:
        """Rates and means over all ranks; without the rates where no episode ended."""
        episodes, successes, collisions, steps = group.sum_(self.counts).tolist()
        reward = float(group.sum_(self.reward))
        self.clear()
        if episodes == 0:
            return {"episodes/count": 0.0}
        return {
            "episodes/count": float(episodes),
            "episodes/success_rate": successes / episodes,
            "episodes/collision_rate": collisions / episodes,
            "episodes/timeout_rate": (episodes - successes - collisions) / episodes,
            "episodes/reward": reward / episodes,
            "episodes/steps": steps / episodes,
        }
