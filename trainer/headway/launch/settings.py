"""What the operator, or `headway run`, tells a launcher and its ranks through the environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headway_api import names

from headway.errors import UserError


@dataclass(frozen=True)
class Settings:
    """One node's part in one attempt of one run."""

    spec: Path
    """The run's object, as JSON or YAML."""
    namespace: str
    name: str
    uid: str
    attempt: int
    """From 1."""
    root: Path
    """Root of all runs' checkpoints; this run's are under `<namespace>/<name>`."""
    out: Path
    """Metrics, event files, the local progress file."""
    leave_at: int
    """Environment steps after which the run saves and leaves; 0: it makes all its steps."""
    launched_at: float
    """When the launcher was started, in seconds since the epoch; 0: not known."""
    nnodes: int
    nproc: int
    """Ranks on this node."""
    node_rank: int
    master_addr: str
    """Host of node 0; not looked at when there is one node."""
    master_port: int
    progress_url: str
    """Base URL of the operator's progress server; empty writes OUT/progress.json instead."""
    progress_ca: Path
    progress_token: Path

    @property
    def checkpoints(self) -> Path:
        """The folder that holds this run's step-* folders."""
        return self.root / self.namespace / self.name


def from_environment(env: Mapping[str, str]) -> Settings:
    """Read the variables of `headway_api.names`. Raises UserError that names the first one that is amiss."""
    return Settings(
        spec=Path(_text(env, names.ENV_SPEC)),
        namespace=_text(env, names.ENV_NAMESPACE),
        name=_text(env, names.ENV_NAME),
        uid=_text(env, names.ENV_UID),
        attempt=_number(env, names.ENV_ATTEMPT, least=1),
        root=Path(_text(env, names.ENV_ROOT)),
        out=Path(_text(env, names.ENV_OUT)),
        leave_at=_number(env, names.ENV_LEAVE_AT, least=0, default="0"),
        launched_at=_time(env, names.ENV_LAUNCHED_AT),
        nnodes=_number(env, names.ENV_NNODES, least=1, default="1"),
        nproc=_number(env, names.ENV_NPROC, least=1, default="1"),
        node_rank=_number(env, names.ENV_NODE_RANK, least=0, default="0"),
        master_addr=env.get(names.ENV_MASTER_ADDR, "127.0.0.1"),
        master_port=_number(env, names.ENV_MASTER_PORT, least=1, default=str(names.MASTER_PORT)),
        progress_url=env.get(names.ENV_PROGRESS_URL, ""),
        progress_ca=Path(env.get(names.ENV_PROGRESS_CA, "")),
        progress_token=Path(env.get(names.ENV_PROGRESS_TOKEN, "")),
    )


def _text(env: Mapping[str, str], name: str) -> str:
    if not env.get(name):
        raise UserError(f"{name}: is not set: `headway worker` is started by the operator or by `headway run SPEC`")
    return env[name]


def _number(env: Mapping[str, str], name: str, least: int, default: str = "") -> int:
    text = env.get(name) or default
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name}: found {text!r}: give a whole number of at least {least}")
    return int(text)


def _time(env: Mapping[str, str], name: str) -> float:
    text = env.get(name) or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise UserError(f"{name}: found {text!r}: give seconds since the epoch")
    return seconds
