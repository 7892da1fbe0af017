"""Small checkpoints for tests."""

from __future__ import annotations

import torch
from headway.checkpoint import CheckpointStore, Manifest, spec_hash
from headway.parallel import Group
from trainer_tests.conftest import line_spec


def store(root, attempt=1, uid="u1", keep=99):
    return CheckpointStore(root, uid, attempt, keep, Group())


def draft(step, attempt=1, uid="u1"):
    spec = line_spec()
    return Manifest(
        namespace="here", name="run", uid=uid, attempt=attempt, step=step, world_size=1, spec=spec.to_wire(),
        spec_hash=spec_hash(spec), loop={}, files={}, saved_at=0.0,
    )  # fmt: skip


def write(root, step, attempt=1, uid="u1", keep=99):
    """Save {"weight": [step]} and {"position": [step]}; return the directory."""
    shared, own = {"weight": torch.tensor([float(step)])}, {"position": torch.tensor([float(step)])}
    return store(root, attempt, uid, keep).save(shared, own, draft(step, attempt, uid)).path
