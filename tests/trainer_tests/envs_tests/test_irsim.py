import numpy as np
import pytest
import torch
from headway.envs.foreign.irsim import IrSimEnv, rectangles
from headway.envs.foreign.vector import GymVectorEnv
from headway.envs.nav.gym_env import NavGymEnv
from headway.envs.nav.vector import NavVectorEnv
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


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"levels": LEVELS | {"people": 2}}, "nobody else walks"),
        ({"nav": {"lidar": {"beams": 1}}}, "beams"),
        ({"nav": {"actions": {"discrete": {}}}}, "continuous"),
    ],
)
def test_what_ir_sim_is_not_given_is_refused(kwargs, message):
    with pytest.raises(SpecError, match=message) as refusal:
        GymVectorEnv(gym_spec("headway/IrSim-v0", **kwargs), 1)
    assert refusal.value.field == "train.env.gym.kwargs"
