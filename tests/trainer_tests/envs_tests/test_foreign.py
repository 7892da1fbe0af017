import gc

import pytest
import torch
from headway.envs.foreign.draws import draw_episode
from headway.envs.foreign.pool import EnvironmentCrashError
from headway.envs.foreign.vector import GymVectorEnv
from headway.errors import SpecError
from hypothesis import given
from hypothesis import strategies as st
from trainer_tests.envs_tests.foreign_specs import gym_spec
from trainer_tests.toy_gym import ID, JUDGING, Judging

STILL = torch.zeros(1, 2)


def history(env, steps=12):
    seen = [env.features(env.reset())]
    for k in range(steps):
        step = env.step(torch.full((env.num_envs, 2), k / steps))
        seen += [env.features(step.observation), step.reward[:, None], step.episodes.level]
    return seen


def seeds(observation):
    return observation["observation"][:, 0].tolist()


def test_any_split_over_ranks_and_processes_plays_the_same_episodes():
    spec = gym_spec(ID, {"length": 2}, {"length": 3}, replay=0.5, seed=4)

    def play(count, offset, threads):
        env = GymVectorEnv(spec, count, offset, threads=threads)
        env.set_stage(1)
        return history(env)

    whole = play(5, 0, 1)
    for *parts, expected in zip(play(1, 0, 2), play(1, 1, 1), play(3, 2, 2), whole, strict=True):
        assert torch.equal(torch.cat(parts), expected)


def test_another_seed_or_split_plays_other_episodes():
    firsts = [seeds(GymVectorEnv(gym_spec(ID, seed=s), 2, split=p).reset()) for s in (0, 1) for p in ("train", "test")]
    assert len({value for pair in firsts for value in pair}) == 8


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 15))
def test_splits_share_no_seed_and_replays_are_of_earlier_stages(seed, index, episode, stage):
    drawn = [draw_episode(seed, split, index, episode, stage, 0.9) for split in ("train", "validation", "test")]
    assert [one.seed >> 29 for one in drawn] == [0, 1, 2]
    assert all(0 <= one.stage <= stage for one in drawn)
    assert draw_episode(seed, "train", index, episode, stage, 0.0).stage == stage


def test_numbers_of_episodes_that_are_left_out_are_not_played():
    env, other = (GymVectorEnv(gym_spec(ID, length=2), 1) for _ in range(2))
    for one in (env, other):
        one.reset()
    other.skip_episodes(2**28)
    ends = [[one.step(STILL) for _ in range(4)][-1].episodes.level.tolist() for one in (env, other)]
    assert ends == [[[1, 0]], [[2**28 + 1, 0]]]


def test_the_step_that_ends_an_episode_begins_the_next_and_hands_over_the_last_observation():
    env = GymVectorEnv(gym_spec(ID, length=2), 1)
    start = env.reset()
    first = env.step(torch.tensor([[0.0, 1.0]]))  # the middle of 0 to 2, the end of -4 to 4
    assert (first.reward.tolist(), first.final_rows.tolist()) == ([5.0], [])
    second = env.step(STILL)
    assert (second.terminated.tolist(), second.truncated.tolist()) == ([False], [True])
    assert second.final_rows.tolist() == [0]
    assert second.final_observation["observation"].tolist() == [[start["observation"][0, 0].item(), 2.0, 2.0]]
    assert second.observation["observation"][0, 1] == 0.0
    assert seeds(second.observation) != seeds(start)
    ends = second.episodes
    assert (ends.total_reward.item(), ends.length.item(), ends.level.tolist()) == (6.0, 2, [[0, 0]])
    assert env.step(STILL).episodes.length.item() == 1


def test_levels_are_seeds_and_each_is_played_once():
    env = GymVectorEnv(gym_spec(ID, length=1), 2, split="test", level_stride=2)
    named = [env.reset()["observation"][:, 0]]
    levels = []
    for _ in range(2):
        step = env.step(torch.zeros(2, 2))
        levels += step.episodes.level.tolist()
        named.append(step.observation["observation"][:, 0])
    assert levels == [[0, 0], [0, 1], [0, 2], [0, 3]]
    alone = GymVectorEnv(gym_spec(ID, length=1), 1, 3, split="test", level_stride=100)
    assert alone.reset()["observation"][0, 0] == named[1][1]


def test_success_and_collision_come_from_info_where_it_has_them():
    for wins, known in ((None, False), (True, True), (False, True)):
        env = GymVectorEnv(gym_spec(ID, length=1, wins=wins), 1)
        env.reset()
        step = env.step(STILL)
        assert (env.knows_success, step.terminated.item()) == (known, known)
        assert step.episodes.success.item() is bool(wins)
        assert step.episodes.collision.item() is (wins is False)


def test_a_stage_brings_its_arguments_to_episodes_that_begin_in_it():
    env = GymVectorEnv(gym_spec(ID, {"length": 3}, {"length": 5}), 1)
    env.reset()
    env.step(STILL)
    env.set_stage(1)
    lengths = [s.episodes for s in (env.step(STILL) for _ in range(7)) if s.episodes.ended.item()]
    assert [(e.length.item(), e.stage.item()) for e in lengths] == [(3, 0), (5, 1)]
    with pytest.raises(IndexError):
        env.set_stage(2)


def test_observations_of_all_plain_kinds_become_numbers():
    env = GymVectorEnv(gym_spec(ID, sees="dict"), 1)
    assert env.features(env.reset()).tolist() == [[1.0, 0.0, 0.0, 0.0, 1.0]]
    goals = GymVectorEnv(gym_spec(ID, sees="goal"), 1)
    seen = goals.reset()
    assert torch.equal(seen["desired_goal"], -seen["achieved_goal"])
    assert goals.features(seen).shape == (1, goals.layout.size) == (1, 9)


def test_choices_begin_where_the_environment_says():
    env = GymVectorEnv(gym_spec(ID, acts="discrete"), 3)
    env.reset()
    assert (env.actions.size, env.actions.discrete) == (3, True)
    assert env.step(torch.tensor([0, 1, 2])).reward.tolist() == [5.0, 6.0, 7.0]


def test_the_clock_of_the_spec_goes_before_the_environments_own():
    env = GymVectorEnv(gym_spec("CartPole-v1", max_steps=2), 1)
    env.reset()
    assert [env.step(torch.zeros(1, dtype=torch.int64)).truncated.item() for _ in range(2)] == [False, True]


def test_a_resumed_run_begins_the_next_episodes():
    env = GymVectorEnv(gym_spec(ID), 2)
    env.reset()
    env.step(torch.zeros(2, 2))
    saved = env.get_state()
    for _ in range(2):
        expected = env.step(torch.zeros(2, 2)).observation
    assert not env.exact_state
    again = GymVectorEnv(gym_spec(ID), 2).set_state(saved)
    assert torch.equal(again["observation"], expected["observation"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"episode": torch.zeros(3, dtype=torch.int64)}, "another size"),
        ({"episode": torch.tensor([-1])}, "no such"),
        ({"stage": torch.tensor(1)}, "no such"),
    ],
)
def test_a_foreign_state_is_refused(changed, message):
    env = GymVectorEnv(gym_spec(ID), 1)
    with pytest.raises(ValueError, match=message):
        env.set_state(env.get_state() | changed)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (gym_spec(ID, length=0), "train.env.gym.kwargs", "length 0 is no length"),
        (gym_spec(ID, lengthh=2), "train.env.gym.kwargs", "unexpected keyword argument 'lengthh'"),
        (gym_spec(ID, {}, {"length": 0}), "train.curriculum.stages[s1].kwargs", "length 0 is no length"),
        (gym_spec(ID, {}, {"sees": "goal"}), "train.curriculum.stages[s1].kwargs", "must not change"),
        (gym_spec(ID, sees="image"), "train.env.gym.id", "shows images"),
        (gym_spec(ID, sees="text"), "train.env.gym.id", "only numbers"),
        (gym_spec(ID, acts="unbounded"), "train.env.gym.id", "no bounds"),
        (gym_spec(ID, acts="wide"), "train.env.gym.id", "too wide"),
        (gym_spec(ID, acts="binary"), "train.env.gym.id", "only Box and Discrete"),
        (gym_spec("CartPool-v1"), "train.env.gym.id", "Did you mean: `CartPole`"),
        (gym_spec("no_such_package:Thing-v0"), "train.env.gym.id", "pip install 'no_such_package'"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_with_its_field(spec, field, message):
    with pytest.raises(SpecError) as refusal:
        GymVectorEnv(spec, 1)
    assert refusal.value.field == field
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    (tmp_path / "highway_env.py").write_text("raise ModuleNotFoundError(\"No module named 'highway_env'\")")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        SpecError, match=r"train.env.gym.id: 'parking-v0': needs highway-env .*pip install 'highway-env'"
    ):
        GymVectorEnv(gym_spec("parking-v0"), 1)


@pytest.mark.parametrize(("fault", "message"), [("raise", "the wheel came off"), ("die", "exit code 7")])
def test_an_environment_that_crashes_is_an_error_and_no_hang(fault, message):
    env = GymVectorEnv(gym_spec(ID, fault=fault), 3, threads=2)
    env.reset()
    with pytest.raises(EnvironmentCrashError, match=r"environments 0 to 0 of this rank: ") as crash:
        env.step(torch.zeros(3, 2))
    assert message in str(crash.value)


def test_one_environment_is_stepped_in_this_process_and_its_crash_is_told_too():
    env = GymVectorEnv(gym_spec(JUDGING, fault="raise"), 1)
    mine = Judging.made[-1]
    env.reset()
    assert mine.count == 0
    with pytest.raises(EnvironmentCrashError, match=r"environment 0 of this rank: ArithmeticError: the wheel came off"):
        env.step(STILL)
    env.close()
    assert mine.closed


def test_what_a_package_prints_when_it_is_made_is_no_result_of_ours(capsys):
    env = GymVectorEnv(gym_spec(ID, greets="hello"), 1)
    assert capsys.readouterr() == ("", "hello\n")
    env.close()


@pytest.mark.parametrize(("what", "value"), [("reward", "nan"), ("observation", "inf")])
def test_what_is_no_number_is_the_environments_fault_and_not_the_learning_rates(what, value):
    env = GymVectorEnv(gym_spec(ID, fault=f"no {what}"), 3, threads=2)
    env.reset()
    with pytest.raises(
        SpecError, match=rf"train.env.gym.id: '{ID}': environment 0, episode 0: its {what} holds {value}"
    ):
        env.step(torch.zeros(3, 2))


def test_a_resumed_run_still_knows_that_the_environment_tells_success():
    env = GymVectorEnv(gym_spec(ID, length=1, wins=True), 1)
    env.reset()
    env.step(torch.zeros(1, 2))
    again = GymVectorEnv(gym_spec(ID, length=1, wins=True), 1)
    again.set_state(env.get_state())
    assert env.knows_success and again.knows_success


def test_processes_end_with_their_environment():
    env = GymVectorEnv(gym_spec(ID), 2, threads=2)
    processes = list(env._pool._processes)
    assert [process.poll() for process in processes] == [None, None]
    del env
    gc.collect()
    assert [process.returncode for process in processes] == [0, 0]  # they left by themselves: nobody was killed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "entries", "goal", "actions", "discrete"),
    [
        ("CartPole-v1", 4, 0, 2, True),
        ("Pendulum-v1", 3, 0, 1, False),
        ("LunarLander-v3", 8, 0, 4, True),
        ("PointMaze_UMaze-v3", 4, 2, 2, False),
        ("parking-v0", 6, 6, 2, False),
        ("MiniGrid-Empty-5x5-v0", 7 * 7 * 20 + 4, 0, 7, True),
    ],
)
def test_environments_of_other_packages_are_played(name, entries, goal, actions, discrete):
    env = GymVectorEnv(gym_spec(name, max_steps=10), 3, threads=2)
    seen = env.reset()
    assert [tensor.shape[1] for tensor in seen.values()] == [entries, goal, goal]
    assert (env.actions.size, env.actions.discrete, env.layout.size) == (actions, discrete, entries + 2 * goal)
    ended = 0
    for k in range(12):
        choice = torch.arange(3) % actions
        step = env.step(choice if discrete else torch.full((3, actions), k / 12))
        ended += len(step.final_rows)
        assert torch.isfinite(env.features(step.observation)).all()
    assert ended >= 3
    assert env.knows_success == (goal > 0)
