import math

import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.footprint import box_hit
from headway.envs.nav.reactive import FAR
from headway.envs.nav.vector import NavVectorEnv
from headway.envs.protocol import HasOthers

f32 = np.float32
EMPTY = {"world": {"empty": {"sizeMeters": 10.0}}, "robots": 1}
BUSY = {"world": {"clutter": {"fill": 0.08}}, "robots": 3, "people": 2, "minGoalMeters": 1.0}
STAND = torch.tensor([[-1.0, 0.0]])
BOX = {"footprint": {"rectangle": {"lengthMeters": 0.6, "widthMeters": 0.4}}}


def env_with(make_spec, other, levels=EMPTY, **nav):
    """The learner stands at (5, 5) looking along x; `other` is x, y, heading, speed and goal of another robot."""
    env = NavVectorEnv(make_spec(levels, lidar={"beams": 4, "rangeMeters": 9.0}, scanStack=1, **nav), 1)
    env.reset()
    env.arrays.robot[0] = [5.0, 5.0, 0.0, 0.0, 0.0, 1.0, 1.0, 5.66, 0.0]
    x, y, heading, speed, goal_x, goal_y = other
    env.arrays.others[0, 0] = [
        x,
        y,
        heading,
        speed,
        0,
        goal_x,
        goal_y,
        math.hypot(goal_x - x, goal_y - y),
        0,
        60,
        0,
        -1,
    ]
    return env


def scan(step):
    return step.observation["observation"][0, a.POSE :].tolist()  # behind, right, ahead, left


def test_the_lidar_sees_other_robots(make_spec):
    env = env_with(make_spec, (8.0, 5.0, 1.0, 0.0, 2.0, 2.0))
    env.arrays.others[0, 0, a.HIT] = 1.0  # so that it stands
    assert scan(env.step(STAND)) == pytest.approx([5.0, 5.0, 2.75, 5.0], abs=1e-4)
    env = env_with(make_spec, (8.0, 5.0, math.pi / 2, 0.0, 2.0, 2.0), robot=BOX)  # its broad side: 0.2 m
    env.arrays.others[0, 0, a.HIT] = 1.0
    assert scan(env.step(STAND)) == pytest.approx([5.0, 5.0, 2.8, 5.0], abs=1e-4)


@pytest.mark.parametrize(("angle", "expected"), [(0.0, 1.7), (math.pi / 2, 1.8), (math.pi / 4, 2 - 0.2 * math.sqrt(2))])
def test_rays_meet_boxes_where_geometry_says(angle, expected):
    cos, sin = f32(math.cos(angle)), f32(math.sin(angle))
    assert box_hit(f32(2), f32(0), cos, sin, f32(0.3), f32(0.2), f32(1), f32(0)) == pytest.approx(expected, abs=1e-5)
    assert box_hit(f32(2), f32(0), cos, sin, f32(0.3), f32(0.2), f32(-1), f32(0)) == math.inf
    assert box_hit(f32(0.1), f32(0.1), cos, sin, f32(0.3), f32(0.2), f32(1), f32(0)) == 0


def test_a_robot_that_drives_into_the_learner_ends_its_episode_at_the_exact_step(make_spec):
    # Driven by a policy that always goes on: 1 m/s from 7 m; 2 m less two radii of 0.25 m is 1.5 m: the 8th of 0.2 m.
    env = env_with(make_spec, (7.0, 5.0, math.pi, 1.0, 1.0, 5.0), others="self")
    env.drive_others(lambda features, begins: torch.tensor([[1.0, 0.0]]))
    ends = [bool(env.step(STAND).episodes.collision) for _ in range(8)]
    assert ends == [False] * 7 + [True]


def test_the_simple_rule_drives_around_the_learner_and_takes_a_new_goal(make_spec):
    env = env_with(make_spec, (8.0, 5.1, math.pi, 0.0, 2.0, 5.0), maxSteps=1000)
    for _ in range(80):
        assert not bool(env.step(STAND).episodes.collision)
        if env.arrays.trips[0, 0] > 1:  # the reset has drawn once
            break
    assert math.hypot(env.arrays.others[0, 0, a.X] - 2.0, env.arrays.others[0, 0, a.Y] - 5.0) <= 0.35
    assert env.arrays.others[0, 0, a.GOAL_X : a.GOAL_Y + 1].tolist() != [2.0, 5.0]


def test_who_hits_a_wall_stands_for_three_seconds_and_is_put_elsewhere(make_spec):
    env = env_with(make_spec, (9.5, 8.0, 0.0, 1.0, 1.0, 8.0), others="self", maxSteps=1000)
    env.drive_others(lambda features, begins: torch.tensor([[1.0, 0.0]]))
    xs = []
    for _ in range(16):
        env.step(STAND)
        xs.append(float(env.arrays.others[0, 0, a.X]))
    assert 9.6 < xs[1] <= 9.75 + 1e-5  # the wall at 10 m less the radius
    assert xs[1:15] == [xs[1]] * 14  # hit in the second step; 3 s are 15 steps, that one among them
    assert math.hypot(xs[15] - 5.0, float(env.arrays.others[0, 0, a.Y]) - 5.0) >= 1.5
    assert xs[15] != xs[1]


@pytest.mark.parametrize("robot", [{}, BOX], ids=["disc", "rectangle"])
def test_robots_never_overlap_walls_or_one_another(make_spec, robot):
    env = NavVectorEnv(make_spec(BUSY | {"people": 0, "robots": 4}, robot=robot, maxSteps=10000), 4)
    env.reset()
    before, moved = env.arrays.others.copy(), 0.0
    for _ in range(200):
        env.step(STAND.expand(4, 2))
        others = env.arrays.others
        place = others[..., : a.Y + 1]
        apart = np.linalg.norm(place[:, :, None] - place[:, None], axis=-1) + 9 * np.eye(4)
        least = 0.4 if robot else 0.5  # twice the inner radius
        assert apart[np.isfinite(apart)].min() >= least - 1e-4
        moved += np.abs(place - before[..., : a.Y + 1]).clip(0, 0.3).sum()
        before = others.copy()
    assert moved > 100.0  # 16 robots for 40 s
    assert env.arrays.trips.sum() > 30  # goals are reached


def test_a_policy_drives_the_others_with_what_a_learner_would_see(make_spec):
    env = env_with(make_spec, (8.0, 5.0, math.pi, 0.0, 2.0, 5.0), others="self")
    seen = []

    def policy(features, begins):
        seen.append((features.clone(), begins.clone()))
        return torch.tensor([[1.0, 0.0]])

    env.drive_others(policy)
    env.step(STAND)
    env.step(STAND)
    assert float(env.arrays.others[0, 0, a.SPEED]) == pytest.approx(0.8)  # two steps at 2 m/s^2
    features = seen[1][0][0]
    # Its observation after the first step: 7.92 m, looking back at the learner, whose footprint is 2.67 m ahead.
    assert features[2:5].tolist() == pytest.approx([1.0, 0.0, 0.4], abs=1e-3)  # bearing of the goal, speed
    ahead = 2.0 / (1.0 + 7.92 - 5.25 - 0.25) - 1.0
    assert float(features[8]) == pytest.approx(ahead, abs=1e-3)
    assert seen[0][1].tolist() == [False]


def test_without_a_policy_self_falls_back_to_the_simple_rule(make_spec):
    left, right = (NavVectorEnv(make_spec(BUSY, others=others), 4) for others in ("self", "goStraight"))
    assert isinstance(left, HasOthers)  # by this the session and the evaluation know that it takes a driver
    for env in (left, right):
        env.reset()
        env.drive_others(lambda features, begins: torch.zeros(12, 2)) if env is right else None
        for _ in range(20):
            env.step(STAND.expand(4, 2))
    assert np.array_equal(left.arrays.others, right.arrays.others)


@pytest.mark.parametrize("others", ["self", "goStraight"])
def test_any_split_over_ranks_and_a_resume_see_the_same_robots(make_spec, others):
    noise = {"latencySteps": 2, "slip": 0.05, "scanNoiseMeters": 0.02}
    spec = make_spec(BUSY, others=others, randomization=noise, maxSteps=25)

    def driven(envs):
        for env in envs:
            env.drive_others(lambda features, begins: (features[:, 2:4] * 2 - 0.5).clamp(-1, 1))
            env.reset()
        return envs

    (whole,), halves = driven([NavVectorEnv(spec, 8)]), driven([NavVectorEnv(spec, 4, offset) for offset in (0, 4)])
    for k in range(60):
        action = torch.rand((8, 2), generator=torch.Generator().manual_seed(k)) * 2 - 1
        seen = whole.step(action).observation["observation"].clone()
        parts = [env.step(part).observation["observation"] for env, part in zip(halves, action.chunk(2), strict=True)]
        assert torch.equal(seen, torch.cat(parts))
        if k == 30:
            state = {name: tensor.clone() for name, tensor in whole.get_state().items()}
            (whole,) = driven([NavVectorEnv(spec, 8)])
            whole.set_state(state)
    assert whole.arrays.trips.max() > 1


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("others", (0, 0, a.X), 1e5),
        ("others", (0, 1, a.SPEED), 9.0),
        ("others", (0, 0, a.SINCE), 1e9),
        ("trips", (0, 0), -1),
    ],
)
def test_robots_that_no_episode_can_have_are_refused(make_spec, name, place, value):
    env = NavVectorEnv(make_spec(BUSY), 2)
    env.reset()
    state = env.get_state()
    assert (state["others"][..., a.X] > FAR).all()
    state[name][place] = value
    with pytest.raises(ValueError, match="environment state"):
        env.set_state(state)


def test_robots_begin_away_from_everybody(make_spec):
    env = NavVectorEnv(make_spec(BUSY), 64)
    env.reset()
    place = env.arrays.others[..., : a.Y + 1]
    there = place[..., 0] > FAR
    assert there.mean() > 0.95
    assert np.linalg.norm(place - env.arrays.robot[:, None, : a.Y + 1], axis=-1)[there].min() >= 1.75 - 1e-5


def test_worlds_without_other_robots_hold_no_room_for_them(make_spec):
    arrays = NavVectorEnv(make_spec({"world": {"empty": {}}}, others="self"), 8).arrays
    assert arrays.others.size == arrays.trips.size == arrays.other_observation.size == 0
