import torch
from headway.envs.protocol import ActionSpace
from headway.networks import Categorical, Gaussian
from trainer_tests.networks_tests.making import network

INDEX, STEPS = torch.arange(400), torch.arange(50)


def test_the_gaussians_density_and_entropy_are_those_of_the_normal_distribution():
    gaussian = Gaussian(2, 0.0)
    gaussian.log_std.data.copy_(torch.tensor([-0.5, 0.3]))
    mean, action = torch.tensor([[0.1, 0.2], [0.0, -1.0]]), torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    reference = torch.distributions.Normal(mean, gaussian.log_std.exp())
    torch.testing.assert_close(gaussian.log_prob(mean, action), reference.log_prob(action).sum(-1))
    torch.testing.assert_close(gaussian.entropy(mean), reference.entropy()[0].sum())


def test_the_noise_begins_as_the_spec_says():
    assert network(ppo={"initialLogStd": -1.25}).distribution.log_std.tolist() == [-1.25, -1.25]


def test_choices_have_the_probability_and_entropy_of_their_logits():
    output = torch.tensor([[0.0, 1.0, -2.0], [3.0, 0.0, 0.0]])
    action = torch.tensor([1, 2])
    reference = torch.distributions.Categorical(logits=output)
    torch.testing.assert_close(Categorical().log_prob(output, action), reference.log_prob(action))
    torch.testing.assert_close(Categorical().entropy(output), reference.entropy().mean())
    assert Categorical().mode(output).tolist() == [1, 0]


def test_choices_are_drawn_as_often_as_their_probability_says():
    logits = torch.tensor([0.0, 1.0, -1.0, 0.5])
    noise = Categorical().noise(0, INDEX, STEPS)
    assert noise.shape == (50, 400) and float(noise.min()) > 0 and float(noise.max()) < 1
    drawn = Categorical().sample(logits.expand(50, 400, 4), noise)
    shares = torch.bincount(drawn.flatten(), minlength=4) / drawn.numel()
    torch.testing.assert_close(shares, logits.softmax(0), atol=0.012, rtol=0)  # 3.4 deviations of 20,000 draws


def test_the_largest_random_number_draws_the_last_choice_whatever_the_rounding():
    nearly_one = torch.full((3,), 1 - 2.0**-33, dtype=torch.float64)
    assert Categorical().sample(torch.zeros(3, 7), nearly_one).tolist() == [6, 6, 6]


def test_the_noise_of_an_environment_and_step_depends_on_nothing_else():
    for distribution in (Gaussian(3, 0.0), Categorical()):
        whole = distribution.noise(5, INDEX, STEPS)
        part = distribution.noise(5, INDEX[7:9], STEPS[3:5])
        assert torch.equal(whole[3:5, 7:9], part)
        assert not torch.equal(part, distribution.noise(6, INDEX[7:9], STEPS[3:5]))


def test_discrete_actions_have_no_deviation_to_learn():
    module = network(actions=ActionSpace(3, discrete=True))
    assert module.actor.head.out_features == 3
    assert not list(module.distribution.parameters())
