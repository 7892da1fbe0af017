import numpy as np
import pytest
import torch
from headway.envs.foreign.features import make_features
from headway.envs.foreign.irsim import IrSimEnv
from headway.envs.foreign.irsim_world import rectangles
from headway.envs.foreign.spaces import Sizes
from headway.envs.foreign.vector import GymVectorEnv
from headway.envs.nav.features import Features
from headway.envs.nav.gym_env import NavGymEnv
from headway.envs.nav.vector import NavVectorEnv
from headway.envs.presets import preset
from headway.errors import SpecError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from trainer_tests.envs_tests.conftest import build_spec
from trainer_tests.envs_tests.foreign_specs import gym_spec

NAV = {"lidar": {"beams": 16}, "scanStack": 2, "maxSteps": 40}
LEVELS = {"world": {"clutter": {"sizeMeters": 6.0, "fill": 0.1}}}


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_rectangles_cover_each_occupied_cell_once(occupied):
    covered = np.zeros(occupied.shape, np.int64)
    for y, x, along, across in rectangles(occupied):
        covered[y : y + along, x : x + across] += 1
    np.testing.assert_array_equal(covered, occupied.astype(np.int64))


@pytest.mark.slow
def test_both_simulators_see_the_same_level_and_drive_alike():
    theirs, ours = IrSimEnv(NAV, LEVELS), NavGymEnv(NAV, LEVELS)
    for seed in (0, 1):
        left, right = theirs.reset(seed=seed)[0], ours.reset(seed=seed)[0]
        for name in left:  # two ray-casters that know nothing of each other
            np.testing.assert_allclose(left[name], right[name], atol=1e-5)
        assert theirs.observation_space.contains(left)
    # Turning on the spot: ir-sim reaches the turn rate within the first step, ours at its beginning.
    for _ in range(3):
        left, right = (env.step(np.array([-1.0, 0.5], np.float32))[0]["observation"] for env in (theirs, ours))
    np.testing.assert_allclose(left[:2], right[:2], atol=1e-6)
    np.testing.assert_allclose(left[4:6], [0.0, 0.75], atol=1e-6)
    np.testing.assert_allclose(left[4:6], right[4:6], atol=1e-6)


WORLDS = [
    {"empty": {"sizeMeters": 6.0}},
    {"clutter": {"fill": 0.15, "walls": 1}},
    {"cells": {"fill": 0.3}},
    {"polygons": {"sizeMeters": 10.0, "count": 14}},
    {"rooms": {"sizeMeters": 12.0}},
    {"automaton": {}},
]


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: next(iter(world)))
@pytest.mark.parametrize("lidar", [{"beams": 90}, {"beams": 31, "fieldOfViewDegrees": 200.0, "rangeMeters": 3.0}])
def test_scans_of_all_kinds_of_worlds_and_of_people_agree_to_two_millimetres(world, lidar):
    nav, levels = {"lidar": lidar, "scanStack": 1}, {"world": world, "people": 5}
    theirs, ours = IrSimEnv(nav, levels), NavGymEnv(nav, levels)
    longer = []
    for seed in range(4):
        left, right = (env.reset(seed=seed)[0]["observation"] for env in (theirs, ours))
        np.testing.assert_allclose(left[:6], right[:6], atol=1e-6)
        assert len(left) == 6 + lidar["beams"]
        longer.append(left[6:] - right[6:])
    # Its circles are polygons of 64 sides inside ours: a beam that just passes one there may have met ours.
    assert np.min(longer) > -1e-4
    assert np.mean(np.array(longer) < 2e-3) > 0.985
    assert np.ptp(right[6:]) > 0.5  # there is something to see


@pytest.mark.slow
@pytest.mark.parametrize(
    "footprint", [{"disc": {"radiusMeters": 0.3}}, {"rectangle": {"lengthMeters": 0.8, "widthMeters": 0.3}}]
)
def test_both_end_at_the_same_place_before_a_wall_and_after_as_many_steps(footprint):
    nav = {"robot": {"footprint": footprint}, "lidar": {"beams": 8}}
    levels = {"world": {"empty": {"sizeMeters": 6.0}}, "minGoalMeters": 5.0}
    for seed in range(3):
        ends = []
        for env in (IrSimEnv(nav, levels), NavGymEnv(nav, levels)):
            env.reset(seed=seed)
            terminated, steps = False, 0
            while not terminated:
                seen, _, terminated, _, info = env.step(np.array([1.0, 0.0], np.float32))
                steps += 1
            ends.append((*seen["observation"][:2], steps, info["is_success"], info["is_collision"]))
        left, right = np.array(ends)
        # Ours looks every half radius of the way and has its speed at once, ir-sim every 0.05 s, accelerating.
        np.testing.assert_allclose(left[:2], right[:2], atol=0.2)
        assert abs(left[2] - right[2]) <= 1
        assert (left[3:] == right[3:]).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["straight", "socialForce", "orca"])
def test_people_walk_there_as_they_do_here(model):
    levels = {"world": {"clutter": {"fill": 0.05}}, "people": 4, "peopleModel": model, "minGoalMeters": 6.0}
    theirs, ours = IrSimEnv(NAV, levels), NavGymEnv(NAV, levels)
    theirs.reset(seed=3)
    ours.reset(seed=3)
    begun = ours.level().people
    for _ in range(12):  # turning on the spot, so that both robots stand at the same place
        action = np.array([-1.0, 0.4], np.float32)
        _, reward, terminated, *_ = theirs.step(action)
        _, same, ended, *_ = ours.step(action)
        assert not terminated and not ended
        places = [person.state[:2, 0] for person in theirs._people]
        np.testing.assert_allclose(places, ours.level().people, atol=1e-4)
        assert reward == pytest.approx(same, abs=1e-4)
    assert np.linalg.norm(ours.level().people - begun, axis=1).max() > 0.5


@pytest.mark.slow
def test_every_term_of_the_reward_is_the_same_beside_a_wall():
    terms = {"near": -0.3, "nearMeters": 0.6, "smoothness": -0.1, "proximity": -0.2, "proximityMeters": 0.5}
    levels = {"world": {"polygons": {"sizeMeters": 6.0, "count": 8}}}
    theirs, ours = IrSimEnv(NAV | {"reward": terms}, levels), NavGymEnv(NAV | {"reward": terms}, levels)
    rewards = []
    for seed in range(30):
        for env in (theirs, ours):
            env.reset(seed=seed)
        for k in range(3):
            action = np.array([-1.0, (-1) ** k * 0.5], np.float32)
            rewards.append((theirs.step(action)[1], ours.step(action)[1]))
    left, right = np.array(rewards).T
    np.testing.assert_allclose(left, right, atol=1e-3)
    assert (right < -0.3).any() and len(set(np.round(right, 3))) > 10


@pytest.mark.slow
def test_a_drive_into_a_wall_and_one_to_the_goal_end_as_in_ours():
    empty = {"world": {"empty": {"sizeMeters": 5.0}}}
    env = IrSimEnv(NAV | {"maxSteps": 300, "goalRadiusMeters": 0.1}, empty)
    env.reset(seed=2)
    ends = [env.step(np.array([1.0, 0.0], np.float32)) for _ in range(60)]
    last = next(end for end in ends if end[2])
    assert last[4] == {"is_success": False, "is_collision": True}
    assert last[1] < -1.5
    env.reset(seed=2)
    for _ in range(200):  # to the goal by its bearing
        seen = env._observation()
        delta, (cos, sin) = seen["desired_goal"] - seen["achieved_goal"], seen["observation"][2:4]
        bearing = np.arctan2(delta[1] * cos - delta[0] * sin, delta @ (cos, sin))
        seen, reward, terminated, truncated, info = env.step(np.array([-0.6 if abs(bearing) > 0.3 else 0, bearing]))
        if terminated or truncated:
            break
    assert info == {"is_success": True, "is_collision": False}
    assert np.linalg.norm(seen["desired_goal"] - seen["achieved_goal"]) < 0.1 + 1e-6
    assert reward > 1.5


@pytest.mark.slow
def test_a_policy_of_ours_sees_there_what_it_sees_here():
    theirs = GymVectorEnv(gym_spec("headway/IrSim-v0", nav=NAV, levels=LEVELS), 2)
    ours = NavVectorEnv(build_spec(LEVELS, **NAV), 2)
    seen = theirs.reset()
    assert theirs.layout == ours.layout
    assert torch.equal(theirs.features(seen), ours.features(seen))
    assert theirs.step_seconds == ours.step_seconds
    step = theirs.step(torch.zeros(2, 2))
    assert theirs.knows_success and torch.isfinite(theirs.features(step.observation)).all()


def test_a_preset_says_there_too_what_a_row_means():
    sizes = Sizes(observation=6 + 200, goal=2, action=2, discrete=False)
    spec = gym_spec("headway/IrSim-v0", preset="jaxnav")
    features = make_features(spec.env.gym, spec.curriculum.stages, sizes)
    assert features.layout == Features(preset("jaxnav")[0]).layout
    assert features.step_seconds == 0.1


def test_a_stage_does_not_change_what_a_row_means():
    with pytest.raises(SpecError, match=r"stages\[s1\].kwargs: .*: nav and preset are for all stages"):
        spec = gym_spec("headway/IrSim-v0", {}, {"nav": {"lidar": {"rangeMeters": 9.0}}})
        make_features(spec.env.gym, spec.curriculum.stages, Sizes(1, 2, 2, False))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"levels": LEVELS | {"robots": 2}}, "no other robot drives"),
        ({"nav": {"randomization": {"slip": 0.1, "startMeters": 0.1}}}, "exact here: set slip to 0"),
        ({"nav": {"lidar": {"beams": 1}}}, "beams"),
        ({"nav": {"actions": {"discrete": {}}}}, "continuous"),
    ],
)
def test_what_ir_sim_is_not_given_is_refused(kwargs, message):
    with pytest.raises(SpecError, match=message) as refusal:
        GymVectorEnv(gym_spec("headway/IrSim-v0", **kwargs), 1)
    assert refusal.value.field == "train.env.gym.kwargs"
