"""From an observation to the network's input: the goal enters here and only here, so goals can be relabelled."""

from __future__ import annotations

import torch
from headway_api.nav_spec import NavEnv
from torch import Tensor

from headway.envs.nav.arrays import POSE, beam_angles
from headway.envs.protocol import FeatureLayout

GOAL_FEATURES = 4
HALF_METERS = 1.0  # distance from the footprint at which a beam's feature is half of its value at contact
CHANGE_GAIN = 4.0  # changes between scans are small; this brings them near the scale of the rest


class Features:
    """Pure function of the rows given; the same on any device.

    Columns: goal distance near (1 at the goal, half at 1 m) and far (share of 10 m), cosine and sine of the goal's
    bearing, forward speed and turn rate as shares of their limits, then the newest scan and, for each older one, what
    changed since beyond what the robot's own motion explains: near zero where the world stands still, so that people
    who move stand out. A scan's distances d enter as 1 / (1 + d): most of the resolution lies near obstacles.
    """

    def __init__(self, nav: NavEnv) -> None:
        self._beams = nav.lidar.beams
        self._stack = nav.scan_stack
        self._radius = nav.robot.footprint.inner_radius
        self._limits = (nav.robot.max_speed, nav.robot.max_turn_rate)
        self.step_seconds = nav.step_seconds
        self._range = nav.lidar.range_meters
        angles = beam_angles(nav)
        self._cos = torch.from_numpy(angles).cos().float()  # [B]
        self._spacing = float(angles[1] - angles[0])
        self._wraps = nav.lidar.field_of_view_degrees == 360.0
        self.layout = FeatureLayout(GOAL_FEATURES + 2, self._stack, self._beams, self._wraps)

    def __call__(self, observation: dict[str, Tensor]) -> Tensor:
        """Float32 [N, F] from observation [N, O], achieved_goal [N, 2] and desired_goal [N, 2]."""
        rows = observation["observation"]
        out = torch.empty((rows.shape[0], self.layout.size), dtype=torch.float32, device=rows.device)
        delta = observation["desired_goal"] - observation["achieved_goal"]
        distance = torch.linalg.vector_norm(delta, dim=1).clamp_min(1e-6)
        cos_h, sin_h = rows[:, 2], rows[:, 3]
        out[:, 0] = 1.0 / (1.0 + distance)
        out[:, 1] = (distance / 10.0).clamp_max(2.0)
        out[:, 2] = (delta[:, 0] * cos_h + delta[:, 1] * sin_h) / distance
        out[:, 3] = (delta[:, 1] * cos_h - delta[:, 0] * sin_h) / distance
        out[:, 4] = rows[:, 4] / self._limits[0]
        out[:, 5] = rows[:, 5] / self._limits[1]
        newest = self._near(rows[:, POSE : POSE + self._beams])
        out[:, 6 : 6 + self._beams] = 2.0 * newest - 1.0
        for age in range(1, self._stack):
            block = slice(age * self._beams, (age + 1) * self._beams)
            expected = self._near(self._carried_on(rows[:, POSE + block.start : POSE + block.stop], rows, age))
            out[:, 6 + block.start : 6 + block.stop] = CHANGE_GAIN * (newest - expected)
        return out

    def _near(self, distance: Tensor) -> Tensor:
        return HALF_METERS / (HALF_METERS + (distance - self._radius).clamp_min(0.0))

    def _carried_on(self, scan: Tensor, rows: Tensor, age: int) -> Tensor:
        """Where a world that stands still would be seen now, [N, B], by the scan of `age` steps ago.

        Exact to first order for velocities that have not changed since: what is d away at angle a comes
        v t cos(a) nearer, and beam a looks where beam a + w t looked.
        """
        seconds = age * self.step_seconds
        shift = rows[:, 5] * (seconds / self._spacing)  # [N] beams
        low = shift.floor()
        index = torch.arange(self._beams, device=rows.device) + low.long()[:, None]  # [N, B]
        weight = (shift - low)[:, None]
        turned = torch.lerp(scan.gather(1, self._inside(index)), scan.gather(1, self._inside(index + 1)), weight)
        moved = turned - rows[:, 4:5] * seconds * self._cos.to(rows.device)
        return torch.where(turned < self._range, moved, turned)  # beyond the range nothing is known

    def _inside(self, index: Tensor) -> Tensor:
        return index % self._beams if self._wraps else index.clamp(0, self._beams - 1)
