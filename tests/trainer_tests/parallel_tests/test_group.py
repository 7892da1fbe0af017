import pytest
import torch
from headway.parallel import join
from trainer_tests.parallel_tests import gang
from trainer_tests.parallel_tests.group_program import check_group


def test_one_rank_is_the_identity():
    with join(0, 1) as group:
        assert group.is_main
        assert group.sum_(torch.tensor([1, 2])).tolist() == [1, 2]
        assert group.any(True, False) == [True, False]
        assert group.least(3) == 3
        assert group.gather(b"x") == [b"x"]
        assert group.from_main(b"y") == b"y"


@pytest.mark.slow
def test_three_ranks_add_vote_and_pass_messages():
    for code, output in gang.finish(gang.start(3, check_group)):
        assert code == 0, output
