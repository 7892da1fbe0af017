import torch
from headway.randomness import philox as torch_philox
from headway.replay.draws import GOAL, INDEX, STREAM, normals, words

CPU = torch.device("cpu")


def test_words_of_several_gradient_steps_are_those_of_each():
    together = words(7, 3, 100, 4, 5, INDEX, CPU)
    assert torch.equal(together, torch.cat([words(7, 3, 100 + k, 1, 5, INDEX, CPU) for k in range(4)]))


def test_words_are_those_that_torch_computes_on_any_other_device():
    step, number = torch.tensor([[2**33 + 5]]), torch.arange(6)[None]
    c3 = torch.full((1, 1), GOAL << 24 | 9)
    r0, r1, _, _ = torch_philox((number, step & 0xFFFFFFFF, step >> 32, c3), (11, STREAM))
    assert torch.equal(words(11, 9, 2**33 + 5, 1, 6, GOAL, CPU), r0 << 30 | r1 >> 2)


def test_seed_shard_step_and_purpose_each_give_other_words():
    base = words(1, 2, 3, 1, 64, INDEX, CPU)
    for other in ((2, 2, 3, INDEX), (1, 3, 3, INDEX), (1, 2, 4, INDEX), (1, 2, 3, GOAL)):
        assert not (words(*other[:3], 1, 64, other[3], CPU) == base).any()
    assert base.min() >= 0 and base.max() < 2**62


def test_normal_numbers_have_their_moments_and_no_pattern():
    numbers = normals(0, 0, 5, 50_000, 3, GOAL, CPU).double()
    assert abs(numbers.mean()) < 0.01 and abs(numbers.var() - 1) < 0.02
    assert abs((numbers**4).mean() - 3) < 0.1  # kurtosis
    assert torch.corrcoef(numbers.T).triu(1).abs().max() < 0.02
    assert not torch.equal(normals(0, 0, 6, 4, 3, GOAL, CPU), normals(0, 0, 5, 4, 3, GOAL, CPU))


def test_an_odd_number_of_normals_is_the_beginning_of_an_even_one():
    assert torch.equal(normals(0, 0, 5, 1, 3, GOAL, CPU)[0], normals(0, 0, 5, 2, 2, GOAL, CPU).flatten()[:3])
