"""The ranks of one run: sums, votes and messages among them. With one rank everything is the identity."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.errors import RankLostError, SpecError
from headway.parallel.backend import GLOO, backend, gpu_of
from headway.parallel.pulse import Pulse
from headway.parallel.roll import Patience
from headway.parallel.vigil import Vigil
from headway.watchdog import Heart

# A dead peer closes its connections and is noticed at once; this bounds the wait for one that lives and does not come.
SILENCE_S = 300.0
# Nor is one waited for whose process has given no sign of life for so long. A thread that does nothing else gives two a
# second, so this is for machines that stand still (a hung node, a paused container), and above what a virtual machine
# pauses for when it is moved.
LIFE_S = 60.0
# Torch's own timeouts come later than ours, which say whose fault it is.
LATER = timedelta(seconds=60)


class Group:
    """This process's place among the ranks. Every method but the properties must be called by all ranks alike.

    Raises RankLostError where others are waited for in vain.
    """

    def __init__(
        self, rank: int = 0, world_size: int = 1, vigil: Vigil | None = None, device_backend: str = GLOO
    ) -> None:
        self.rank = rank
        self.world_size = world_size
        self._vigil = vigil
        self._has_nccl = device_backend != GLOO

    @property
    def is_main(self) -> bool:
        """Say whether this is rank 0, the only one that logs, reports and writes manifests."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add `tensor` up over ranks, in place. Gloo's ring adds in an order that depends on shape and ranks alone.

        On the GPU by NCCL where every rank has one of its own; this thread waits for the sum in any case.
        """
        if self._vigil is not None:
            self._vigil.run(lambda: dist.all_reduce(tensor, async_op=True), self._has_nccl and tensor.is_cuda)
        return tensor

    def mean_(self, tensor: Tensor) -> Tensor:
        """Average `tensor` over ranks, in place; see `sum_`."""
        return self.sum_(tensor).div_(self.world_size) if self.world_size > 1 else tensor

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, say whether any rank raised it."""
        votes = self.sum_(torch.tensor(flags, dtype=torch.int64))
        return [vote > 0 for vote in votes.tolist()]

    def least(self, number: int) -> int:
        """Return the smallest of all ranks' whole numbers."""
        found = torch.tensor(number, dtype=torch.int64)
        if self._vigil is not None:
            self._vigil.run(lambda: dist.all_reduce(found, dist.ReduceOp.MIN, async_op=True))
        return int(found)

    def gather(self, message: bytes) -> list[bytes]:
        """Return every rank's message, in rank order. Plain bytes: nothing between processes is pickled."""
        if self._vigil is None:
            return [message]
        sizes = torch.zeros(self.world_size, dtype=torch.int64)
        sizes[self.rank] = len(message)
        longest = int(self.sum_(sizes).max())
        row = torch.zeros(longest, dtype=torch.uint8)
        row[: len(message)] = torch.frombuffer(bytearray(message), dtype=torch.uint8) if message else row[:0]
        rows = [torch.empty_like(row) for _ in range(self.world_size)]
        self._vigil.run(lambda: dist.all_gather(rows, row, async_op=True))
        return [r[:size].numpy().tobytes() for r, size in zip(rows, sizes.tolist(), strict=True)]

    def from_main(self, message: bytes) -> bytes:
        """Return rank 0's message; what other ranks pass is not looked at."""
        return self.gather(message if self.is_main else b"")[0]


@contextmanager
def join(
    rank: int,
    world_size: int,
    silence_s: float = SILENCE_S,
    life_s: float = LIFE_S,
    device: str = "cpu",
    heart: Heart | None = None,
) -> Iterator[Group]:
    """Form the group that MASTER_ADDR and MASTER_PORT name; leave it at the end, however that comes.

    `device` is where this rank's tensors are. `heart` beats while others are waited for, and says where that was.

    Raises RankLostError, here or in a call of the group, when a rank is gone, has given no sign of life for `life_s`
    seconds, or has not come for `silence_s` seconds to where the others wait. Torch's threads then wait on for a minute
    and more, and the interpreter for them: the process is to leave by `os._exit`.
    """
    if world_size == 1:
        yield Group()
        return
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)
    timeout = timedelta(seconds=silence_s) + LATER
    store = _store(rank, timeout)
    node, gpu = int(os.environ.get("GROUP_RANK", "0")), gpu_of(device)  # the first is torch's agent's word for a node
    pulse = Pulse(dist.PrefixStore("pulse", store.clone()), rank, world_size, node, gpu)
    vigil = Vigil(pulse, Patience(silence_s, life_s), heart or Heart())
    pulse.start()
    try:
        vigil.await_arrival()
        chosen = backend([gpu, *(sign.gpu for sign in pulse.roll.signs.values())])
        if chosen != GLOO:
            # NCCL's own watchdog would kill this process, which could not say then whom it has waited for.
            os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
        vigil.run(
            lambda: dist.init_process_group(chosen, store=store, rank=rank, world_size=world_size, timeout=timeout)
        )
        yield Group(rank, world_size, vigil, chosen)
    except RankLostError:
        raise  # and leave the group as it is: taking it down would wait for the calls that never end
    except BaseException as error:
        pulse.tell(RankLostError(f"rank {rank} (node {node}) has failed: {type(error).__name__}: {error}", (rank,)))
        if dist.is_initialized():
            dist.destroy_process_group()
        raise
    else:
        dist.destroy_process_group()
    finally:
        pulse.stop()


def _store(rank: int, timeout: timedelta) -> dist.TCPStore:
    """Where ranks find one another: in torch's agent on node 0, or without an agent in rank 0. Waits for no other."""
    has_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=rank == 0 and not has_agent,
        timeout=timeout,
        wait_for_workers=False,
    )


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
