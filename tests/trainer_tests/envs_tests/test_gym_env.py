import warnings

import gymnasium
import headway.envs  # noqa: F401  (registers the id)
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

SMALL = {"world": {"clutter": {"sizeMeters": 6.0, "fill": 0.05}}, "people": 1}


def make(**kwargs):
    return gymnasium.make("headway/Nav-v0", levels=SMALL, **kwargs)


@pytest.mark.parametrize("nav", [{}, {"actions": {"discrete": {}}}], ids=["continuous", "discrete"])
def test_gymnasiums_checker_has_nothing_to_say(nav):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(render_mode="rgb_array", nav=nav).unwrapped)


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
    assert (info["is_success"], info["is_collision"]) == (False, False)
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


def test_the_reward_of_another_goal_is_what_the_step_would_have_earned():
    env = make(nav={"maxSteps": 60, "goalRadiusMeters": 0.4}).unwrapped
    rows = []
    for seed in range(8):
        env.reset(seed=seed)
        ended = False
        while not ended:
            seen, reward, terminated, truncated, info = env.step(np.array([1.0, 0.1], np.float32))
            ended = terminated or truncated
            rows.append((seen["achieved_goal"], seen["desired_goal"], info, reward, terminated))
    achieved, desired, infos, rewards, terminated = (list(column) for column in zip(*rows, strict=True))
    assert any(info["is_collision"] for info in infos)
    computed = env.compute_reward(np.array(achieved), np.array(desired), infos)
    np.testing.assert_allclose(computed, rewards, atol=1e-5)
    assert env.compute_terminated(np.array(achieved), np.array(desired), infos).tolist() == terminated
    # With the place where it stands as its goal, by hand: the goal's 2, and 0.2 for each metre of the step.
    seen, _, info, _, _ = next(row for row in rows if not row[4])
    moved = np.linalg.norm(seen - info["achieved_before"])
    assert env.compute_reward(seen, seen, info) == pytest.approx(info["reward_besides_goal"] + 2.0 + 0.2 * moved)
    assert env.compute_terminated(seen, seen, info) is True


def test_a_state_goes_on_where_it_was_taken():
    env, action = make().unwrapped, np.array([0.5, 0.2], np.float32)
    env.reset(seed=3)
    env.step(action)
    saved = env.get_state()
    expected, after = env.step(action)[0], env.reset()[0]
    other = make().unwrapped
    other.set_state(saved)
    assert np.array_equal(other.step(action)[0]["observation"], expected["observation"])
    assert np.array_equal(other.reset()[0]["observation"], after["observation"])
