import dataclasses
import math

import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.vector import NavVectorEnv
from headway.errors import SpecError

EMPTY = {"world": {"empty": {"sizeMeters": 10.0}}}
CROWDED = {"world": {"clutter": {"fill": 0.1, "walls": 1}}, "people": 3}


def env_at(spec, x=5.0, y=5.0, heading=0.0, speed=0.0, turn=0.0, goal=(9.0, 5.0), **options):
    """One environment whose robot and goal are put where the test wants them."""
    env = NavVectorEnv(spec, 1, **options)
    env.reset()
    distance = np.hypot(goal[0] - x, goal[1] - y)
    env.arrays.robot[0] = [x, y, heading, speed, turn, *goal, distance, 0.0]
    return env


def act(forward, turn):
    return torch.tensor([[forward, turn]], dtype=torch.float32)


def pose(env):
    return env.arrays.robot[0, : a.TURN + 1].tolist()


def roll(envs, steps=80, stage=0, rows=8):
    """Drive environments with the same actions by global index; everything they return, joined."""
    seen = []
    for env in envs:
        env.set_stage(stage)
        env.reset()
    for k in range(steps):
        action = torch.rand((rows, 2), generator=torch.Generator().manual_seed(k)) * 1.2 - 0.4
        parts = [everything(env.step(part)) for env, part in zip(envs, action.chunk(len(envs)), strict=True)]
        seen += [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
    return seen


def everything(step):
    """All tensors of a step, in one list."""
    found = [step.reward, step.terminated, step.truncated]
    found += [*step.observation.values(), *step.final_observation.values()]
    return found + [getattr(step.episodes, field.name) for field in dataclasses.fields(step.episodes)]


def same(left, right):
    return all(torch.equal(x, y) for x, y in zip(left, right, strict=True))


def test_speed_grows_by_the_acceleration_limit(make_spec):
    env = env_at(make_spec(EMPTY))
    env.step(act(1, 0))  # 2 m/s^2 for 0.2 s: 0.4 m/s, held for the step: 0.08 m
    assert pose(env) == pytest.approx([5.08, 5.0, 0.0, 0.4, 0.0], abs=1e-6)
    env.step(act(1, 0))
    assert pose(env) == pytest.approx([5.24, 5.0, 0.0, 0.8, 0.0], abs=1e-6)
    env.step(act(1, 0))  # the limit of 1 m/s
    assert pose(env) == pytest.approx([5.44, 5.0, 0.0, 1.0, 0.0], abs=1e-6)


def test_the_robot_turns_on_the_spot_at_the_lowest_action(make_spec):
    env = env_at(make_spec(EMPTY))
    env.step(act(-1, 1))  # 6 rad/s^2 for 0.2 s: 1.2 rad/s
    assert pose(env) == pytest.approx([5.0, 5.0, 0.24, 0.0, 1.2], abs=1e-6)
    env.step(act(-1, 1))  # the limit of 1.5 rad/s
    assert pose(env) == pytest.approx([5.0, 5.0, 0.54, 0.0, 1.5], abs=1e-6)


def test_driving_while_turning_follows_the_exact_arc(make_spec):
    env = env_at(make_spec(EMPTY), speed=1.0, turn=1.0)
    env.step(act(1, 1 / 1.5))  # radius 1 m, 0.2 rad: x = sin 0.2, y = 1 - cos 0.2
    assert pose(env) == pytest.approx([5.198669, 5.019933, 0.2, 1.0, 1.0], abs=1e-5)


def test_actions_beyond_one_are_clipped_and_the_robot_never_reverses(make_spec):
    env = env_at(make_spec(EMPTY))
    env.step(act(-50, -50))
    assert pose(env) == pytest.approx([5.0, 5.0, -0.24, 0.0, -1.2], abs=1e-6)


def test_an_action_that_is_not_a_number_is_refused(make_spec):
    with pytest.raises(ValueError, match="not finite"):
        env_at(make_spec(EMPTY)).step(act(float("nan"), 0))


@pytest.mark.parametrize("shape", [(2,), (2, 2), (1, 3), (0, 2)])
def test_an_action_of_another_shape_is_refused_before_the_kernel_reads_it(make_spec, shape):
    with pytest.raises(ValueError, match=r"the action is \[.*\]: give \[1, 2\]"):
        env_at(make_spec(EMPTY)).step(torch.zeros(shape))


def test_reward_is_progress_and_the_cost_of_a_step(make_spec):
    step = env_at(make_spec(EMPTY, reward={"progress": 2.0, "step": -0.03})).step(act(1, 0))
    assert float(step.reward) == pytest.approx(2.0 * 0.08 - 0.03, abs=1e-5)


def test_nearness_costs_in_proportion(make_spec):
    # The wall stands at x = 0; 0.25 m of radius and 0.15 m free: half of the full 0.1.
    reward = {"progress": 0.0, "step": 0.0, "proximity": -0.1}
    step = env_at(make_spec(EMPTY, reward=reward), x=0.4).step(act(-1, 0))
    assert float(step.reward) == pytest.approx(-0.05, abs=1e-4)


def test_reaching_the_goal_terminates_with_success(make_spec):
    env = env_at(make_spec(EMPTY, reward={"goal": 7.0, "step": 0.0, "progress": 1.0}), x=8.5, speed=1.0)
    step = env.step(act(1, 0))  # 0.5 m away; inside 0.35 m at the third of three substeps
    assert (bool(step.terminated), bool(step.truncated)) == (True, False)
    assert (bool(step.episodes.success), bool(step.episodes.collision)) == (True, False)
    assert float(step.reward) == pytest.approx(7.0 + 0.2, abs=1e-4)


def test_hitting_a_wall_terminates_with_a_collision(make_spec):
    env = env_at(make_spec(EMPTY, reward={"collision": -10.0}), x=9.6, goal=(1.0, 1.0), speed=1.0)
    step = env.step(act(1, 0))  # footprint 0.15 m from the wall at x = 10, 0.2 m to go
    assert (bool(step.terminated), bool(step.episodes.success), bool(step.episodes.collision)) == (True, False, True)
    assert float(step.reward) < -9


def test_an_episode_ends_in_the_same_step_that_the_next_begins(make_spec):
    env = env_at(make_spec(EMPTY), x=8.5, speed=1.0)
    step = env.step(act(1, 0))
    assert float(step.final_observation["achieved_goal"][0, 0]) == pytest.approx(8.7, abs=1e-5)
    assert step.final_observation["desired_goal"].tolist() == [[9.0, 5.0]]
    assert not torch.equal(step.observation["achieved_goal"], step.final_observation["achieved_goal"])
    assert env.arrays.count[0, : a.STAGE + 1].tolist() == [1, 0, 0]
    again = env.step(act(-1, 0))
    assert len(again.final_rows) == 0


def test_time_limits_truncate_and_do_not_terminate(make_spec):
    env = NavVectorEnv(make_spec(EMPTY, maxSteps=10), 4)
    env.reset()
    for k in range(1, 11):
        step = env.step(torch.tensor([[-1.0, 0.1]]).expand(4, 2))
        assert step.truncated.tolist() == [k == 10] * 4
    assert not step.terminated.any()
    assert step.episodes.length.tolist() == [10] * 4


def test_total_reward_and_length_sum_up_over_the_episode(make_spec):
    env = NavVectorEnv(make_spec(CROWDED, maxSteps=40), 8)
    env.reset()
    total, length = torch.zeros(8), torch.zeros(8, dtype=torch.int64)
    for _ in range(90):
        step = env.step(torch.full((8, 2), 0.2))
        total, length = total + step.reward, length + 1
        ended = step.episodes.ended
        assert torch.equal(ended, step.terminated | step.truncated)
        assert torch.allclose(step.episodes.total_reward[ended], total[ended], atol=1e-4)
        assert torch.equal(step.episodes.length[ended], length[ended])
        total[ended], length[ended] = 0.0, 0


def test_the_scan_stack_is_full_from_the_start_and_moves_by_one(make_spec):
    env = NavVectorEnv(make_spec(EMPTY, lidar={"beams": 8}, scanStack=3), 1)
    first = env.reset()["observation"][0, a.POSE :].reshape(3, 8)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])
    second = env.step(act(1, 1)).observation["observation"][0, a.POSE :].reshape(3, 8)
    assert torch.equal(second[1], first[0])
    assert not torch.equal(second[0], first[0])


def test_an_observation_stays_as_it_is_until_the_step_after_the_next(make_spec):
    env = NavVectorEnv(make_spec(EMPTY), 4)
    first = env.reset()["observation"]
    kept = first.clone()
    second = env.step(torch.ones(4, 2)).observation["observation"]
    assert torch.equal(first, kept)
    assert not torch.equal(first, second)
    env.step(torch.ones(4, 2))
    assert not torch.equal(first, kept)


def test_beams_measure_to_the_walls(make_spec):
    env = env_at(make_spec(EMPTY, lidar={"beams": 4, "rangeMeters": 8.0}, scanStack=1), x=3.0, y=4.0)
    scan = env.step(act(-1, 0)).observation["observation"][0, a.POSE :]
    assert scan.tolist() == pytest.approx([3.0, 4.0, 7.0, 6.0], abs=1e-4)  # back, right, ahead, left


def test_a_narrow_view_spans_its_edges(make_spec):
    env = env_at(
        make_spec(EMPTY, lidar={"beams": 5, "fieldOfViewDegrees": 180.0, "rangeMeters": 4.5}, scanStack=1), x=3.0, y=4.0
    )
    scan = env.step(act(-1, 0)).observation["observation"][0, a.POSE :]
    # -90, -45, 0, 45 and 90 degrees: the walls below and above, else out of range.
    assert scan.tolist() == pytest.approx([4.0, 4.5, 4.5, 4.5, 4.5], abs=1e-4)


def test_the_goal_is_not_in_the_observation(make_spec):
    rows = [
        env_at(make_spec(EMPTY), goal=goal).step(act(0, 0)).observation["observation"]
        for goal in ((9.0, 5.0), (1.0, 2.0))
    ]
    assert torch.equal(*rows)


@pytest.mark.parametrize("stage", [0, 1])
def test_two_ranks_of_four_equal_one_of_eight(make_spec, stage):
    spec = make_spec(EMPTY, CROWDED, replay=0.3)
    whole = roll([NavVectorEnv(spec, 8)], stage=stage)
    halves = roll([NavVectorEnv(spec, 4, offset) for offset in (0, 4)], stage=stage)
    assert same(whole, halves)


def test_threads_that_share_the_environments_change_nothing(make_spec):
    spec = make_spec(CROWDED)
    one, three = (roll([NavVectorEnv(spec, 40, threads=threads)], rows=40) for threads in (1, 3))
    assert same(one, three)


def test_another_seed_is_another_run(make_spec):
    runs = [roll([NavVectorEnv(make_spec(CROWDED, seed=seed), 8)], steps=2) for seed in (0, 1)]
    assert not same(*runs)


def test_state_goes_on_bit_for_bit_in_the_middle_of_episodes(make_spec):
    spec = make_spec(EMPTY, CROWDED, replay=0.5)
    env = NavVectorEnv(spec, 8)
    roll([env], steps=37, stage=1)
    state = {name: tensor.clone() for name, tensor in env.get_state().items()}
    other = NavVectorEnv(spec, 8)
    other.reset()
    other.set_state(state)
    for k in range(120):
        action = torch.rand((8, 2), generator=torch.Generator().manual_seed(k))
        left, right = env.step(action), other.step(action)
        assert torch.equal(left.observation["observation"], right.observation["observation"])
        assert torch.equal(left.reward, right.reward)
    begun = env.arrays.count[:, a.EPISODE] - state["count"][:, a.EPISODE].numpy()
    assert begun.sum() >= 4  # and new levels were begun on the way


def test_leaving_out_episodes_changes_those_that_begin_and_none_under_way(make_spec):
    spec = make_spec(CROWDED, maxSteps=30, randomization={"scanNoiseMeters": 0.05, "slip": 0.1, "dynamics": 0.2})
    plain, other, again = (NavVectorEnv(spec, 4) for _ in range(3))
    for env in (plain, other, again):
        env.reset()
    other.skip_episodes(3 * 2**28)
    again.set_state(other.get_state())  # as a checkpoint keeps it
    under_way = torch.ones(4, dtype=torch.bool)
    for k in range(60):
        action = torch.rand((4, 2), generator=torch.Generator().manual_seed(k))
        steps = [env.step(action) for env in (plain, other, again)]
        assert same(everything(steps[1]), everything(steps[2]))
        assert torch.equal(steps[0].reward[under_way], steps[1].reward[under_way])
        levels = steps[1].episodes.level[steps[1].episodes.ended & ~under_way]
        assert bool((levels[:, 0] > 3 * 2**28).all())
        under_way &= ~steps[0].episodes.ended
        seen = [step.observation["observation"] for step in steps]
        assert torch.equal(seen[0][under_way], seen[1][under_way])
        assert not bool((seen[0][~under_way] == seen[1][~under_way]).all(1).any())
    assert not bool(under_way.any())


def test_state_of_another_size_is_refused(make_spec):
    state = NavVectorEnv(make_spec(EMPTY), 3).get_state()
    with pytest.raises(ValueError, match="robot"):
        NavVectorEnv(make_spec(EMPTY), 4).set_state(state)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("count", (0, a.STAGE), 7),
        ("count", (0, a.EPISODE), -1),
        ("legs", (0, 0), -1),
        ("robot", (1, a.X), 1e6),
        ("robot", (1, a.GOAL_Y), -3.0),
        ("robot", (1, a.SPEED), 1e9),
        ("robot", (1, a.HEADING), math.nan),
        ("people", (2, 0, a.TARGET_X), 40.0),
        ("people", (2, 0, a.PERSON_X), -2.0e6),
        ("people", (0, 1, a.PERSON_VX), 1e20),
        ("observation", (0, 9), math.inf),
        ("stage", (), 1),
    ],
)
def test_state_that_no_episode_can_have_is_refused(make_spec, name, place, value):
    env = NavVectorEnv(make_spec(CROWDED), 3)
    env.reset()
    state = env.get_state()
    env.set_state({key: tensor.clone() for key, tensor in state.items()})
    state[name][place] = value
    with pytest.raises(ValueError, match="environment state"):
        env.set_state(state)


def test_state_is_small(make_spec):
    state = NavVectorEnv(make_spec(CROWDED), 100).get_state()
    assert sum(t.numel() * t.element_size() for t in state.values()) < 100 * 700


def test_replay_takes_its_share_from_earlier_stages_only(make_spec):
    env = NavVectorEnv(make_spec(EMPTY, EMPTY, EMPTY, EMPTY, replay=0.3), 3000)
    env.set_stage(2)
    env.reset()
    counts = np.bincount(env.arrays.count[:, a.STAGE], minlength=4)
    assert counts[3] == 0
    # Share 0.3 of 3000, half of it each; the standard deviation of a count of 450 is 19.6.
    assert abs(counts[0] - 450) < 100
    assert abs(counts[1] - 450) < 100


def test_an_impossible_goal_distance_names_the_field(make_spec):
    env = NavVectorEnv(make_spec({**EMPTY, "minGoalMeters": 50.0, "maxGoalMeters": 60.0}), 2)
    with pytest.raises(SpecError, match=r"minGoalMeters.*50\.0"):
        env.reset()


def test_a_stage_that_does_not_exist_is_refused(make_spec):
    with pytest.raises(IndexError):
        NavVectorEnv(make_spec(EMPTY), 1).set_stage(1)


def test_features_are_a_pure_function_of_rows(make_spec):
    env = NavVectorEnv(make_spec(CROWDED), 8)
    observation = env.reset()
    whole = env.features(observation)
    assert whole.shape == (8, env.layout.size)
    assert whole.dtype == torch.float32
    assert torch.equal(whole[2:5], env.features({k: v[2:5] for k, v in observation.items()}))


def test_features_hold_goal_and_speed_in_the_robots_frame(make_spec):
    # The goal is 3 m to the left of a robot that looks along +y, driving at half speed.
    env = env_at(make_spec(EMPTY), heading=np.pi / 2, speed=0.5, goal=(2.0, 5.0))
    features = env.features(env.step(act(0, 0)).observation)[0]
    assert features[:6].tolist() == pytest.approx([0.25, 0.3, 0.0, 1.0, 0.5, 0.0], abs=0.04)
