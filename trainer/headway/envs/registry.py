"""Environments by the field that chooses them in `spec.train.env`."""

from __future__ import annotations

from collections.abc import Callable

from headway_api.train_spec import TrainSpec

from headway.envs.foreign.vector import GymVectorEnv
from headway.envs.nav.vector import NavVectorEnv
from headway.envs.protocol import VectorEnv

VECTOR_ENVS: dict[str, Callable[..., VectorEnv]] = {"nav": NavVectorEnv, "gym": GymVectorEnv}


def make_vector_env(
    spec: TrainSpec,
    num_envs: int,
    offset: int = 0,
    split: str = "train",
    threads: int = 1,
    level_stride: int = 0,
    device: str = "cpu",
) -> VectorEnv:
    """Make the environments `offset` to `offset + num_envs - 1` of the run, with levels of `split`.

    `split` is train, validation or test. `level_stride` 0 is for training: every episode is a new level. Otherwise
    levels are numbered and environment i plays `offset + i`, then every `level_stride`-th after it: for evaluation.
    headway/Nav-v0 runs on `device`, a torch device; environments of others run on the CPU.
    """
    kind, _ = spec.env.chosen()
    where = {"device": device} if kind == "nav" else {}
    return VECTOR_ENVS[kind](spec, num_envs, offset, split, threads, level_stride, **where)
