"""Replay: the newest transitions of this rank's environments, and the draws that are learned from.

What is drawn may be prioritised, have n-step returns and relabelled goals, all at once: a goal relabels the whole
window, the window is cut where that goal would have ended it, and the priority belongs to the window's first
transition, by the TD error of the goal that was used. N environments, K steps of each, B drawn by this rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from headway_api import replay_spec
from torch import Tensor

from headway.envs.protocol import Transition
from headway.replay.draws import INDEX, words
from headway.replay.plain import PlainRows
from headway.replay.priorities import HIGHEST, MOST_LEAVES, Priorities, RunningSums
from headway.replay.relabelled import EpisodeEnds, RelabelledRows
from headway.replay.ring import Column, Ring
from headway.replay.transitions import Batch, Rows, Source
from headway.replay.tree import SumTree

CHANGING: Final = ("truncated", "until")  # columns in which a row may change after it was written
_AT_ONCE: Final = 64  # uniform batches that are gathered together


class Replay:
    """Adds a transition of every environment at once, and draws batches for gradient steps by their numbers."""

    def __init__(
        self,
        spec: replay_spec.Replay,
        source: Source,
        env_index: Tensor,
        total_envs: int,
        batch_size: int,
        gamma: float,
        seed: int,
        scratch: Path | None = None,
    ) -> None:
        """`env_index` int64 [N]: global, on the device that learns; `batch_size`: of this rank.

        `scratch`: a folder for files if `storage` is disk. Raises ValueError for more than can be prioritised.
        """
        self.spec, self.batch_size, self.seed = spec, batch_size, seed
        self.shard, self.device = int(env_index[0]), env_index.device
        self._features = source.features
        self._rows = self._make_rows(source, gamma)
        self.ends = EpisodeEnds(len(env_index)) if spec.hindsight is not None else None
        action = Column(dtype=torch.int64) if source.actions.discrete else Column(source.actions.size)
        flags = {name: Column(dtype=torch.bool) for name in ("terminated", "truncated")}
        columns = {"action": action, "reward": Column()} | flags | self._rows.columns()
        on_disk = scratch if spec.storage == "disk" else None
        length = spec.capacity // total_envs
        self.priorities = self._make_priorities(length * len(env_index))
        self.ring = Ring(length, len(env_index), columns, self.device, on_disk)

    @property
    def size(self) -> int:
        """Transitions of this rank that are there."""
        return self.ring.held * self.ring.num_envs

    def add(self, transition: Transition) -> None:
        """Take in one transition of every environment."""
        step = transition.step
        rows = {"action": transition.action, "reward": step.reward}
        rows |= {"terminated": step.terminated, "truncated": step.truncated}
        row = self.ring.add(rows | self._rows.kept(transition))
        if self.priorities is not None:
            self.priorities.fill(row * self.ring.num_envs, self.ring.num_envs)
        if self.ends is not None:
            self.ends.add(self.ring, step.episodes.ended.numpy())

    def reseed(self, seed: int) -> None:
        """Draw by another seed from now on."""
        self.seed = self._rows.seed = seed

    def cut(self) -> None:
        """End the episodes under way as if by the clock: after a resume their environments begin new ones."""
        ring = self.ring
        if ring.steps:
            ring.columns["truncated"][ring.newest] |= ~ring.columns["terminated"][ring.newest]
        if self.ends is not None:
            self.ends.close(ring, self.ends.age > 0)

    def batches(self, first_step: int, count: int, beta: float) -> Iterator[Batch]:
        """Draw for gradient steps `first_step` to `first_step + count - 1`: each once the one before was learned."""
        if self.priorities is not None:
            for step in range(first_step, first_step + count):
                slot, weight = self.priorities.draw(self.seed, self.shard, step, self.batch_size, beta)
                yield from self._gather(slot, weight, step)
            return
        for step in range(first_step, first_step + count, _AT_ONCE):
            steps = min(_AT_ONCE, first_step + count - step)
            word = words(self.seed, self.shard, step, steps, self.batch_size, INDEX, self.device)
            yield from self._gather((word % self.size).flatten(), None, step)

    def blank(self, rows: int) -> Batch:
        """A batch of the shapes that are drawn, of zeros; of actions, whatever lies first in the table."""
        features, following = (torch.zeros(rows, self._features, device=self.device) for _ in range(2))
        reward, discount, weight = (torch.zeros(rows, device=self.device) for _ in range(3))
        slot = torch.zeros(rows, dtype=torch.int64, device=self.device)
        action = self.ring.records(slot)["action"]
        return Batch(features, action, reward, discount, following, None if self.priorities is None else weight, slot)

    def learned(self, batch: Batch, td_error: Tensor) -> None:
        """Set the priorities of what was drawn by its TD errors [B]."""
        if self.priorities is not None:
            self.priorities.update(batch.slot, td_error)

    # --- checkpoints: what never changes is in segments (checkpoint.History), the rest in the rank's own file -------

    @property
    def length(self) -> int:
        """K."""
        return self.ring.length

    @property
    def steps(self) -> int:
        """Steps of each environment that were ever added."""
        return self.ring.steps

    @property
    def held(self) -> int:
        """Steps of each environment that are there."""
        return self.ring.held

    def rows(self, first: int, last: int) -> dict[str, Tensor]:
        """See History.rows."""
        return self.ring.copies([name for name in self.ring.columns if name not in CHANGING], first, last)

    def put(self, first: int, rows: dict[str, Tensor]) -> None:
        """See History.put."""
        if rows.keys() != self.ring.columns.keys() - set(CHANGING):
            raise ValueError(f"columns of the replay: {sorted(rows.keys() ^ self.ring.columns.keys())}")
        self.ring.put(first, rows)

    def get_state(self) -> dict[str, Tensor]:
        """Priorities, ends and counters: [N, ...] each, but `steps`, which is the same for all."""
        ring, num_envs = self.ring, self.ring.num_envs
        names = [name for name in CHANGING if name in ring.columns]
        rows = ring.copies(names, ring.steps - ring.held, ring.steps)
        state = {name: tensor.T.contiguous() for name, tensor in rows.items()} | {"steps": torch.tensor(ring.steps)}
        if self.ends is not None:
            state["age"] = torch.from_numpy(self.ends.age.copy())
        if self.priorities is not None:
            leaves = self.priorities.get_leaves().view(ring.length, num_envs)[self._order()]
            state["leaves"] = leaves.T.contiguous()  # [N, held], oldest first
            state["highest"] = torch.full((num_envs,), self.priorities.highest)
        return state

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called, but for the segments. Raises ValueError for what does not fit."""
        ring, num_envs = self.ring, self.ring.num_envs
        ring.steps = int(state.get("steps", torch.tensor(-1)))
        if ring.steps < 0 or state.keys() != (mine := self.get_state()).keys():
            raise ValueError(f"state of the replay: {sorted(state.keys() ^ mine.keys()) or 'steps below 0'}")
        for name, tensor in state.items():
            if tensor.shape != mine[name].shape or tensor.dtype != mine[name].dtype:
                raise ValueError(f"{name} of the replay is {tensor.dtype} {[*tensor.shape]}, not {[*mine[name].shape]}")
        ring.put(ring.steps - ring.held, {name: state[name].T for name in CHANGING if name in state})
        if self.ends is not None:
            self.ends.age = state["age"].numpy().copy()
        if self.priorities is not None:
            if bool((state["leaves"] < 0).any()) or bool((state["leaves"] > HIGHEST).any()):
                raise ValueError("leaves of the replay: a priority is out of bounds")
            leaves = torch.zeros(ring.length, num_envs, dtype=torch.int64)
            leaves[self._order()] = state["leaves"].T
            self.priorities.set_leaves(leaves.flatten(), int(state["highest"].max()))

    def _order(self) -> Tensor:
        """Rows that are there, oldest first."""
        return torch.arange(self.ring.steps - self.ring.held, self.ring.steps) % self.ring.length

    def _gather(self, slot: Tensor, weight: Tensor | None, step: int) -> Iterator[Batch]:
        """Batches from the slots int64 [S * B] of S gradient steps, from `step` on."""
        records = self.ring.records(slot)
        drawn = self._rows.draw(self.ring, records, slot, step)
        tensors = (drawn.features, records["action"], drawn.reward, drawn.discount, drawn.next_features)
        if len(slot) == self.batch_size:
            yield Batch(*tensors, weight, slot)
            return
        pieces = (tensor.split(self.batch_size) for tensor in (*tensors, slot))
        for *rows, slots in zip(*pieces, strict=True):
            yield Batch(*rows, weight, slots)

    def _make_rows(self, source: Source, gamma: float) -> Rows:
        steps = self.spec.n_steps
        if self.spec.hindsight is None:
            return PlainRows(source, steps, gamma)
        assert source.judge is not None  # refused by name before
        return RelabelledRows(
            self.spec.hindsight, source, source.judge, steps, gamma, self.seed, self.shard, self.batch_size
        )

    def _make_priorities(self, size: int) -> Priorities | None:
        given = self.spec.prioritized
        if given is None:
            return None
        if size > MOST_LEAVES:
            raise ValueError(f"{size} transitions of one rank cannot be prioritised: at most {MOST_LEAVES}")
        if self.device.type == "cpu":
            return SumTree(size, given.alpha, given.epsilon)
        return RunningSums(size, given.alpha, given.epsilon, self.device)
