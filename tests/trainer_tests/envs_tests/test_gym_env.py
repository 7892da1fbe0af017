import warnings

import gymnasium
import headway.envs  # noqa: F401  (registers the id)
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

SMALL = {"world": {"clutter": {"sizeMeters": 6.0, "fill": 0.05}}, "people": 1}


def make(**kwargs):
    return gymnasium.make("headway/Nav-v0", levels=SMALL, **kwargs)


def test_gymnasiums_checker_has_nothing_to_say():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(render_mode="rgb_array").unwrapped)


def test_a_seed_names_the_episode_and_resets_without_one_go_on():
    env = make()
    first, _ = env.reset(seed=5)
    second, _ = env.reset()
    assert not np.array_equal(first["observation"], second["observation"])
    again, _ = env.reset(seed=5)
    assert np.array_equal(first["observation"], again["observation"])
    assert np.array_equal(env.reset()[0]["observation"], second["observation"])


def test_an_episode_ends_with_its_own_last_observation():
    env = make(nav={"maxSteps": 10})
    env.reset(seed=0)
    for _ in range(10):
        observation, _, terminated, truncated, info = env.step(np.array([-1.0, 0.5], np.float32))
    assert (terminated, truncated) == (False, True)
    assert info == {"is_success": False, "is_collision": False}
    start, _ = env.reset()
    assert not np.array_equal(start["desired_goal"], observation["desired_goal"])


def test_pictures_show_the_robots_way():
    env = make(render_mode="rgb_array")
    env.reset(seed=1)
    before = env.render()
    for _ in range(5):
        env.step(np.array([1.0, 0.0], np.float32))
    assert before.shape == env.render().shape
    assert before.dtype == np.uint8
    assert not np.array_equal(before, env.render())


def test_wrong_fields_are_refused():
    with pytest.raises(ValueError, match="beams"):
        make(nav={"lidar": {"beams": 0}})
    with pytest.raises(ValueError, match="rgb_array"):
        make().unwrapped.__class__(render_mode="human")
