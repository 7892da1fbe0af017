"""What three ranks do in test_group.py: a module of its own, since a started process imports it by name."""

import os

import torch
from headway.parallel import join


def check_group() -> None:
    rank = int(os.environ["RANK"])
    with join(rank, 3) as group:
        assert group.is_main == (rank == 0)
        assert group.sum_(torch.tensor([rank, 1])).tolist() == [3, 3]
        assert group.any(rank == 2, False) == [True, False]
        assert group.gather(b"ab"[:rank]) == [b"", b"a", b"ab"]
        assert group.from_main(b"main" if rank == 0 else b"ignored") == b"main"
