"""Learning algorithms, by their name in the spec."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from headway_api.offpolicy_spec import Exploration
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.algos.dagger import DAgger
from headway.algos.dqn import DQNLearner
from headway.algos.learner import Learner
from headway.algos.offpolicy import OffPolicyAlgorithm
from headway.algos.ppo import PPO
from headway.algos.pqn import PQN
from headway.algos.protocol import Algorithm
from headway.algos.sac import SACLearner
from headway.algos.td3 import TD3Learner
from headway.envs.protocol import VectorEnv
from headway.errors import SpecError
from headway.networks import build_network
from headway.parallel import Group
from headway.replay import Replay, Source

log = logging.getLogger("headway")

MANY_ROWS: Final = 1024  # of a batch: fewer are learned from in one thread, or one for each critic


@dataclass(frozen=True)
class Parts:
    """What every algorithm is built from."""

    spec: TrainSpec
    env: VectorEnv  # for its layouts and functions: an algorithm knows no environment
    network: Any  # networks.build.PolicyModule
    env_index: Tensor  # int64 [N]: global indices of this rank's environments, on the device that learns
    group: Group
    threads: int
    scratch: Path

    @property
    def stages(self) -> list[Exploration | None]:
        """Each stage's own exploration, where it has one."""
        return [stage.exploration for stage in self.spec.curriculum.stages]


def build_algorithm(
    spec: TrainSpec, env: VectorEnv, group: Group, device: torch.device, threads: int, scratch: Path
) -> Algorithm:
    """Build the algorithm that the spec names, for this rank's environments, with its CPU threads.

    `scratch`: a folder for files larger than memory. Raises SpecError where the environment is none for it.
    """
    network = build_network(spec.network, spec.algo, env.layout, env.actions, spec.seed, spec.precision).to(device)
    if spec.precision == "fp16" and device.type == "cpu" and group.is_main:
        log.warning("precision fp16 on a CPU is slower than fp32: choose fp32 or bf16")
    env_index = torch.arange(env.num_envs, device=device) + group.rank * env.num_envs
    kind, _ = spec.algo.chosen()
    return ALGORITHMS[kind](Parts(spec, env, network, env_index, group, threads, scratch))


def _ppo(parts: Parts) -> Algorithm:
    ppo, env = parts.spec.algo.ppo, parts.env
    assert ppo is not None
    return PPO(
        ppo,
        parts.network,
        env.layout,
        env.actions,
        parts.env_index,
        parts.spec.seed,
        parts.group,
        parts.threads,
        parts.spec.precision,
    )


def _dagger(parts: Parts) -> Algorithm:
    spec, env = parts.spec, parts.env
    assert spec.algo.dagger is not None
    expert = partial(env.expert, spec.algo.dagger.expert)
    return DAgger(
        spec.algo.dagger, parts.network, env.layout, env.actions, parts.env_index, spec.num_envs, spec.seed,
        parts.group, expert, spec.precision,
    )  # fmt: skip


def _pqn(parts: Parts) -> Algorithm:
    spec, env = parts.spec, parts.env
    assert spec.algo.pqn is not None
    return PQN(
        spec.algo.pqn, parts.network, env.layout, env.actions, parts.env_index, spec.num_envs, spec.total_steps,
        spec.seed, parts.group, parts.stages, spec.precision,
    )  # fmt: skip


def _dqn(parts: Parts) -> Learner:
    assert parts.spec.algo.dqn is not None
    return DQNLearner(
        parts.spec.algo.dqn,
        parts.network,
        parts.env.actions.size,
        parts.env_index,
        parts.spec.seed,
        parts.group,
        parts.spec.precision,
    )


def _sac(parts: Parts) -> Learner:
    assert parts.spec.algo.sac is not None
    return SACLearner(
        parts.spec.algo.sac,
        parts.network,
        parts.env_index,
        parts.spec.seed,
        parts.group,
        parts.threads,
        parts.spec.precision,
    )


def _td3(parts: Parts) -> Learner:
    assert parts.spec.algo.td3 is not None
    return TD3Learner(
        parts.spec.algo.td3,
        parts.network,
        parts.env_index,
        parts.spec.seed,
        parts.group,
        parts.threads,
        parts.spec.precision,
    )


def _off_policy(learner: Callable[[Parts], Learner], parts: Parts) -> Algorithm:
    """Put a learner and a replay together.

    Threads that share the products of a small batch meet hundreds of times in a gradient step, and lose by it.
    """
    spec, (kind, own) = parts.spec, parts.spec.algo.chosen()
    if own.batch_size // parts.group.world_size < MANY_ROWS and parts.env_index.device.type == "cpu":
        torch.set_num_threads(1)
    try:
        replay = Replay(
            own.replay, _source(parts, kind), parts.env_index, spec.num_envs, own.batch_size // parts.group.world_size,
            own.gamma, spec.seed, parts.scratch,
        )  # fmt: skip
    except ValueError as error:  # too many to be prioritised
        fix = f"{error}: lower it, use more ranks, or leave prioritized out"
        raise SpecError(f"train.algo.{kind}.replay.capacity", own.replay.capacity, fix) from None
    return OffPolicyAlgorithm(
        own, learner(parts), replay, spec.num_envs, spec.total_steps, parts.group,
        getattr(own, "exploration", None), parts.stages,
    )  # fmt: skip


def _source(parts: Parts, kind: str) -> Source:
    """Where the replay's transitions come from. Raises SpecError for hindsight without goals."""
    env, hindsight = parts.env, parts.spec.algo.chosen()[1].replay.hindsight
    judge = env.judge() if hindsight is not None else None
    if hindsight is not None and judge is None:
        fix = "this environment has no goals that steps could be judged by: leave hindsight out"
        raise SpecError(f"train.algo.{kind}.replay.hindsight", hindsight.to_wire(), fix)
    return Source(env.layout.size, env.observation_size, env.goal_size, env.actions, env.features, judge)


ALGORITHMS: Final[dict[str, Callable[[Parts], Algorithm]]] = {
    "ppo": _ppo,
    "dagger": _dagger,
    "pqn": _pqn,
    "dqn": partial(_off_policy, _dqn),
    "sac": partial(_off_policy, _sac),
    "td3": partial(_off_policy, _td3),
}
