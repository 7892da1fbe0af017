import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.grid import obstacle_distance
from headway.envs.nav.step import world_of
from headway.envs.nav.vector import NavVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

MODELS = ["straight", "socialForce", "orca"]
CROWD = {"world": {"clutter": {"fill": 0.15, "walls": 1}}, "people": 8, "peopleSpeed": 1.0}
STAND = torch.tensor([[-1.0, 0.0]])


def present(env, i):
    people = env.arrays.people[i]
    return people[people[:, a.PERSON_X] > -1e5]


@pytest.mark.parametrize("model", MODELS)
def test_people_never_touch_an_obstacle_and_always_get_somewhere(make_spec, model):
    crowd = CROWD | {"peopleModel": model, "peopleYield": 0.5}
    env = NavVectorEnv(make_spec(crowd, maxSteps=10000, robot={"footprint": {"disc": {"radiusMeters": 0.2}}}), 8)
    env.reset()
    travelled = np.zeros((8, 8))
    for _ in range(300):
        before, episode = env.arrays.people.copy(), env.arrays.count[:, a.EPISODE].copy()
        env.step(STAND.expand(8, 2))
        going_on = env.arrays.count[:, a.EPISODE] == episode
        moved = np.linalg.norm(env.arrays.people[..., :2] - before[..., :2], axis=2)
        travelled += np.where(going_on[:, None], moved, 0.0)
        top = 1.3 if model == "socialForce" else 1.0
        assert moved[going_on].max(initial=0.0) <= top * 0.2 + 1e-5
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


@settings(max_examples=10)
@given(seed=st.integers(0, 2**31 - 1), model=st.sampled_from(MODELS))
def test_nobody_begins_in_a_wall_a_robot_or_the_goal(make_spec, seed, model):
    crowd = CROWD | {"peopleModel": model, "robots": 2}
    env = NavVectorEnv(make_spec(crowd, seed=seed, maxSteps=10000), 16)
    env.reset()
    scene = env.arrays.scenes[0]
    for i in range(16):
        robots = env.arrays.others[i][env.arrays.others[i, :, a.X] > -1e5]
        place = present(env, i)[:, : a.PERSON_Y + 1]
        assert (
            np.linalg.norm(place - env.arrays.robot[i, a.GOAL_X : a.GOAL_Y + 1], axis=1).min(initial=9.0)
            >= 0.25 + 0.35 - 1e-5
        )
        apart = np.linalg.norm(place[:, None] - robots[:, : a.Y + 1], axis=2)
        assert apart.min(initial=9.0) >= a.PERSON_RADIUS + 0.25
        for x, y in place:
            px, py = (x - scene["origin_x"]) / scene["cell"], (y - scene["origin_y"]) / scene["cell"]
            free = obstacle_distance(world_of(env.arrays, scene, i), px, py, 5.0) * scene["cell"]
            assert free >= a.PERSON_RADIUS - 1e-4


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
    env.arrays.people[0, 0] = [7.0, 5.0, 4.0, 5.0, 0.5, 0.0, 0.0, 0.0, 0.0]  # towards the robot and through it
    step = env.step(STAND)
    # After 0.2 s at 0.5 m/s the centre is 1.9 m ahead, the footprint 1.65 m.
    assert step.observation["observation"][0, a.POSE :].tolist() == pytest.approx([5.0, 5.0, 1.65, 5.0], abs=1e-4)
    steps = 1
    while not step.terminated:
        step = env.step(STAND)
        steps += 1
    assert bool(step.episodes.collision)
    assert steps == 16  # 2 m less two radii of 0.25 m is 1.5 m: exactly 15 steps touch, the 16th overlaps


def crossing(make_spec, model):
    """Eight people on a circle of 3 m, each on the way to the other side; the positions of each step, [T, 8, 2]."""
    levels = {"world": {"empty": {"sizeMeters": 12.0}}, "people": 8, "peopleSpeed": 1.0, "peopleModel": model}
    env = NavVectorEnv(make_spec(levels, maxSteps=10000), 1)
    env.reset()
    env.arrays.robot[0, : a.Y + 1] = 1.0  # out of the way, in a corner
    angle = 2 * np.pi * np.arange(8) / 8 + 0.02 * np.arange(8)  # no perfect symmetry: nobody could decide
    circle = 3.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    people = env.arrays.people[0]
    people[:, : a.PERSON_Y + 1], people[:, a.TARGET_X : a.TARGET_Y + 1] = 6.0 + circle, 6.0 - circle
    people[:, a.PERSON_SPEED], people[:, a.PERSON_PATIENCE] = 0.8, 60.0
    targets, arrived, seen = people[:, a.TARGET_X : a.TARGET_Y + 1].copy(), np.zeros(8, bool), []
    while not arrived.all() and len(seen) < 150:
        env.step(STAND)
        seen.append(people[:, : a.PERSON_Y + 1].copy())
        arrived |= np.linalg.norm(seen[-1] - targets, axis=1) < 0.3
    return np.array(seen), arrived


def nearest(seen):
    """Smallest distance between two centres over all steps."""
    apart = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1) + 9.0 * np.eye(8)
    return apart.min()


def test_eight_who_cross_by_orca_do_not_touch_and_all_arrive(make_spec):
    seen, arrived = crossing(make_spec, "orca")
    assert nearest(seen) >= 2 * a.PERSON_RADIUS
    assert arrived.all()
    straight, _ = crossing(make_spec, "straight")
    assert nearest(straight) < 0.2  # who does not look, walks through


@settings(max_examples=10)
@given(aside=st.floats(-0.2, 0.2), speed=st.floats(0.4, 1.0), other=st.floats(0.4, 1.0))
def test_two_who_meet_head_on_by_orca_pass_without_touching(make_spec, aside, speed, other):
    levels = {"world": {"empty": {"sizeMeters": 12.0}}, "people": 2, "peopleModel": "orca"}
    env = NavVectorEnv(make_spec(levels, maxSteps=10000), 1)
    env.reset()
    env.arrays.robot[0, : a.Y + 1] = 1.0  # in a corner
    people = env.arrays.people[0]
    people[0] = [3.0, 6.0, 9.0, 6.0, speed, 0.0, 0.0, 0.0, 60.0]
    people[1] = [9.0, 6.0 + aside, 3.0, 6.0 + aside, other, 0.0, 0.0, 0.0, 60.0]
    least = 9.0
    for _ in range(60):
        env.step(STAND)
        least = min(least, float(np.linalg.norm(people[0, : a.PERSON_Y + 1] - people[1, : a.PERSON_Y + 1])))
        if people[0, a.PERSON_X] > people[1, a.PERSON_X] + 0.5:
            break
    assert least >= 2 * a.PERSON_RADIUS
    assert people[0, a.PERSON_X] > people[1, a.PERSON_X] + 0.5  # and they do pass


@pytest.mark.parametrize("model", ["socialForce", "orca"])
def test_only_who_yields_walks_around_a_robot(make_spec, model):
    ways = {}
    for share in (0.0, 1.0):
        levels = {"world": {"empty": {}}, "people": 1, "peopleModel": model, "peopleYield": share}
        env = NavVectorEnv(make_spec(levels), 1)
        env.reset()
        env.arrays.robot[0] = [5.0, 5.0, 0.0, 0.0, 0.0, 1.0, 1.0, 5.66, 0.0]
        env.arrays.people[0, 0] = [7.0, 5.25, 3.0, 5.25, 0.6, 0.0, 0.0, share, 60.0]
        for _ in range(40):
            hit = bool(env.step(STAND).episodes.collision)
            if hit or env.arrays.people[0, 0, a.PERSON_X] < 4.4:
                break
        ways[share] = hit
    assert ways == {0.0: True, 1.0: False}


def test_the_share_who_yields_is_drawn_for_each_person(make_spec):
    env = NavVectorEnv(make_spec(CROWD | {"peopleModel": "orca", "peopleYield": 0.3}), 64)
    env.reset()
    yields = np.concatenate([present(env, i)[:, a.PERSON_YIELDS] for i in range(64)])
    assert set(yields) == {0.0, 1.0}
    assert yields.mean() == pytest.approx(0.3, abs=0.08)
