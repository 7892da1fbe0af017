"""N environments of another package behind our seam: see `headway.envs.protocol.VectorEnv` for each method."""

from __future__ import annotations

import math

import numpy as np
import torch
from headway_api.train_spec import TrainSpec
from numpy.typing import NDArray
from torch import Tensor

from headway.envs.foreign.alone import Alone
from headway.envs.foreign.features import make_features
from headway.envs.foreign.judge import StageJudge, make_judge
from headway.envs.foreign.memory import SUCCESS_UNKNOWN
from headway.envs.foreign.pool import Pool
from headway.envs.protocol import ActionSpace, EpisodeEnds, NotFiniteActionError, Observation, Step
from headway.errors import SpecError


class GymVectorEnv:
    """A Gymnasium environment by its id: one in this process, several in as many as the rank has threads."""

    exact_state = False  # nobody else's environment can give its state

    def __init__(
        self,
        spec: TrainSpec,
        num_envs: int,
        offset: int = 0,
        split: str = "train",
        threads: int = 1,
        level_stride: int = 0,
    ) -> None:
        """`level_stride` as in `make_vector_env`: a level is the seed of an episode.

        Raises SpecError where the package is missing, refuses its arguments, or shows what cannot be learned from.
        """
        assert spec.env.gym is not None
        self._id, self.num_envs, self._stride = spec.env.gym.id, num_envs, level_stride
        order = {
            "id": spec.env.gym.id, "kwargs": spec.env.gym.kwargs, "max_steps": spec.env.gym.max_steps,
            "stages": [{"name": stage.name, "kwargs": stage.kwargs} for stage in spec.curriculum.stages],
            "replay": spec.curriculum.replay, "seed": spec.seed, "split": split, "offset": offset,
            "stride": level_stride,
        }  # fmt: skip
        self._stages = len(spec.curriculum.stages)
        self._pool: Alone | Pool = Alone(order) if num_envs == 1 else Pool(order, num_envs, threads)
        self.actions = ActionSpace(self._pool.sizes.action, self._pool.sizes.discrete)
        self.observation_size, self.goal_size = self._pool.sizes.observation, self._pool.sizes.goal
        self._features = make_features(spec.env.gym, spec.curriculum.stages, self._pool.sizes)
        self.step_seconds = self._features.step_seconds
        self.layout = self._features.layout
        self.knows_success = False  # until an episode says
        self._stage = 0
        self._spec = spec
        self._judge: StageJudge | None = None  # made when asked for
        self._index = np.arange(num_envs, dtype=np.int64) + offset
        self._no_slot = torch.full((num_envs,), -1)
        self._total, self._length = np.zeros(num_envs), np.zeros(num_envs, np.int64)  # of the episodes under way

    def reset(self) -> Observation:
        """Begin episode 0 in every environment."""
        return self._begin(np.zeros(self.num_envs, np.int64))

    def step(self, action: Tensor) -> Step:
        """Advance every environment by one step. Raises EnvironmentCrashError if one raises or its process dies."""
        block, action_rows = self._pool.block, action.detach().cpu().numpy()
        if not np.isfinite(action_rows).all():
            raise NotFiniteActionError("the action holds a value that is not finite: the policy has diverged")
        block.action[:] = action_rows.reshape(self.num_envs, -1)
        stage, episode = block.stage.copy(), block.episode.copy()
        self._pool.do("step", self._stage)
        terminated = block.terminated != 0
        truncated = (block.truncated != 0) & ~terminated
        ended = terminated | truncated
        self.knows_success |= bool((block.success != SUCCESS_UNKNOWN).any())
        self._total += block.reward
        self._length += 1
        episodes = EpisodeEnds(
            ended=torch.from_numpy(ended),
            stage=torch.from_numpy(stage),
            success=torch.from_numpy((block.success == 1) & ended),
            collision=torch.from_numpy((block.collision != 0) & ended),
            total_reward=torch.from_numpy(self._total.astype(np.float32)),
            length=torch.from_numpy(self._length.copy()),
            level=self._levels(episode),
            slot=self._no_slot,
        )
        self._total[ended] = 0.0
        self._length[ended] = 0
        rows = ended.nonzero()[0]
        return Step(
            observation=self._observation(),
            reward=torch.from_numpy(block.reward.astype(np.float32)),
            terminated=torch.from_numpy(terminated),
            truncated=torch.from_numpy(truncated),
            final_rows=torch.from_numpy(rows),
            final_observation=_named(
                block.final_observation[rows], block.final_achieved[rows], block.final_desired[rows]
            ),
            episodes=episodes,
        )

    def skip_episodes(self, count: int) -> None:
        """Leave out so many numbers of episodes."""
        self._pool.block.episode[:] += count

    def set_stage(self, stage: int) -> None:
        """Episodes that begin from now on are of this stage, with its arguments. Raises IndexError."""
        if not 0 <= stage < self._stages:
            raise IndexError(f"stage {stage}: there are {self._stages}")
        self._stage = stage
        if self._judge is not None:
            self._judge.set_stage(stage)

    def remember_levels(self, levels: Tensor, weights: Tensor, share: float) -> None:
        """Refuse: what is not ours draws no level again. Raises SpecError."""
        raise SpecError("train.curriculum.learnability", self._id, "env.gym remembers no levels: take learnability out")

    def expert(self, name: str) -> Tensor:
        """Refuse: no planner knows this environment. Raises SpecError."""
        raise SpecError("train.algo.dagger.expert", name, f"there is no planner for {self._id}: train it by ppo")

    def shortest_path_meters(self, begins: Tensor) -> Tensor:
        """Nobody knows: float64 [N] of NaN."""
        return torch.full((self.num_envs,), math.nan, dtype=torch.float64)

    def features(self, observation: Observation) -> Tensor:
        """Network input, float32 [N, F]."""
        return self._features(observation)

    def judge(self) -> StageJudge | None:
        """What judges steps for other goals, on the host. See `make_judge`; raises SpecError."""
        if self._judge is None and self._pool.sizes.goal:
            self._judge = make_judge(self._spec, self._stage)
        return self._judge

    def close(self) -> None:
        """End the processes, and what judges."""
        self._pool.close()
        if self._judge is not None:
            self._judge.close()

    def get_state(self) -> dict[str, Tensor]:
        """Numbers of the episodes under way; where in them the environments are, only they know."""
        return {
            "episode": torch.from_numpy(self._pool.block.episode.copy()),
            "stage": torch.tensor(self._stage),
            "knows_success": torch.tensor(self.knows_success),
        }

    def set_state(self, state: dict[str, Tensor]) -> Observation:
        """Begin the episodes after those that were under way. Raises ValueError if the state does not fit."""
        episode, stage, knows = (state.get(name) for name in ("episode", "stage", "knows_success"))
        if (
            episode is None
            or stage is None
            or knows is None
            or episode.shape != (self.num_envs,)
            or episode.dtype != torch.int64
        ):
            raise ValueError("environment state: episode, stage or knows_success is missing or of another size")
        if not 0 <= int(stage) < self._stages or bool((episode < 0).any()):
            raise ValueError("environment state: there is no such stage or episode")
        self.set_stage(int(stage))
        self.knows_success = bool(knows)
        return self._begin(episode.numpy() + 1)

    def _begin(self, episode: NDArray[np.int64]) -> Observation:
        self._pool.block.episode[:] = episode
        self._pool.do("begin", self._stage)
        self._total[:] = 0.0
        self._length[:] = 0
        return self._observation()

    def _observation(self) -> Observation:
        block = self._pool.block
        return _named(block.observation.copy(), block.achieved.copy(), block.desired.copy())

    def _levels(self, episode: NDArray[np.int64]) -> Tensor:
        level = np.empty((self.num_envs, 2), np.int64)
        if self._stride:
            level[:, 0], level[:, 1] = 0, self._index + episode * self._stride
        else:
            level[:, 0], level[:, 1] = episode, self._index
        return torch.from_numpy(level)


def _named(*arrays: NDArray[np.float32]) -> Observation:
    names = ("observation", "achieved_goal", "desired_goal")
    return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}
