import pytest
import torch
from headway.returns import gae, q_lambda
from hypothesis import given
from hypothesis import strategies as st

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


def test_q_lambda_without_ends_hand_worked():
    # gamma 0.5, lambda 0.5. G2 = 4 + 0.5*8 = 8,  G1 = 2 + 0.5*(0.5*8 + 0.5*4) = 5,  G0 = 1 + 0.5*(0.5*5 + 0.5*2) = 2.75
    found = q_lambda(column(1, 2, 4), column(2, 4, 8), NO, NO, 0.5, 0.5)
    assert found.squeeze().tolist() == [2.75, 5.0, 8.0]


def test_q_lambda_asks_nothing_after_a_termination_and_all_of_it_after_a_truncation():
    terminated = q_lambda(column(1, 2, 4), column(2, 6, 8), flags(0, 1, 0), NO, 0.5, 0.5)
    assert terminated.squeeze().tolist() == [2.0, 2.0, 8.0]  # G0 = 1 + 0.5*(0.5*2 + 0.5*2)
    truncated = q_lambda(column(1, 2, 4), column(2, 6, 8), NO, flags(0, 1, 0), 0.5, 0.5)
    assert truncated.squeeze().tolist() == [2.75, 5.0, 8.0]  # G1 = 2 + 0.5*6


def slow_q_lambda(reward, best, terminated, truncated, gamma, lam):
    """As a sum over the n-step returns of each step, weighted by (1 - lambda) lambda^(n - 1), the longest by the rest.

    An n-step return adds n rewards and, if it has not terminated, gamma^n max Q of where it then is.
    """
    found = []
    for t in range(len(reward)):
        total, discount, returns = 0.0, 1.0, []
        for k in range(t, len(reward)):
            total += discount * reward[k]
            discount *= gamma
            returns.append(total + (0.0 if terminated[k] else discount * best[k]))
            if terminated[k] or truncated[k]:
                break
        weights = [(1 - lam) * lam**n for n in range(len(returns) - 1)]
        weights.append(1 - sum(weights))
        found.append(sum(w * r for w, r in zip(weights, returns, strict=True)))
    return found


numbers, ends = st.floats(-10, 10), st.sampled_from([(False, False)] * 4 + [(True, False), (False, True)])


@given(st.lists(st.tuples(numbers, numbers, ends), min_size=1, max_size=12), st.floats(0, 1), st.floats(0, 1))
def test_q_lambda_is_the_weighted_sum_of_n_step_returns(steps, gamma, lam):
    reward, best, over = zip(*steps, strict=True)
    terminated, truncated = zip(*over, strict=True)
    found = q_lambda(column(*reward), column(*best), flags(*terminated), flags(*truncated), gamma, lam)
    assert found[:, 0].tolist() == pytest.approx(slow_q_lambda(reward, best, terminated, truncated, gamma, lam))


def test_q_lambda_keeps_environments_apart():
    steps = [column(1, 2, 4), column(2, 4, 8)]
    both = q_lambda(*(torch.cat((one, one * 0), 1) for one in steps), *[NO.expand(3, 2)] * 2, 0.5, 0.5)
    assert both.T.tolist() == [[2.75, 5.0, 8.0], [0, 0, 0]]
