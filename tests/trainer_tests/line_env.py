"""A tiny deterministic environment with the real one's interface: a point on a line drives to the origin.

Start positions are a function of the level, (episode, global index), and the seed: a remembered level begins where it
did. Stage k starts up to 0.3 * (k + 1) away.
"""

from __future__ import annotations

import torch
from headway import randomness
from headway.envs.protocol import ActionSpace, EpisodeEnds, FeatureLayout, Judge, Observation, Step
from torch import Tensor

MAX_STEPS = 12


class LineEnv:
    layout = FeatureLayout(plain=2)
    actions = ActionSpace(1)
    exact_state = True
    knows_success = True
    observation_size, goal_size = 1, 2
    step_seconds = 0.1

    def __init__(self, num_envs: int, offset: int = 0, seed: int = 0) -> None:
        self.num_envs = num_envs
        self.seed = seed
        self.index = torch.arange(offset, offset + num_envs)
        self.stage = 0
        self.position = torch.zeros(num_envs)
        self.episode = torch.full((num_envs,), -1)
        self.began = torch.zeros(num_envs, dtype=torch.int64)  # stage in which the episode began
        self.length = torch.zeros(num_envs, dtype=torch.int64)
        self.total = torch.zeros(num_envs)
        self.level = torch.zeros(num_envs, 2, dtype=torch.int64)  # (episode, index) that is being played
        self.slot = torch.full((num_envs,), -1)  # its place among the remembered ones
        self.remember_levels(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 0.0)

    def reset(self) -> Observation:
        self.episode.fill_(-1)
        self._begin(torch.ones(self.num_envs, dtype=torch.bool))
        return self._observation()

    def _begin(self, rows: Tensor) -> None:
        self.episode[rows] += 1
        zero = torch.zeros(1, dtype=torch.int64)
        again, which, _, _ = randomness.philox((self.index, self.episode, zero, zero), (self.seed, 2))
        total = self.weights.cumsum(0)
        slot = torch.searchsorted(total, which % max(1, int(total[-1])), right=True)
        slot = torch.where((again < self.share * 2**32) & (total[-1] > 0), slot, -1)
        level = torch.where(slot[:, None] < 0, torch.stack((self.episode, self.index), 1), self.levels[slot])
        self.slot, self.level = torch.where(rows, slot, self.slot), torch.where(rows[:, None], level, self.level)
        words = randomness.philox((self.level[:, 1], self.level[:, 0], zero, zero), (self.seed, 1))
        start = (words[0].double() / 2**31 - 1).float() * 0.3 * (self.stage + 1)
        self.position = torch.where(rows, start + 0.15 * torch.sign(start), self.position)
        self.began[rows] = self.stage
        self.length[rows] = 0
        self.total[rows] = 0.0

    def _observation(self) -> Observation:
        zero = torch.zeros(self.num_envs, 2)
        return {"observation": self.position[:, None].clone(), "achieved_goal": zero, "desired_goal": zero.clone()}

    def step(self, action: Tensor) -> Step:
        self.position = self.position + 0.2 * action[:, 0].clamp(-1, 1)
        self.length += 1
        success, collision = self.position.abs() < 0.1, self.position.abs() > 2.0
        terminated = success | collision
        truncated = ~terminated & (self.length >= MAX_STEPS)
        reward = success.float() - collision.float() - 0.05
        self.total += reward
        ended = terminated | truncated
        ends = EpisodeEnds(
            ended, self.began.clone(), success, collision, self.total.clone(), self.length.clone(), self.level.clone(),
            self.slot.clone(),
        )  # fmt: skip
        rows = ended.nonzero().squeeze(-1)
        final = {name: tensor[rows] for name, tensor in self._observation().items()}
        self._begin(ended)
        return Step(self._observation(), reward, terminated, truncated, rows, final, ends)

    def skip_episodes(self, count: int) -> None:
        self.episode += count

    def set_stage(self, stage: int) -> None:
        self.stage = stage

    def remember_levels(self, levels: Tensor, weights: Tensor, share: float) -> None:
        self.levels, self.weights, self.share = levels, weights, share

    def expert(self, name: str) -> Tensor:
        return -torch.sign(self.position)[:, None]

    def features(self, observation: Observation) -> Tensor:
        position = observation["observation"]
        return torch.cat((position, torch.ones_like(position)), dim=-1)

    def judge(self) -> Judge | None:
        return None

    def close(self) -> None:
        pass

    def get_state(self) -> dict[str, Tensor]:
        names = ("position", "episode", "began", "length", "total", "level", "slot")
        return {name: getattr(self, name) for name in names}

    def set_state(self, state: dict[str, Tensor]) -> Observation:
        for name, tensor in self.get_state().items():
            tensor.copy_(state[name])
        return self._observation()
