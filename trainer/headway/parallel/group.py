"""The ranks of one run: sums, votes and messages among them, over gloo. With one rank everything is the identity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.errors import SpecError

# A dead peer closes its connections and is noticed at once; this bounds the wait for one that is alive but silent.
SILENCE_S = 300.0


class Group:
    """This process's place among the ranks. Every method but the properties must be called by all ranks alike."""

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank = rank
        self.world_size = world_size

    @property
    def is_main(self) -> bool:
        """Say whether this is rank 0, the only one that logs, reports and writes manifests."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add `tensor` up over ranks, in place. Gloo's ring adds in an order that depends on shape and ranks alone."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def mean_(self, tensor: Tensor) -> Tensor:
        """Average `tensor` over ranks, in place; see `sum_`."""
        return self.sum_(tensor).div_(self.world_size) if self.world_size > 1 else tensor

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, say whether any rank raised it."""
        votes = self.sum_(torch.tensor(flags, dtype=torch.int64))
        return [vote > 0 for vote in votes.tolist()]

    def gather(self, message: bytes) -> list[bytes]:
        """Return every rank's message, in rank order. Plain bytes: nothing between processes is pickled."""
        if self.world_size == 1:
            return [message]
        sizes = torch.zeros(self.world_size, dtype=torch.int64)
        sizes[self.rank] = len(message)
        longest = int(self.sum_(sizes).max())
        row = torch.zeros(longest, dtype=torch.uint8)
        row[: len(message)] = torch.frombuffer(bytearray(message), dtype=torch.uint8) if message else row[:0]
        rows = [torch.empty_like(row) for _ in range(self.world_size)]
        dist.all_gather(rows, row)
        return [r[:size].numpy().tobytes() for r, size in zip(rows, sizes.tolist(), strict=True)]

    def from_main(self, message: bytes) -> bytes:
        """Return rank 0's message; what other ranks pass is not looked at."""
        return self.gather(message if self.is_main else b"")[0]


@contextmanager
def join(rank: int, world_size: int, silence_s: float = SILENCE_S) -> Iterator[Group]:
    """Form the group that MASTER_ADDR and MASTER_PORT name; leave it at the end, however that comes.

    Raises RuntimeError in the waiting call when a peer dies, or is silent for `silence_s` seconds.
    """
    if world_size == 1:
        yield Group()
        return
    dist.init_process_group("gloo", rank=rank, world_size=world_size, timeout=timedelta(seconds=silence_s))
    try:
        yield Group(rank, world_size)
    finally:
        dist.destroy_process_group()


def check_divisible(spec: TrainSpec, world_size: int) -> None:
    """Totals over ranks must divide among them. Raises SpecError that names the field, its value and the fix."""
    totals = {"train.numEnvs": spec.num_envs}
    kind, algo = spec.algo.chosen()
    for name, field in (("minibatchSize", "minibatch_size"), ("batchSize", "batch_size")):
        if hasattr(algo, field):
            totals[f"train.algo.{kind}.{name}"] = getattr(algo, field)
    for field, total in totals.items():
        if total % world_size:
            raise SpecError(field, total, f"does not divide by {world_size} ranks: choose a multiple of {world_size}")
    ppo = spec.algo.ppo
    if ppo is not None and spec.network.gru is not None:  # its minibatches are whole environments
        environments = ppo.minibatch_size // ppo.rollout_steps
        if environments % world_size:
            fix = f"holds {environments} environments' rollouts, which do not divide by {world_size} ranks: choose a "
            raise SpecError(
                "train.algo.ppo.minibatchSize",
                ppo.minibatch_size,
                fix + f"multiple of {ppo.rollout_steps * world_size}",
            )
