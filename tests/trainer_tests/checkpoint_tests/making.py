"""Small checkpoints for tests."""

from __future__ import annotations

import torch
from headway.checkpoint import NOTHING, CheckpointStore, Interval, Manifest, Retention, Saver, Snapshot, spec_hash
from headway.parallel import Group
from trainer_tests.conftest import line_spec


def store(root, attempt=1, uid="u1", keep=99):
    """`keep`: how many of the newest, or the whole rule."""
    return CheckpointStore(root, uid, attempt, keep if isinstance(keep, Retention) else Retention(keep))


def draft(step, attempt=1, uid="u1"):
    spec = line_spec()
    return Manifest(
        namespace="here", name="run", uid=uid, attempt=attempt, step=step, world_size=1, spec=spec.to_wire(),
        spec_hash=spec_hash(spec), loop={}, files={}, saved_at=0.0,
    )  # fmt: skip


def snapshot(step, attempt=1, uid="u1", backlog=NOTHING):
    """Of {"weight": [step]} and {"position": [step]}."""
    shared, own = {"weight": torch.tensor([float(step)])}, {"position": torch.tensor([float(step)])}
    return Snapshot.of(draft(step, attempt, uid), shared, own, backlog)


def of_two(step, rank, attempt=1, backlog=NOTHING):
    """Of one of two ranks: its own is {"rank": rank}."""
    found = draft(step, attempt).model_copy(update={"world_size": 2})
    return Snapshot.of(found, {"weight": torch.tensor([float(step)])}, {"rank": torch.tensor(rank)}, backlog)


def save(where, shared, own, draft, history=None):
    """Save and wait, as at the end of a run; return the directory."""
    saver = Saver(where, Group(), Interval(60.0))
    rows = where.segments.cut(history, True) if history else NOTHING
    saver.finish(lambda waits: Snapshot.of(draft, shared, own, rows))
    return saver.saved.path


def save_at(where, step, history, best):
    """Save a history at a step, after an evaluation of that rank has been the best."""
    save(where, {}, {}, draft(step, where.attempt).model_copy(update={"best": best}), history)


class Numbers:
    """A history of K steps of 2 environments: step t holds [10 t, 10 t + 1]."""

    def __init__(self, length, steps, num_envs=2):
        self.length, self.steps, self.num_envs = length, steps, num_envs
        self.kept = {t: self.step(t) for t in range(steps - self.held, steps)}

    def step(self, t):
        return torch.tensor([10 * t + n for n in range(self.num_envs)])

    @property
    def held(self):
        return min(self.length, self.steps)

    def grow(self, steps):
        self.kept |= {t: self.step(t) for t in range(self.steps, self.steps + steps)}
        self.steps += steps

    def rows(self, first, last):
        return {"number": torch.stack([self.kept[t] for t in range(first, last)])}

    def put(self, first, rows):
        if rows.keys() != {"number"}:
            raise ValueError("another column")
        self.kept |= {first + k: row for k, row in enumerate(rows["number"])}


def write(root, step, attempt=1, uid="u1", keep=99):
    """Save `snapshot` and wait; return the directory."""
    saver = Saver(store(root, attempt, uid, keep), Group(), Interval(60.0))
    saver.finish(lambda waits: snapshot(step, attempt, uid))
    return saver.saved.path
