"""What of a step of headway/Nav-v0 depends on the goal: progress, and the bonus and the end of who arrives.

Places are [..., 2], in metres; all is computed in their type and on their device.
"""

from __future__ import annotations

from typing import NamedTuple

from headway_api.nav_spec import NavEnv
from torch import Tensor


class NavJudge(NamedTuple):
    """See `envs.protocol.Judge`: in float32 as the kernel, on any device."""

    nav: NavEnv

    def __call__(self, before: Tensor, achieved: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward float32 [B] and termination bool [B]; `before`, `achieved`, `goal` float32 [B, 2]."""
        arrived = reached(self.nav, achieved, goal)
        return progress(self.nav, before, achieved, goal) + self.nav.reward.goal * arrived, arrived


def progress(nav: NavEnv, before: Tensor, achieved: Tensor, goal: Tensor) -> Tensor:
    """Reward [...] of having come nearer to the goal, from `before` to `achieved`."""
    return nav.reward.progress * (_distance(before, goal) - _distance(achieved, goal))


def reached(nav: NavEnv, achieved: Tensor, goal: Tensor) -> Tensor:
    """Whether a place is within the goal's radius, bool [...]; the rim counts."""
    return _distance(achieved, goal) <= nav.goal_radius_meters


def _distance(left: Tensor, right: Tensor) -> Tensor:
    return (left - right).square().sum(-1).sqrt()  # rounded as in the kernel's `move`
