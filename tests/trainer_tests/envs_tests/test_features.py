"""What the network sees of older scans: only what the robot's own motion does not explain."""

import math

import pytest
import torch
from headway.envs.nav.features import CHANGE_GAIN, Features
from headway_api.nav_spec import NavEnv

BEAMS = 8  # 45 degrees apart; beam 0 looks back, beam 4 ahead
NAV = NavEnv.model_validate({"lidar": {"beams": BEAMS}, "scanStack": 2, "robot": {"maxTurnRate": 5.0}})
OLDER = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]


def change(newest, older=OLDER, speed=0.0, turn_rate=0.0):
    """The columns of the older scan, [B], for a robot at the origin that heads along x."""
    row = torch.tensor([[0.0, 0.0, 1.0, 0.0, speed, turn_rate, *newest, *older]])
    goal = torch.tensor([[3.0, 4.0]])
    features = Features(NAV)({"observation": row, "achieved_goal": row[:, :2], "desired_goal": goal})
    assert features.shape == (1, 4 + 2 + 2 * BEAMS)
    return features[0, 6 + BEAMS :]


def test_a_robot_that_stands_in_a_world_that_stands_sees_no_change():
    assert change(OLDER).abs().max() == 0.0


def test_a_turn_by_one_beam_is_no_change():
    # 45 degrees in 0.2 s, to the left: beam i looks where beam i + 1 looked.
    turned = [*OLDER[1:], OLDER[0]]
    assert change(turned, turn_rate=math.pi / 4 / 0.2).abs().max() < 1e-5


def test_driving_towards_a_wall_is_no_change_and_a_person_who_comes_nearer_is():
    # 1 m/s for 0.2 s: ahead 0.2 m nearer, behind farther, aside the same, cos(45 degrees) of it between.
    moved = [d - 0.2 * math.cos(-math.pi + i * math.pi / 4) for i, d in enumerate(OLDER)]
    assert change(moved, speed=1.0).abs().max() < 1e-5
    moved[4] -= 0.1  # 2.8 m expected ahead, 2.7 m seen; the footprint's radius is 0.25 m
    expected = CHANGE_GAIN * (1 / (1 + 2.7 - 0.25) - 1 / (1 + 2.8 - 0.25))
    result = change(moved, speed=1.0)
    assert result[4].item() == pytest.approx(expected, rel=1e-4)
    assert result[[0, 1, 2, 3, 5, 6, 7]].abs().max() < 1e-5


def test_beyond_the_range_nothing_is_expected_to_come_nearer():
    nothing = [5.0] * BEAMS
    assert change(nothing, nothing, speed=1.0).abs().max() == 0.0
