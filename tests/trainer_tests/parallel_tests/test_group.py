import os

import pytest
import torch
from headway.parallel import join
from trainer_tests.parallel_tests import gang


def test_one_rank_is_the_identity():
    with join(0, 1) as group:
        assert group.is_main
        assert group.sum_(torch.tensor([1, 2])).tolist() == [1, 2]
        assert group.any(True, False) == [True, False]
        assert group.gather(b"x") == [b"x"]
        assert group.from_main(b"y") == b"y"


def check_group() -> None:
    rank = int(os.environ["RANK"])
    with join(rank, 3) as group:
        assert group.is_main == (rank == 0)
        assert group.sum_(torch.tensor([rank, 1])).tolist() == [3, 3]
        assert group.any(rank == 2, False) == [True, False]
        assert group.gather(b"ab"[:rank]) == [b"", b"a", b"ab"]
        assert group.from_main(b"main" if rank == 0 else b"ignored") == b"main"


@pytest.mark.slow
def test_three_ranks_add_vote_and_pass_messages():
    for code, output in gang.finish(gang.start(3, check_group)):
        assert code == 0, output
