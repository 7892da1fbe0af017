"""One batch over 1, 2 or 4 ranks, or in pieces, gives the same parameters."""

from functools import cache

import pytest
import torch
from headway.checkpoint import load_tensors
from trainer_tests.parallel_tests import gang
from trainer_tests.parallel_tests.one_batch import CASES, FACTOR, learn, learn_a_share

# A row's products are the same in every split. What differs is where the sums over rows are rounded: once in each piece
# and in each rank, by half of the precision's epsilon of a gradient that is about as large. Adam then divides by the
# gradient's own size, so an entry whose rows nearly cancel is moved by its error in full. In all cases here parameters
# were within 5 epsilon of the way that they went, and moments within 4 epsilon of their size; 16 leave room for other
# CPUs, and a gradient that is twice too large is 1 / epsilon away.
EPSILON = {"fp32": 2.0**-23, "bf16": 2.0**-7, "fp16": 2.0**-10}
PRECISIONS = tuple(EPSILON)
BOTH_KINDS = ("ppo", "sac")  # one batch is one of a rollout, or one of a replay
whole_batch = cache(learn)


def parameters(learned, prefix="network."):
    return torch.cat([learned[name].flatten().double() for name in sorted(learned) if name.startswith(prefix)])


def assert_same(found, whole, precision):
    """The same way from the same beginning, and the same moments: Adam's steps do not show a gradient's scale."""
    assert found.keys() == whole.keys()
    tolerance = 16 * EPSILON[precision]
    way = (parameters(whole) - parameters(whole, "began.")).norm()
    assert way > 0.1 and (parameters(found) - parameters(whole)).norm() < tolerance * way
    moments = [name for name in whole if "exp_avg" in name]
    for name in moments:
        assert (found[name] - whole[name]).norm() < tolerance * whole[name].norm(), name
    assert len(moments) >= 2
    assert precision != "fp16" or found["factor"] == whole["factor"] == FACTOR  # no step was left out


@pytest.mark.parametrize(
    ("case", "precision"), [(c, "fp32") for c in CASES] + [(c, p) for c in BOTH_KINDS for p in PRECISIONS[1:]]
)
def test_pieces_of_any_size_learn_what_the_whole_batch_learns(case, precision):
    whole = whole_batch(case, precision)
    for rows in (48, 8):  # 48, 48 and 32 of 128: each counts by its rows
        assert_same(learn(case, precision, rows), whole, precision)


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "rows"), [(2, 0), (4, 0), (2, 24)])
def test_ranks_learn_from_their_shares_what_one_learns_from_all(tmp_path, ranks, rows):
    for code, output in gang.finish(gang.start(ranks, learn_a_share, BOTH_KINDS, PRECISIONS, rows, tmp_path)):
        assert code == 0, output
    for case in BOTH_KINDS:
        for precision in PRECISIONS:
            first, *others = (
                load_tensors(tmp_path / f"{case}-{precision}-{ranks}-{rank}.safetensors") for rank in range(ranks)
            )
            for other in others:
                assert all(torch.equal(first[name], other[name]) for name in first)
            assert_same(first, whole_batch(case, precision), precision)
