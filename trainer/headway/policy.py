"""A trained policy from its files, to act with: foreign data, read with care."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway import checkpoint
from headway.checkpoint import MODEL
from headway.envs import registry
from headway.errors import CheckpointError
from headway.networks import GreedyPolicy, build_actor_critic

MAX_RECORD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Policy:
    """What `headway eval` needs."""

    spec: TrainSpec
    step: int
    act: GreedyPolicy  # features [N, F] and where episodes begin -> actions, without exploring
    source: Path


def load_policy(path: Path) -> Policy:
    """Load from a step-* directory, a folder of them (the newest whole one), or best.safetensors.

    Raises CheckpointError that says what is wrong with it.
    """
    try:
        if path.suffix == ".safetensors":
            return _from_best(path)
        found = checkpoint.verify(path) if (path / checkpoint.FILE).is_file() else _newest(path)
        weights = checkpoint.load_tensors(found.directory / MODEL)
        return _policy(found.manifest.train_spec(), found.manifest.step, weights, found.directory)
    except (OSError, ValueError, LookupError, TypeError) as error:  # pydantic's and JSON's are ValueErrors
        raise CheckpointError(f"{path}: no policy can be loaded: {error}") from None


def _newest(root: Path) -> checkpoint.Found:
    passed_over: list[str] = []
    found = checkpoint.search(root, None, passed_over)
    if found is None:
        raise ValueError("; ".join(["no whole checkpoint there: name a step-* directory", *passed_over]))
    return found


def _from_best(path: Path) -> Policy:
    record_path = path.with_suffix(".json")
    if not record_path.is_file() or record_path.stat().st_size > MAX_RECORD_BYTES:
        raise ValueError(f"{record_path.name} is missing or too large")
    record = json.loads(record_path.read_bytes())
    spec = TrainSpec.model_validate(record["spec"])
    return _policy(spec, int(record["step"]), checkpoint.load_tensors(path), path)


def _policy(spec: TrainSpec, step: int, tensors: dict[str, Tensor], source: Path) -> Policy:
    weights = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
    env = registry.make_vector_env(spec, 1)  # the sizes are its own, not the file's
    network = build_actor_critic(spec.network, spec.algo, env.layout, env.actions, spec.seed)
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name not in weights or weights[name].shape != tensor.shape or weights[name].dtype != tensor.dtype:
            raise ValueError(f"network.{name} is missing or of another shape or type than its spec says")
    network.load_state_dict({name: weights[name] for name in expected})
    return Policy(spec, step, GreedyPolicy(network), source)
