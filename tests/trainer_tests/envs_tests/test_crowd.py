import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.grid import obstacle_distance
from headway.envs.nav.step import world_of
from headway.envs.nav.vector import NavVectorEnv

CROWD = {"world": {"clutter": {"fill": 0.15, "walls": 1}}, "people": 8, "peopleSpeed": 1.0}
STAND = torch.tensor([[-1.0, 0.0]])


def present(env, i):
    people = env.arrays.people[i]
    return people[people[:, a.PERSON_X] > -1e5]


def test_people_never_touch_an_obstacle_and_always_get_somewhere(make_spec):
    env = NavVectorEnv(make_spec(CROWD, maxSteps=10000, robot={"footprint": {"disc": {"radiusMeters": 0.2}}}), 8)
    env.reset()
    travelled = np.zeros((8, 8))
    for _ in range(300):
        before, episode = env.arrays.people.copy(), env.arrays.count[:, a.EPISODE].copy()
        env.step(STAND.expand(8, 2))
        going_on = env.arrays.count[:, a.EPISODE] == episode
        moved = np.linalg.norm(env.arrays.people[..., :2] - before[..., :2], axis=2)
        travelled += np.where(going_on[:, None], moved, 0.0)
        assert moved[going_on].max(initial=0.0) <= 1.0 * 0.2 + 1e-5
        for i in range(8):
            for x, y, *_ in present(env, i):
                distance = (
                    obstacle_distance(
                        world_of(env.arrays, env.arrays.scenes[0], i), (x + 0.2) / 0.2, (y + 0.2) / 0.2, 5.0
                    )
                    * 0.2
                )
                assert distance >= a.PERSON_RADIUS - 1e-4
    # 60 s at 0.5 m/s and more, less the waits: nobody stands about.
    assert np.median(travelled) > 15.0


def test_people_begin_away_from_the_robot(make_spec):
    env = NavVectorEnv(make_spec(CROWD), 64)
    env.reset()
    apart = np.linalg.norm(env.arrays.people[..., :2] - env.arrays.robot[:, None, :2], axis=2)
    assert apart.min() >= 1.5 - 1e-5


def test_speeds_lie_between_half_of_the_limit_and_the_limit(make_spec):
    env = NavVectorEnv(make_spec(CROWD), 64)
    env.reset()
    speeds = np.concatenate([present(env, i)[:, a.PERSON_SPEED] for i in range(64)])
    assert speeds.min() >= 0.5
    assert speeds.max() <= 1.0
    assert speeds.mean() == pytest.approx(0.75, abs=0.05)


def test_the_lidar_sees_people_and_walking_into_the_robot_is_a_collision(make_spec):
    spec = make_spec(
        {"world": {"empty": {}}, "people": 1}, lidar={"beams": 4, "rangeMeters": 9.0}, scanStack=1, maxSteps=100
    )
    env = NavVectorEnv(spec, 1)
    env.reset()
    env.arrays.robot[0] = [5.0, 5.0, 0.0, 0.0, 0.0, 1.0, 1.0, 5.66, 0.0]
    env.arrays.people[0, 0] = [7.0, 5.0, 4.0, 5.0, 0.5]  # towards the robot and through it
    step = env.step(STAND)
    # After 0.2 s at 0.5 m/s the centre is 1.9 m ahead, the footprint 1.65 m.
    assert step.observation["observation"][0, a.POSE :].tolist() == pytest.approx([5.0, 5.0, 1.65, 5.0], abs=1e-4)
    steps = 1
    while not step.terminated:
        step = env.step(STAND)
        steps += 1
    assert bool(step.episodes.collision)
    assert steps == 16  # 2 m less two radii of 0.25 m is 1.5 m: exactly 15 steps touch, the 16th overlaps
