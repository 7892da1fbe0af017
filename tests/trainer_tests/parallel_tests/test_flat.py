import torch
from headway.parallel import FlatParameters
from torch import nn


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def test_parameters_keep_their_values_and_become_views():
    module, same = small(), small()
    flat = FlatParameters(module, extra=2)
    for mine, other in zip(module.parameters(), same.parameters(), strict=True):
        assert torch.equal(mine, other)
        assert mine.data_ptr() % 64 == flat.value.data_ptr() % 64  # each on a cache line
    flat.value.data.zero_()
    assert all(not p.any() for p in module.parameters())
    assert flat.extra.shape == (2,)


def test_a_flat_step_equals_the_step_of_an_ordinary_optimiser():
    module, same = small(), small()
    flat = FlatParameters(module)
    mine = torch.optim.Adam([flat.value], lr=0.1, fused=True)
    theirs = torch.optim.Adam(same.parameters(), lr=0.1, fused=True)
    for seed in range(3):
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
        flat.buffer.zero_()
        theirs.zero_grad()
        for network in (module, same):
            network(inputs).square().sum().backward()
        norm = flat.clip_gradient(0.5)
        reference = nn.utils.clip_grad_norm_(same.parameters(), 0.5)
        torch.testing.assert_close(norm, reference)
        mine.step()
        theirs.step()
    for p, q in zip(module.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_small_gradients_are_not_scaled_up():
    module = small()
    flat = FlatParameters(module)
    flat.gradient.fill_(1e-3)
    flat.clip_gradient(100.0)
    assert torch.all(flat.gradient == 1e-3)
