"""The newest outcomes of each environment in the current stage: what gates look at.

Only fresh episodes of the stage count: replays of earlier stages are of another task, and remembered levels (see
learnability) were chosen for being hard. The newest episodes of the whole vector would favour short ones: right after a
stage begins, quick crashes and quick successes end first and long episodes have not ended yet. So each environment
contributes an equal number of its own newest episodes (to within one), and a gate waits until every one of them has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headway.curriculum.gates import LARGEST_REWARD, MILLIONTHS, Counts, in_millionths
from headway.envs.protocol import EpisodeEnds


def fresh(ends: EpisodeEnds, stage: int) -> Tensor:
    """Say which of the ended episodes are of `stage`, on a level that nobody chose; bool [N]."""
    return ends.ended & (ends.stage == stage) & (ends.slot < 0)


class GateWindow:
    """This rank's environments' windows. `counts` of all ranks are added up."""

    def __init__(self, total_envs: int, offset: int, num_envs: int) -> None:
        self.env_index = torch.arange(offset, offset + num_envs)  # [N] global
        self.total_envs = total_envs
        self.begin(stage=0, episodes=0)

    def begin(self, stage: int, episodes: int) -> None:
        """Forget all and count episodes of `stage`; the windows of all ranks hold `episodes` together."""
        self.stage = stage
        # Environment i keeps one more than environment j > i where the episodes do not divide evenly.
        self.quota = (episodes + self.total_envs - 1 - self.env_index) // self.total_envs  # [N]
        shape = len(self.env_index), -(-episodes // self.total_envs)  # N, K
        self.success, self.collision = (torch.zeros(shape, dtype=torch.uint8) for _ in range(2))
        self.reward = torch.zeros(shape, dtype=torch.int64)  # [N, K] millionths
        self.ended = torch.zeros(len(self.env_index), dtype=torch.int64)  # [N] episodes of the stage so far

    def add(self, ends: EpisodeEnds) -> None:
        """Take in one step's ends."""
        rows = fresh(ends, self.stage).nonzero().squeeze(-1)
        kept = rows[self.quota[rows] > 0]
        place = kept, self.ended[kept] % self.quota[kept]
        self.success[place] = ends.success[kept].to(torch.uint8)
        self.collision[place] = ends.collision[kept].to(torch.uint8)
        self.reward[place] = in_millionths(ends.total_reward[kept])
        self.ended[rows] += 1

    def counts(self) -> Tensor:
        """This rank's share of the fields of `Counts`, int64 [5]."""
        episodes = torch.minimum(self.ended, self.quota).sum()
        sums = self.success.sum(), episodes, self.ended.sum(), self.collision.sum(), self.reward.sum()
        return torch.stack(sums)

    def get_state(self) -> dict[str, Tensor]:
        """The windows, each tensor with one row for each environment."""
        return {name: getattr(self, name) for name in ("success", "collision", "reward", "ended")}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called, after `begin`. Raises ValueError for what no episodes leave behind."""
        mine = self.get_state()
        for name, tensor in mine.items():
            if name not in state or state[name].shape != tensor.shape or state[name].dtype != tensor.dtype:
                raise ValueError(f"the gate's window {name!r} is missing or of another shape or type")
        largest = {"success": 1, "collision": 1, "reward": int(LARGEST_REWARD * MILLIONTHS)}
        unused = torch.arange(self.success.shape[1]) >= torch.minimum(state["ended"], self.quota)[:, None]  # [N, K]
        for name, limit in largest.items():
            least = -limit if name == "reward" else 0
            wrong = (state[name] < least) | (state[name] > limit) | (unused & (state[name] != 0))
            if bool(wrong.any()):
                raise ValueError(f"the gate's window {name!r} holds a number that no episode has")
        if bool((state["ended"] < 0).any()):
            raise ValueError("the gate's window 'ended' holds a negative count")
        for name, tensor in mine.items():
            tensor.copy_(state[name])


def to_counts(sums: Tensor) -> Counts:
    """Name the sums over ranks of `GateWindow.counts`."""
    return Counts(*sums.tolist())
