"""A trained policy from its files, to act with or to begin with: foreign data, read with care."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway import checkpoint
from headway.checkpoint import MODEL
from headway.envs import registry
from headway.errors import CheckpointError, SpecError
from headway.networks import GreedyPolicy, build_network

MAX_RECORD_BYTES = 4 * 1024 * 1024
PREFIX = "network."
BEST = "best.safetensors"


@dataclass(frozen=True)
class Policy:
    """What `headway eval` needs."""

    spec: TrainSpec
    step: int
    act: GreedyPolicy  # features [N, F] and where episodes begin -> actions, without exploring
    source: Path


@dataclass(frozen=True)
class Weights:
    """A network as files hold it."""

    spec: object  # the run's TrainSpec as it was written, not checked yet
    step: int
    tensors: dict[str, Tensor]  # names as in the network's state
    source: Path


def load_policy(path: Path) -> Policy:
    """Load from a step-* folder, a folder of them (the newest whole one), best.safetensors or an output folder.

    Its network is built for the environment of its spec. Raises CheckpointError that says what is wrong with it.
    """
    try:
        weights = _read(path)
        spec = TrainSpec.model_validate(weights.spec)
        with closing(registry.make_vector_env(spec, 1, offset=0, threads=1)) as env:
            # Sizes are the environment's, not the file's.
            network = build_network(spec.network, spec.algo, env.layout, env.actions, spec.seed)
        expected = network.state_dict()
        for name, tensor in expected.items():
            given = weights.tensors.get(name)
            if given is None or given.shape != tensor.shape or given.dtype != tensor.dtype:
                raise ValueError(f"{PREFIX}{name} is missing or of another shape or type than its spec says")
        network.load_state_dict({name: weights.tensors[name] for name in expected})
    except (OSError, ValueError, LookupError, TypeError) as error:  # pydantic's and JSON's are ValueErrors
        raise CheckpointError(f"{path}: no policy can be loaded: {error}") from None
    return Policy(spec, weights.step, GreedyPolicy(network), weights.source)


def load_initial_weights(path: str, field: str = "train.initFrom") -> dict[str, Tensor]:
    """Load what `field` names, any of `load_policy`'s places. Raises SpecError that says what is wrong."""
    try:
        return _read(Path(path)).tensors
    except (OSError, ValueError, LookupError, TypeError) as error:
        fix = f"no weights can be loaded: {error}: name a step-* folder, a {BEST} or an output folder"
        raise SpecError(field, path, fix) from None


def _read(path: Path) -> Weights:
    """Raises ValueError, OSError, KeyError or TypeError for what is no policy."""
    if path.suffix == ".safetensors":
        return _best(path)
    if (path / checkpoint.FILE).is_file():
        found = checkpoint.verify(path, with_replay=False)
    elif (path / BEST).is_file():
        return _best(path / BEST)
    else:
        found = _newest(path)
    tensors = checkpoint.load_tensors(found.directory / MODEL)
    return Weights(found.manifest.spec, found.manifest.step, _network(tensors), found.directory)


def _newest(root: Path) -> checkpoint.Found:
    """Search the folder itself, and as an output folder: checkpoints/<namespace>/<name>."""
    passed_over: list[str] = []
    for folder in (root, *sorted(root.glob("checkpoints/*/*"))):
        if (found := checkpoint.search(folder, None, passed_over, with_replay=False)) is not None:
            return found
    raise ValueError("; ".join(["no whole checkpoint there: name a step-* directory", *passed_over]))


def _best(path: Path) -> Weights:
    record_path = path.with_suffix(".json")
    if not record_path.is_file() or record_path.stat().st_size > MAX_RECORD_BYTES:
        raise ValueError(f"{record_path.name} is missing or too large")
    record = json.loads(record_path.read_bytes())
    return Weights(record["spec"], int(record["step"]), _network(checkpoint.load_tensors(path)), path)


def _network(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
