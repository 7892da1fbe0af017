import gymnasium
import headway.envs  # noqa: F401  (registers the id)
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

SMALL = {"world": {"clutter": {"sizeMeters": 6.0, "fill": 0.05}}, "people": 1}
NAV = {"maxSteps": 12, "lidar": {"beams": 8}}
N = 5


def ours(nav=NAV, **kwargs):
    return gymnasium.make_vec("headway/Nav-v0", num_envs=N, nav=nav, levels=SMALL, **kwargs)


def gymnasiums(nav):
    def single():
        return gymnasium.make("headway/Nav-v0", nav=nav, levels=SMALL, disable_env_checker=True)

    return SyncVectorEnv([single] * N, autoreset_mode=AutoresetMode.SAME_STEP)


def assert_same(left, right):
    """The same keys, types, shapes and values, however deep."""
    assert type(left) is type(right), (left, right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for name in left:
            assert_same(left[name], right[name])
    elif isinstance(left, np.ndarray) and left.dtype == object:
        assert right.dtype == object
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif left is not None:
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("nav", [NAV, NAV | {"actions": {"discrete": {"speeds": 2}}}], ids=["continuous", "discrete"])
def test_it_is_n_single_environments_step_by_step(nav):
    mine, theirs = ours(nav), gymnasiums(nav)
    assert mine.single_observation_space == theirs.single_observation_space
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    assert mine.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    for left, right in zip(mine.reset(seed=7), theirs.reset(seed=7), strict=True):
        assert_same(left, right)
    mine.action_space.seed(0)
    endings = []
    for k in range(45):
        if k == 30:  # a reset without a seed begins each one's next episode
            for left, right in zip(mine.reset(), theirs.reset(), strict=True):
                assert_same(left, right)
        action = mine.action_space.sample()
        if action.ndim == 1:
            action = action % 5 + (5 if k < 30 else 0)  # any turn rate; full speed, then none
        else:
            action[:, 0] = 1.0 if k < 30 else -1.0  # stands still until the time of all of them is up
        left, right = mine.step(action), theirs.step(action)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
        endings.append(int((left[2] | left[3]).sum()))
    assert 0 in endings and N in endings  # of none and of all: masks that are absent
    assert any(0 < n < N for n in endings)


def test_a_state_goes_on_where_it_was_taken():
    env = ours()
    env.reset(seed=1)
    action = np.full((N, 2), 0.3, np.float32)
    for _ in range(5):
        env.step(action)
    saved = env.get_state()
    expected = [env.step(action) for _ in range(20)]
    other = ours()
    other.set_state(saved)
    for step in expected:
        for one, again in zip(step, other.step(action), strict=True):
            assert_same(one, again)


def test_what_it_cannot_do_is_refused():
    env = ours()
    with pytest.raises(ValueError, match="give one number"):
        env.reset(seed=[3, 1, 2, 5, 9])
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.ones(N, np.bool_)})
    env.reset(seed=list(range(3, 3 + N)))
    with pytest.raises(ValueError, match="number"):
        env.set_state(env.get_state() | {"number": np.array(-1)})


def test_every_environment_is_drawn():
    env = ours(render_mode="rgb_array")
    env.reset(seed=0)
    frames = env.render()
    assert len(frames) == N
    assert not np.array_equal(frames[0], frames[1])
