import pytest
import torch
from headway.networks import ObservationScale, ValueScale
from torch import nn


def alone(sums):
    return sums


def test_moments_are_those_of_all_rows_seen_whatever_the_pieces():
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.1]) + 1e4
    scale = ObservationScale(3)
    for piece in rows.split([7, 1, 52]):
        scale.see(piece, alone)
    torch.testing.assert_close(scale.mean, rows.double().mean(0))
    torch.testing.assert_close(scale.squares / scale.count, rows.double().var(0, unbiased=False))
    scaled = scale(rows)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-2, rtol=0)
    torch.testing.assert_close(scaled.std(0, unbiased=False), torch.ones(3), atol=2e-2, rtol=0)


def test_ranks_that_add_their_sums_have_the_moments_of_all():
    rows = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    whole, first, second = (ObservationScale(3) for _ in range(3))
    whole.see(rows, alone)
    sums = []
    for part, rank in ((rows[:10], first), (rows[10:], second)):
        rank.see(part, lambda tensor: sums.append(tensor) or tensor)
    shared = ObservationScale(3)
    shared.see(rows[:10], lambda tensor: sums[0] + sums[1])
    torch.testing.assert_close(shared.mean, whole.mean)
    torch.testing.assert_close(shared.squares, whole.squares)


def test_nothing_is_scaled_before_anything_was_seen_and_outliers_are_cut_off():
    scale = ObservationScale(2)
    assert scale(torch.tensor([[1.5, -2.0]])).tolist() == [[1.5, -2.0]]
    scale.see(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), alone)
    assert scale(torch.tensor([[1000.0, 0.0]])).tolist() == [[10.0, 0.0]]  # a constant feature divides by no zero


def test_values_keep_their_meaning_when_their_units_change():
    head, scale = nn.Linear(4, 1), ValueScale()
    hidden = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))

    def values():
        mean, deviation = scale.units
        return head(hidden).detach() * deviation + mean

    before = values()
    for target in (torch.tensor([0.0, 10.0]), torch.tensor([[500.0], [700.0]])):
        scale.see(target, head, alone)
        torch.testing.assert_close(values(), before, atol=1e-3, rtol=1e-4)
    # Mean of the two updates' means, deviation of both together: (0 + 10 + 500 + 700) / 4.
    assert scale.units[0] == pytest.approx(302.5)
    assert scale.units[1] == pytest.approx(torch.tensor([0.0, 10, 500, 700]).std(unbiased=False).item(), rel=1e-6)
