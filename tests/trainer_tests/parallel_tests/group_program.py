"""What ranks do in test_group.py and test_lost_ranks.py: a module of its own, since a process imports it by name."""

import os
import signal
import time

import torch
from headway.parallel import join
from headway.watchdog import Heart


def check_group() -> None:
    rank = int(os.environ["RANK"])
    with join(rank, 3) as group:
        assert group.is_main == (rank == 0)
        assert group.sum_(torch.tensor([rank, 1])).tolist() == [3, 3]
        assert group.any(rank == 2, False) == [True, False]
        assert group.least(7 - rank) == 5
        assert group.gather(b"ab"[:rank]) == [b"", b"a", b"ab"]
        assert group.from_main(b"main" if rank == 0 else b"ignored") == b"main"


def vote_until(victim: int, what: str, silence_s: float, life_s: float, folder: str = "") -> None:
    """Vote again and again; at its third vote the rank `victim` does something else."""
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    heart = Heart()
    with join(rank, world_size, silence_s, life_s, heart=heart) as group:
        for number in range(1, 1000):
            heart.beat("votes", number)
            if folder:
                with open(f"{folder}/{rank}", "w") as file:
                    file.write(str(number))
                time.sleep(0.05)
            if number == 3 and rank == victim:
                if what == "raises":
                    raise ValueError("the loss is not finite")
                if what == "hangs":
                    time.sleep(1000)
                os.kill(os.getpid(), signal.SIGKILL if what == "is killed" else signal.SIGSTOP)
            if group.any(number == 40)[0]:
                return


def join_only() -> None:
    with join(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), silence_s=6.0):
        pass


def sum_on_gpus(one_each: bool, end: str) -> None:
    """Add tensors up on the GPU, and vote; then rank 1 comes to `end`, while rank 0 adds on."""
    rank = int(os.environ["RANK"])
    device = f"cuda:{rank if one_each else 0}"
    with join(rank, 2, 60.0, life_s=3.0, device=device) as group:
        assert group.sum_(torch.full((1000,), rank + 1.0, device=device)).eq(3).all()
        assert group.any(rank == 1) == [True]
        assert ("nccl" in str(torch.distributed.get_backend_config())) == one_each
        if end and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL if end == "is killed" else signal.SIGSTOP)
        if end:
            group.sum_(torch.ones(1000, device=device))
