"""Random streams of transitions of N environments on a line of integers, and a slow, obvious replay of them."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from headway.envs.protocol import ActionSpace, EpisodeEnds, Step, Transition
from headway.replay import Replay, Source
from headway.replay.draws import GOAL, RELABEL, words
from headway_api import replay_spec

GAMMA = 0.5


def judge(before, achieved, goal):
    """One for the goal, and a tenth for each metre nearer."""
    reached = (achieved - goal).abs()[:, 0] < 0.5
    nearer = (before - goal).abs()[:, 0] - (achieved - goal).abs()[:, 0]
    return reached.float() + 0.125 * nearer, reached


def featurise(observation):
    return torch.cat([observation[name] for name in ("observation", "achieved_goal", "desired_goal")], 1)


@dataclass
class Moment:
    """One step of one environment, with what the slow replay needs of it."""

    observation: float
    place: float
    goal: float
    action: float
    reward: float
    besides: float  # of the reward: what does not depend on the goal
    terminated: bool
    crashed: bool
    truncated: bool
    next_observation: float
    next_place: float


class Stream:
    """Walks of length 1 to 9 from 0 to a goal; they may crash, arrive, or run out of time."""

    def __init__(self, num_envs, seed):
        self.random, self.num_envs = random.Random(seed), num_envs
        self.number = 0.0
        self.now = [self._begin() for _ in range(num_envs)]
        self.history: list[list[Moment]] = [[] for _ in range(num_envs)]

    def _begin(self):
        return {"observation": self._new(), "place": 0.0, "goal": float(self.random.choice([-3, -2, 2, 3])), "age": 0}

    def _new(self):
        self.number += 1.0
        return self.number

    def step(self):
        before = [dict(now) for now in self.now]
        moments, after = [], []
        for n in range(self.num_envs):
            now = self.now[n]
            place = now["place"] + self.random.choice([-1.0, 0.0, 1.0])
            crashed = self.random.random() < 0.08
            terminated = crashed or place == now["goal"]
            truncated = not terminated and (now["age"] == 8 or self.random.random() < 0.05)
            one = (torch.tensor([[value]]) for value in (now["place"], place, now["goal"]))
            besides = -0.25 - 2.0 * crashed
            reward = judge(*one)[0].item() + besides
            following = {"observation": self._new(), "place": place, "goal": now["goal"], "age": now["age"] + 1}
            moments.append(
                Moment(
                    now["observation"], now["place"], now["goal"], self.random.random(), reward, besides, terminated,
                    crashed and place != now["goal"], truncated, following["observation"], place,
                )
            )  # fmt: skip
            after.append(following)
            self.now[n] = self._begin() if terminated or truncated else following
            self.history[n].append(moments[-1])
        return self._transition(before, moments, after)

    def _transition(self, before, moments, after):
        ended = torch.tensor([m.terminated or m.truncated for m in moments])
        rows = ended.nonzero()[:, 0]
        collision = torch.tensor([m.crashed for m in moments])
        step = Step(
            observation=self._observation(self.now),
            reward=torch.tensor([m.reward for m in moments]),
            terminated=torch.tensor([m.terminated for m in moments]),
            truncated=torch.tensor([m.truncated for m in moments]),
            final_rows=rows,
            final_observation={k: v[rows] for k, v in self._observation(after).items()},
            episodes=EpisodeEnds(ended, *[ended] * 2, collision, *[ended] * 4),
        )
        now = self._observation(before)
        action = torch.tensor([[m.action] for m in moments])
        return Transition(now, featurise(now), action, step, featurise(step.observation), featurise)

    def _observation(self, rows):
        names = {"observation": "observation", "achieved_goal": "place", "desired_goal": "goal"}
        return {name: torch.tensor([[row[key]] for row in rows]) for name, key in names.items()}


def make(num_envs=3, seed=0, batch_size=16, scratch=None, **given):
    """A replay for such streams."""
    spec = replay_spec.Replay.model_validate({"capacity": 20 * num_envs} | given)
    source = Source(3, 1, 1, ActionSpace(1), featurise, judge if "hindsight" in given else None)
    return Replay(spec, source, torch.arange(num_envs), num_envs, batch_size, GAMMA, seed, scratch)


def whole_episode(moments, t, oldest):
    """First and last step of the episode of step t; None if it has not ended, or its beginning is overwritten."""
    first = t
    while first > 0 and not (moments[first - 1].terminated or moments[first - 1].truncated):
        first -= 1
    last = t
    while not (moments[last].terminated or moments[last].truncated):
        last += 1
        if last == len(moments):
            return None
    return (first, last) if first >= oldest else None


def slowly(replay, stream, slot, step, row):
    """What row `row` of gradient step `step` must be, drawn from `slot`: (features, action, reward, discount, next)."""
    spec, steps = replay.spec, len(stream.history[0])
    env, oldest = slot % stream.num_envs, max(0, steps - replay.length)
    moments = stream.history[env]
    (t,) = [t for t in range(oldest, steps) if t % replay.length == slot // stream.num_envs]
    goal = None
    if spec.hindsight is not None and (episode := whole_episode(moments, t, oldest)):
        goal = new_goal(replay, stream, env, t, episode, step, row)
    total, discount = 0.0, 1.0
    for k in range(t, min(t + spec.n_steps, steps)):
        m = moments[k]
        reward, terminated = m.reward, m.terminated
        if goal is not None:
            of_goal, reached = judge(*(torch.tensor([[v]]) for v in (m.place, m.next_place, goal)))
            reward, terminated = of_goal.item() + m.besides, reached.item() or m.crashed
        total += discount * reward
        discount *= GAMMA
        if terminated:
            discount = 0.0
        if terminated or m.truncated or m.terminated:
            break
    used = moments[t].goal if goal is None else goal
    return (
        [moments[t].observation, moments[t].place, used], [moments[t].action], total, discount,
        [m.next_observation, m.next_place, used],
    )  # fmt: skip


def new_goal(replay, stream, env, t, episode, step, row):
    """The goal that the strategy draws, or None where the transition keeps its own."""
    spec, moments = replay.spec, stream.history[env]
    chance, which = (
        words(replay.seed, replay.shard, step, 1, replay.batch_size, purpose, torch.device("cpu"))[0, row].item()
        for purpose in (RELABEL, GOAL)
    )
    if chance >= 2**62 // (spec.hindsight.goals + 1) * spec.hindsight.goals:
        return None
    first, last = episode
    window_end = min(t + spec.n_steps - 1, last)
    steps = len(moments)
    candidates = {
        "future": [moments[k].next_place for k in range(window_end, last + 1)],
        "final": [moments[last].next_place],
        "episode": [moments[k].next_place for k in range(first, last + 1)],
        "random": [
            stream.history[n][k].next_place
            for k in sorted(range(max(0, steps - replay.length), steps), key=lambda k: k % replay.length)
            for n in range(stream.num_envs)
        ],
    }[spec.hindsight.strategy]
    return candidates[which % len(candidates)]
