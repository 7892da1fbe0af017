import pytest
import torch
from headway.returns import gae

NO = torch.zeros(3, 1, dtype=torch.bool)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def flags(*values):
    return torch.tensor(values, dtype=torch.bool)[:, None]


def test_gae_without_ends_hand_worked():
    # gamma 0.5, lambda 0.5. delta = r + 0.5 V' - V:  1+1-1=1,  2+2-2=2,  3+4-4=3
    # A2 = 3,  A1 = 2 + 0.25*3 = 2.75,  A0 = 1 + 0.25*2.75 = 1.6875
    advantage, target = gae(column(1, 2, 3), column(1, 2, 4), column(2, 4, 8), NO, NO, 0.5, 0.5)
    assert advantage.squeeze().tolist() == [1.6875, 2.75, 3.0]
    assert target.squeeze().tolist() == [2.6875, 4.75, 7.0]


def test_a_terminated_step_neither_bootstraps_nor_looks_ahead():
    # delta1 = 2 - 2 = 0 and A1 = 0; A0 = 1 + 0.25*0
    advantage, _ = gae(column(1, 2, 3), column(1, 2, 4), column(2, 4, 8), flags(0, 1, 0), NO, 0.5, 0.5)
    assert advantage.squeeze().tolist() == [1.0, 0.0, 3.0]


def test_a_truncated_step_bootstraps_but_does_not_look_ahead():
    # V(final observation) at step 1 is 6, given in next_value: delta1 = 2 + 3 - 2 = 3 = A1; A0 = 1 + 0.25*3
    advantage, _ = gae(column(1, 2, 3), column(1, 2, 4), column(2, 6, 8), NO, flags(0, 1, 0), 0.5, 0.5)
    assert advantage.squeeze().tolist() == [1.75, 3.0, 3.0]


def test_environments_do_not_mix():
    both = torch.cat((column(1, 2, 3), column(0, 0, 0)), dim=1)
    no = torch.zeros(3, 2, dtype=torch.bool)
    zero = torch.zeros(3, 2, dtype=torch.float64)
    advantage, _ = gae(both, zero, zero, no, no, 0.5, 0.5)
    assert advantage[:, 1].tolist() == [0, 0, 0]


def fixed_point(terminated, truncated, gamma=0.9):
    """Value of a state that pays 1 for ever, under a clock of 4 steps, by iterating its own targets."""
    value = torch.zeros(4, 1, dtype=torch.float64)
    for _ in range(400):
        mean = value.mean().expand(4, 1)  # the policy sees no clock: one value for all steps
        _, value = gae(torch.ones(4, 1, dtype=torch.float64), mean, mean, terminated, truncated, gamma, 0.95)
    return float(value.mean())


def test_the_infinite_horizon_value_is_one_over_one_minus_gamma_only_if_time_limits_bootstrap():
    limit, none = flags(0, 0, 0, 1), torch.zeros(4, 1, dtype=torch.bool)
    assert fixed_point(terminated=none, truncated=limit) == pytest.approx(1 / (1 - 0.9))
    assert fixed_point(terminated=limit, truncated=none) < 5.0  # what merging the two would teach
