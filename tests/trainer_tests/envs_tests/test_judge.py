import logging
from typing import NamedTuple

import numpy as np
import pytest
import torch
from headway.envs import preset
from headway.envs.foreign.judge import make_judge
from headway.envs.foreign.pool import EnvironmentCrashError
from headway.envs.foreign.vector import GymVectorEnv
from headway.envs.nav.arrays import GOAL_DISTANCE, GOAL_X, GOAL_Y
from headway.envs.nav.judge import NavJudge
from headway.envs.nav.vector import NavVectorEnv
from headway.errors import SpecError
from headway_api.nav_spec import NavEnv
from torch import Tensor
from trainer_tests.envs_tests.conftest import build_spec
from trainer_tests.envs_tests.foreign_specs import gym_spec
from trainer_tests.line_env import LineEnv
from trainer_tests.toy_gym import ID, JUDGING, Judging

CROWDED = {"world": {"clutter": {"sizeMeters": 6.0, "fill": 0.1}}, "people": 3, "minGoalMeters": 0.8}
EVERY_TERM = {"near": -0.3, "smoothness": -0.1, "proximity": -0.2, "progress": 0.7, "goal": 3.0}


class Steps(NamedTuple):
    """T steps of N environments, rows [T * N]."""

    before: Tensor  # [B, G]
    achieved: Tensor  # [B, G]
    goal: Tensor  # [B, G]: the step's own
    reward: Tensor  # [B]
    terminated: Tensor  # [B]
    collision: Tensor  # [B]
    success: Tensor  # [B]


def one_step(before, step):
    after = [step.observation[name].clone() for name in ("achieved_goal", "desired_goal")]
    for tensor, name in zip(after, ("achieved_goal", "desired_goal"), strict=True):
        tensor[step.final_rows] = step.final_observation[name]
    return Steps(before, *after, step.reward, step.terminated, step.episodes.collision, step.episodes.success)


def play(env, steps, act=None):
    """Random actions where `act` (step number to action) gives none."""
    generator = torch.Generator().manual_seed(0)
    seen, rows = env.reset(), []
    for k in range(steps):
        before = seen["achieved_goal"].clone()
        drawn = torch.rand(env.num_envs, env.actions.size, generator=generator) * 2 - 1
        step = env.step(drawn if act is None else act(k))
        seen = step.observation
        rows.append(one_step(before, step))
    return Steps(*(torch.cat(column) for column in zip(*rows, strict=True)))


def relabelled(judge, steps, goal):
    """Reward and termination with `goal`, as a replay computes them."""
    own_reward, own_ends = judge(steps.before, steps.achieved, steps.goal)
    reward, ends = judge(steps.before, steps.achieved, goal)
    return reward + (steps.reward - own_reward), ends | (steps.terminated & ~own_ends)


def assert_its_own_goal_gives_back_what_was(judge, steps):
    reward, terminated = relabelled(judge, steps, steps.goal)
    torch.testing.assert_close(reward, steps.reward, rtol=0, atol=1e-5)
    assert torch.equal(terminated, steps.terminated)


def nav_steps(name):
    """An environment, and steps with arrivals and collisions: by planners first, then with random actions."""
    if name == "every term":
        spec = build_spec(CROWDED, reward=EVERY_TERM, maxSteps=60, goalRadiusMeters=0.5)
    else:
        nav, levels = preset(name)
        spec = build_spec(levels.to_wire(), **nav.to_wire())
    env = NavVectorEnv(spec, 32)
    driven = play(env, 150, lambda _: env.expert("astar"))
    return env, Steps(*(torch.cat(pair) for pair in zip(driven, play(env, 100), strict=True)))


def test_progress_and_arrival_by_hand():
    judge = NavJudge(NavEnv())  # 0.2 a metre, 2 for arriving within 0.3 m
    before, goal = torch.tensor([[0.0, 0.0]] * 4), torch.tensor([[3.0, 4.0]] * 4)
    achieved = torch.tensor([[0.6, 0.8], [0.0, 0.0], [-3.0, -4.0], [3.0, 3.9]])
    reward, terminated = judge(before, achieved, goal)
    assert reward.tolist() == pytest.approx([0.2, 0.0, -1.0, 0.2 * 4.9 + 2.0])
    assert terminated.tolist() == [False, False, False, True]
    assert (reward.dtype, terminated.dtype) == (torch.float32, torch.bool)


def test_the_rim_of_the_goal_counts_and_what_is_a_rounding_outside_does_not():
    judge = NavJudge(NavEnv(goal_radius_meters=0.5))
    achieved = torch.tensor([[1.5, 0.0], [np.nextafter(np.float32(1.5), np.float32(2.0)), 0.0]])
    reward, terminated = judge(achieved, achieved, torch.tensor([[1.0, 0.0]] * 2))
    assert terminated.tolist() == [True, False]
    assert reward.tolist() == [2.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["every term", "default", "jaxnav", "barn"])
def test_a_step_with_its_own_goal_is_what_it_was(name):
    env, steps = nav_steps(name)
    assert steps.success.sum() >= 10 and steps.collision.sum() >= 10
    assert_its_own_goal_gives_back_what_was(env.judge(), steps)
    _, arrived = env.judge()(steps.before, steps.achieved, steps.goal)
    assert torch.equal(arrived & ~steps.collision, steps.success)  # no step arrives but by rule of the environment


def test_a_step_with_another_goal_is_what_the_environment_makes_of_it():
    spec = build_spec(CROWDED, reward=EVERY_TERM, goalRadiusMeters=0.5)
    env, other = NavVectorEnv(spec, 64), NavVectorEnv(spec, 64)
    generator = torch.Generator().manual_seed(1)
    seen, same, hits, arrivals = env.reset(), 0, 0, 0
    for _ in range(40):
        before, state = seen["achieved_goal"].clone(), env.get_state()
        goal = (before + 2.4 * torch.rand(64, 2, generator=generator) - 1.2).clamp(0.2, 5.8)  # in the world
        state["robot"][:, GOAL_X : GOAL_Y + 1] = goal
        state["robot"][:, GOAL_DISTANCE] = (goal - before).norm(dim=1)
        other.set_state(state)
        action = torch.rand(64, 2, generator=generator) * 2 - 1
        made, asked = env.step(action), other.step(action)
        seen = made.observation
        steps, truth = (one_step(before, step) for step in (made, asked))
        reward, terminated = relabelled(env.judge(), steps, goal)
        # Who arrives within a step stops there: the new goal's step would have been shorter, which nobody can know.
        alike = (truth.achieved == steps.achieved).all(1)
        # Who hits something beside a goal has not arrived, which no place tells: see `Judge`.
        alike &= ~steps.collision | ~(arrived(env, steps, goal) | arrived(env, steps, steps.goal))
        torch.testing.assert_close(reward[alike], truth.reward[alike], rtol=0, atol=1e-5)
        assert torch.equal(terminated[alike], truth.terminated[alike])
        same, hits = same + int(alike.sum()), hits + int(truth.collision[alike].sum())
        arrivals += int(truth.success[alike].sum())
    assert same > 1000 and hits > 10 and arrivals >= 10, (same, hits, arrivals)


def arrived(env, steps, goal):
    return env.judge()(steps.before, steps.achieved, goal)[1]


def test_rows_are_judged_each_for_itself():
    rows = torch.rand(3, 12, 2, generator=torch.Generator().manual_seed(2))
    for judge in (NavJudge(NavEnv()), make_judge(gym_spec("PointMaze_UMaze-v3", continuing_task=False), 0)):
        whole = judge(*rows)
        alone = [judge(*rows[:, k : k + 1]) for k in range(12)]
        for together, parts in zip(whole, zip(*alone, strict=True), strict=True):
            assert torch.equal(together, torch.cat(parts))
        assert whole[1].any() and not whole[1].all()
        assert [tensor.shape for tensor in judge(*rows[:, :0])] == [(0,), (0,)]


CORRIDOR = [[1, 1, 1, 1, 1], [1, "r", 0, "g", 1], [1, 1, 1, 1, 1]]
FORWARD = torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, -0.3], [-1.0, 0.0]])


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_a_maze_is_judged_as_it_judges_itself(kind):
    env = GymVectorEnv(
        gym_spec("PointMaze_UMaze-v3", maze_map=CORRIDOR, continuing_task=False, reward_type=kind), 4, threads=1
    )
    steps, judge = play(env, 60, lambda _: FORWARD), env.judge()
    reward, terminated = judge(steps.before, steps.achieved, steps.goal)
    assert steps.terminated.any() and torch.equal(terminated, steps.terminated)
    torch.testing.assert_close(reward, steps.reward, rtol=0, atol=1e-5)
    assert_its_own_goal_gives_back_what_was(judge, steps)
    assert arrived(env, steps, steps.achieved).all()
    env.close()


def test_a_maze_whose_task_goes_on_ends_for_no_goal():
    judge = make_judge(gym_spec("PointMaze_UMaze-v3"), 0)
    reward, terminated = judge(*torch.zeros(3, 5, 2))
    assert (reward.tolist(), terminated.tolist()) == ([1.0] * 5, [False] * 5)


@pytest.mark.slow
def test_parking_ends_where_it_says_success_and_what_a_collision_costs_is_the_rest():
    env = GymVectorEnv(gym_spec("parking-v0", config={"success_goal_reward": 0.35}), 4)
    steps, judge = play(env, 60, lambda _: FORWARD), env.judge()
    reward, terminated = judge(steps.before, steps.achieved, steps.goal)
    assert steps.collision.any() and steps.success.any()
    assert torch.equal(terminated, steps.success)
    torch.testing.assert_close(steps.reward - reward, -5.0 * steps.collision, rtol=0, atol=1e-5)
    assert_its_own_goal_gives_back_what_was(judge, steps)
    # Where it stands as its goal: no distance is left, what it hit costs as before, and each step ends the episode.
    reward, terminated = relabelled(judge, steps, steps.achieved)
    torch.testing.assert_close(reward, -5.0 * steps.collision, rtol=0, atol=1e-5)
    assert terminated.all()
    env.close()


@pytest.mark.slow
def test_ir_sims_steps_are_judged_by_our_own_rules():
    nav = {"lidar": {"beams": 8}, "maxSteps": 30, "goalRadiusMeters": 0.5, "reward": EVERY_TERM}
    levels = {"world": {"empty": {"sizeMeters": 4.0}}, "people": 2, "minGoalMeters": 0.6, "maxGoalMeters": 1.5}
    env = GymVectorEnv(gym_spec("headway/IrSim-v0", nav=nav, levels=levels), 2)
    steps, judge = play(env, 80), env.judge()
    assert steps.success.any() and steps.collision.any()
    assert_its_own_goal_gives_back_what_was(judge, steps)
    assert torch.equal(arrived(env, steps, steps.goal) & ~steps.collision, steps.success)
    env.close()


@pytest.mark.parametrize("name", ["headway/IrSim-v0", "headway/Nav-v0"])
def test_our_own_environments_need_no_instance_to_be_judged(name, caplog):
    caplog.set_level("INFO", logger="headway")
    judge = make_judge(gym_spec(name, {}, preset="jaxnav"), 0)
    rows = torch.rand(3, 5, 2) * 3
    for ours, nav in zip(judge(*rows), NavJudge(preset("jaxnav")[0])(*rows), strict=True):
        assert torch.equal(ours, nav)
    assert not caplog.records  # nothing of it is bound to the host


ROWS = torch.tensor(
    [[[9.0, 0, 0]] * 3, [[1.0, 0, 0], [4.0, 0, 0], [5.5, 0, 0]], [[5.0, 0, 0]] * 3]
)  # before, after, goal


@pytest.mark.parametrize(
    ("ends", "expected"),
    [("", [False, False, False]), ("batches", [False, False, True]), ("one", [False, False, True])],
)
def test_a_users_environment_is_judged_by_its_own_compute_reward_and_compute_terminated(ends, expected):
    reward, terminated = make_judge(gym_spec(JUDGING, scale=2.0, ends=ends), 0)(*ROWS)
    assert (reward.tolist(), terminated.tolist()) == ([-8.0, -2.0, -1.0], expected)
    assert (reward.dtype, terminated.dtype) == (torch.float32, torch.bool)


def test_an_environment_is_asked_about_goals_of_its_own_shape_and_type():
    assert make_judge(gym_spec(JUDGING, sees="tall"), 0)(*ROWS)[0].tolist() == [-4.0, -1.0, 0.0]


def test_the_judge_follows_the_stage_and_equal_stages_share_an_environment():
    Judging.made.clear()
    env = GymVectorEnv(gym_spec(JUDGING, {}, {"scale": 3.0}, {"scale": 1.0}, {}, scale=1.0), 2)
    env.set_stage(1)
    judge = env.judge()
    rewards = [judge(*ROWS)[0][0].item()]
    for stage in (0, 1, 2):
        env.set_stage(stage)
        assert env.judge() is judge
        rewards.append(judge(*ROWS)[0][0].item())
    assert rewards == [-12.0, -4.0, -12.0, -4.0]
    assert len(Judging.made) == 2
    env.close()


def test_that_the_host_judges_is_said_once(caplog):
    caplog.set_level(logging.INFO, logger="headway")
    env = GymVectorEnv(gym_spec(JUDGING, {}, {"scale": 3.0}, ends="one"), 1)
    assert not caplog.records
    for _ in range(2):
        env.set_stage(1)
        env.judge()(*ROWS)
    assert [record.message for record in caplog.records] == [
        f"{JUDGING}: rewards of relabelled goals are computed on the host by its own compute_reward, "
        "its compute_terminated a row at a time"
    ]
    env.close()


def test_environments_are_made_when_first_asked_for_and_closed_with_the_others():
    Judging.made.clear()
    env = GymVectorEnv(gym_spec(JUDGING, {}, {"scale": 3.0}), 2)
    assert not Judging.made
    env.judge()
    env.close()
    assert [made.closed for made in Judging.made] == [1, 1]
    never = GymVectorEnv(gym_spec(JUDGING), 2)
    never.close()
    assert len(Judging.made) == 2


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"judges": "one"}, "its compute_reward takes no batches"),
        ({"judges": "column"}, "its compute_reward takes no batches"),
        ({"judges": "no batches"}, "its compute_reward takes no batches"),
        ({"judges": "info"}, "its compute_reward needs more than goals (KeyError: 'bonus')"),
        ({"ends": "info"}, "its compute_terminated needs more than goals (KeyError: 'bonus')"),
        ({"sees": "choice"}, "its goals are Discrete(3)"),
    ],
)
def test_what_cannot_be_judged_in_batches_is_refused_with_what_to_leave_out(kwargs, message):
    Judging.made.clear()
    with pytest.raises(SpecError) as refusal:
        make_judge(gym_spec(JUDGING, **kwargs), 0)
    assert refusal.value.field == "train.env.gym.id"
    assert message in str(refusal.value) and "leave hindsight out" in str(refusal.value)
    assert [made.closed for made in Judging.made] == [1]


def test_a_stage_that_cannot_be_judged_is_refused_before_it_begins():
    with pytest.raises(SpecError, match="takes no batches"):
        make_judge(gym_spec(JUDGING, {}, {"judges": "one"}), 0)


@pytest.mark.parametrize(("name", "sees"), [(ID, ""), (ID, "goal"), (JUDGING, "")])
def test_without_goals_or_without_compute_reward_there_is_no_judge(name, sees):
    env = GymVectorEnv(gym_spec(name, sees=sees), 1)
    assert env.judge() is None
    env.close()
    assert LineEnv(1).judge() is None


def test_what_a_reward_of_another_goal_fails_with_names_the_environment():
    judge = make_judge(gym_spec(JUDGING, judges="late"), 0)
    assert judge(*ROWS)[0].isfinite().all()
    with pytest.raises(
        EnvironmentCrashError, match=rf"{JUDGING}.* its compute_reward raises ArithmeticError: the ruler"
    ):
        judge(*ROWS[:2], torch.full((3, 3), 77.0))
    with pytest.raises(SpecError, match=r"its compute_reward gives nan for the goal \[99.0, 99.0, 99.0\]"):
        judge(*ROWS[:2], torch.full((3, 3), 99.0))
