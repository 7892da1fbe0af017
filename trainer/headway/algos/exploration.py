"""How much an algorithm explores at a step: the spec's schedule, or the one of the present stage of the curriculum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from headway_api.offpolicy_spec import Exploration
from torch import Tensor


def share_at(schedule: Exploration, step: int) -> float:
    """What the share has fallen to, `step` environment steps after the schedule's beginning."""
    if step >= schedule.steps:
        return schedule.end
    return schedule.start + (schedule.end - schedule.start) * step / schedule.steps


def mostly(best: Tensor, noise: Tensor, share: float, choices: int) -> Tensor:
    """The best choices, int64 [N], but in `share` of the cases any.

    `noise` float64 [N] is uniform in (0, 1), and what of it lies below `share` is uniform there: it chooses, too.
    """
    if share == 0.0:
        return best
    any_of_all = (noise / share * choices).long().clamp_max(choices - 1)
    return torch.where(noise < share, any_of_all, best)


class StagedExploration:
    """The schedule by environment steps over all ranks. A stage's own begins where the stage does."""

    def __init__(self, schedule: Exploration, stages: Sequence[Exploration | None]) -> None:
        self.schedule, self.stages = schedule, stages
        self._of_stage: Exploration | None = None
        self._began = 0

    def begin_stage(self, stage: int, step: int) -> None:
        """Stage number `stage` has begun at environment step `step`."""
        self._of_stage, self._began = self.stages[stage], step

    def share(self, step: int) -> float:
        """At environment step `step` of the run."""
        if self._of_stage is None:
            return share_at(self.schedule, step)
        return share_at(self._of_stage, step - self._began)
