import math

import pytest
import torch
from headway.networks import squashed_sample
from headway.networks.twin_critics import LOG_STD_RANGE, critic_layout
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from trainer_tests.algos_tests.making import linear_twins
from trainer_tests.networks_tests.making import LAYOUT


def torchs_own(mean, log_std):
    normal = Normal(mean.double(), log_std.double().exp())
    return Independent(TransformedDistribution(normal, TanhTransform(cache_size=1)), 1)


@given(st.floats(-3, 3), st.floats(-4, 1), st.lists(st.floats(-3, 3), min_size=1, max_size=4))
def test_log_densities_are_those_of_torchs_transformed_distribution(mean, log_std, entries):
    noise = torch.tensor([entries])
    means, log_stds = torch.full_like(noise, mean), torch.full_like(noise, log_std)
    action, log_prob = squashed_sample(torch.cat((means, log_stds), 1), noise)
    theirs = torchs_own(means, log_stds)
    sample = (means + log_stds.exp() * noise).double().tanh()
    torch.testing.assert_close(action.double(), sample, atol=1e-6, rtol=0)
    x = (means + log_stds.exp() * noise).double()
    exact = Normal(means.double(), log_stds.double().exp()).log_prob(x) + 2 * torch.log(torch.cosh(x))
    torch.testing.assert_close(log_prob.double(), exact.sum(1), atol=1e-4, rtol=1e-4)
    if float(sample.abs().max()) < 0.999:  # beyond, theirs loses digits
        torch.testing.assert_close(log_prob.double(), theirs.log_prob(sample), atol=1e-4, rtol=1e-4)


def test_densities_of_actions_at_the_bounds_are_finite():
    action, log_prob = squashed_sample(torch.tensor([[50.0, 0.0], [-50.0, 0.0]]), torch.zeros(2, 1))
    assert action[:, 0].tolist() == [1, -1]
    expected = -0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 50)  # 1 - tanh(x)^2 is 4 exp(-2 |x|) out there
    assert log_prob.tolist() == pytest.approx([expected, expected])


def test_densities_add_up_to_one():
    noise = torch.linspace(-8, 8, 20_001)[:, None]
    action, log_prob = squashed_sample(torch.tensor([[0.4, -0.5]]).expand(len(noise), 2), noise)
    assert torch.trapezoid(log_prob.exp(), action[:, 0]).item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("given", "kept"), [(-100.0, -20.0), (9.0, 2.0), (0.5, 0.5)])
def test_deviations_stay_within_bounds(given, kept):
    assert LOG_STD_RANGE == (-20.0, 2.0)
    action, _ = squashed_sample(torch.tensor([[0.0, given]]), torch.tensor([[0.01]]))
    assert action.item() == pytest.approx(math.tanh(0.01 * math.exp(kept)))


def test_the_gradient_reaches_means_and_deviations_through_the_sample():
    output = torch.tensor([[0.3, -1.0]], requires_grad=True)
    action, _ = squashed_sample(output, torch.tensor([[2.0]]))
    action.sum().backward()
    slope = 1 - math.tanh(0.3 + 2 * math.exp(-1)) ** 2
    assert output.grad[0].tolist() == pytest.approx([slope, slope * 2 * math.exp(-1)])


def test_critics_take_the_action_before_the_features_and_know_nothing_of_one_another():
    network = linear_twins([[0.0]], (2.0, 1.0), (1.0, 4.0))
    features, action = torch.tensor([[3.0], [5.0]]), torch.tensor([[0.5], [-0.5]])
    first, second = (critic(features, action) for critic in network.critics)
    assert first.tolist() == [4, 4] and second.tolist() == [12.5, 19.5]
    first.sum().backward()
    assert network.critics[1].body.head.weight.grad is None


def test_scans_stay_where_a_convolution_looks_for_them():
    layout = critic_layout(LAYOUT, 2)
    assert (layout.plain, layout.size) == (LAYOUT.plain + 2, LAYOUT.size + 2)
    assert (layout.channels, layout.beams, layout.circular) == (LAYOUT.channels, LAYOUT.beams, LAYOUT.circular)


@pytest.mark.parametrize("outputs", [[0.5, -2.0], [0.5, -2.0, 9.0, 9.0]], ids=["td3", "sac"])
def test_without_exploring_it_acts_by_the_squashed_means(outputs):
    memory = torch.zeros(1, 0)
    action, after = linear_twins([outputs], (0.0,) * 3, (0.0,) * 3, size=2).greedy(torch.ones(1, 1), memory)
    assert action[0].tolist() == pytest.approx([math.tanh(0.5), math.tanh(-2.0)]) and after is memory
