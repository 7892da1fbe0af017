import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.noise import normals
from headway.envs.nav.vector import NavVectorEnv

EMPTY = {"world": {"empty": {"sizeMeters": 10.0}}}
CLUTTER = {"world": {"clutter": {"fill": 0.1}}, "people": 2}
ALL = {"scanNoiseMeters": 0.05, "scanDropout": 0.1, "latencySteps": 3, "slip": 0.1, "dynamics": 0.2}
STAND = torch.tensor([[-1.0, 0.0]])


def put(env, x=5.0, y=5.0):
    """Stand in the middle of the empty room, the goal far away, in all environments."""
    env.arrays.robot[:] = [x, y, 0.0, 0.0, 0.0, 1.0, 1.0, 5.66, 0.0]


def scans(make_spec, steps=20, **randomization):
    """Scans of 64 robots that stand in the middle of an empty room, [steps, 64, B]; ideal ones read 5 m or more."""
    lidar = {"beams": 8, "rangeMeters": 6.0}
    env = NavVectorEnv(make_spec(EMPTY, lidar=lidar, scanStack=1, randomization=randomization), 64)
    env.reset()
    put(env)
    rows = [env.step(STAND.expand(64, 2)).observation["observation"][:, a.POSE :].clone() for _ in range(steps)]
    return torch.stack(rows).numpy()


def test_normals_have_mean_0_and_deviation_1():
    draw = np.random.default_rng(0).random((20000, 2)).astype(np.float32)
    values = np.array([normals(*pair) for pair in draw])
    assert abs(values.mean(0)).max() < 0.03
    assert values.std(0) == pytest.approx([1.0, 1.0], abs=0.03)
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.03


def test_noise_of_the_scan_has_its_deviation_and_no_bias(make_spec):
    ahead = scans(make_spec, scanNoiseMeters=0.1)[:, :, 4]  # 5 m to the wall
    assert ahead.mean() == pytest.approx(5.0, abs=0.01)
    assert ahead.std() == pytest.approx(0.1, abs=0.01)
    assert abs(np.corrcoef(ahead[0], ahead[1])[0, 1]) < 0.4  # each step anew


def test_what_is_beyond_the_range_has_no_noise(make_spec):
    corner = scans(make_spec, scanNoiseMeters=0.1)[:, :, 3]  # 7.07 m
    assert (corner == 6.0).all()


def test_the_share_that_drops_out_reads_the_range(make_spec):
    ahead = scans(make_spec, scanDropout=0.2)[:, :, 4]
    assert (ahead == 6.0).mean() == pytest.approx(0.2, abs=0.04)
    assert np.allclose(ahead[ahead < 6.0], 5.0, atol=1e-4)


def test_latency_is_drawn_from_0_to_its_limit_and_delays_every_action(make_spec):
    env = NavVectorEnv(make_spec(EMPTY, randomization={"latencySteps": 3}, robot={"maxAcceleration": 50.0}), 64)
    env.reset()
    put(env)
    speeds = []
    for k in range(8):  # one step of full speed, then standing again
        env.step(torch.tensor([[1.0 if k == 0 else -1.0, 0.0]]).expand(64, 2))
        speeds.append(env.arrays.robot[:, a.SPEED].copy())
    speeds = np.array(speeds)
    assert (speeds.sum(0) == 1.0).all()  # each drives for exactly one step ...
    late = speeds.argmax(0)
    assert set(late) == {0, 1, 2, 3}  # ... its latency later


def test_slip_moves_the_body_and_not_what_the_wheels_report(make_spec):
    env = NavVectorEnv(make_spec(EMPTY, randomization={"slip": 0.2}, maxSteps=1000), 256)
    env.reset()
    put(env)
    env.arrays.robot[:, a.SPEED] = 1.0
    env.step(torch.tensor([[1.0, 0.0]]).expand(256, 2))
    moved = env.arrays.robot[:, a.X] - 5.0
    assert (env.arrays.robot[:, a.SPEED] == 1.0).all()
    assert moved.mean() == pytest.approx(0.2, abs=0.01)
    assert moved.std() == pytest.approx(0.2 * 0.2, abs=0.006)  # 20 % of 0.2 m
    assert moved.max() <= 0.2 * 1.4 + 1e-5  # cut at two deviations


def test_each_episode_has_limits_of_its_own(make_spec):
    env = NavVectorEnv(make_spec(EMPTY, randomization={"dynamics": 0.3}), 256)
    env.reset()
    put(env)
    env.step(torch.tensor([[1.0, 1.0]]).expand(256, 2))
    gained = env.arrays.robot[:, a.SPEED] / 0.4  # the nominal 2 m/s^2 for 0.2 s
    for _ in range(4):
        env.step(torch.tensor([[1.0, 1.0]]).expand(256, 2))
    reached = env.arrays.robot[:, a.SPEED], env.arrays.robot[:, a.TURN] / 1.5
    for share in (gained, *reached):
        assert 0.7 <= share.min() < 0.75
        assert 1.25 < share.max() <= 1.3
    assert abs(np.corrcoef(*reached)[0, 1]) < 0.3


def test_any_split_over_ranks_and_a_resume_see_the_same_noise(make_spec):
    spec = make_spec(CLUTTER, randomization=ALL, maxSteps=25)
    whole, halves = NavVectorEnv(spec, 8), [NavVectorEnv(spec, 4, offset) for offset in (0, 4)]
    for env in (whole, *halves):
        env.reset()
    for k in range(60):
        action = torch.rand((8, 2), generator=torch.Generator().manual_seed(k)) * 2 - 1
        seen = whole.step(action).observation["observation"]
        parts = [env.step(part).observation["observation"] for env, part in zip(halves, action.chunk(2), strict=True)]
        assert torch.equal(seen, torch.cat(parts))
        if k == 30:
            state = {name: tensor.clone() for name, tensor in whole.get_state().items()}
            whole = NavVectorEnv(spec, 8)
            whole.reset()
            whole.set_state(state)


def test_without_randomization_the_queue_is_empty(make_spec):
    assert NavVectorEnv(make_spec(CLUTTER), 8).arrays.pending.size == 0
