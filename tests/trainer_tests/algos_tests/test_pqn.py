import pytest
import torch
from headway.algos.divergence import DivergenceError
from headway.algos.pqn import PQN
from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.parallel import Group
from headway_api.offpolicy_spec import Exploration
from trainer_tests.algos_tests.making import Chain, chain_values, q_table, spec_of, transition

TABLE = ((1.0, 2.0, 0.0), (5.0, 4.0, 0.0))


def make(table=TABLE, num_envs=2, offset=0, total_envs=None, stages=(None,), seed=0, **given):
    given = {"rolloutSteps": 3, "minibatchSize": num_envs * 3, "epochs": 1, "gamma": 0.5, "qLambda": 0.5} | given
    states, choices = len(table), len(table[0])
    return PQN(
        spec_of("pqn", **given), q_table(table), FeatureLayout(plain=states), ActionSpace(choices, discrete=True),
        torch.arange(num_envs) + offset, total_envs or num_envs, 1000, seed, Group(), stages,
    )  # fmt: skip


def state(*numbers, size=2):
    return torch.eye(size)[list(numbers)]


def fill(pqn, terminated=(), truncated=()):
    """Three steps of two environments from state 0 to itself, with reward 1; ends are (step, environment)."""
    for t in range(3):
        ends = [torch.tensor([(t, n) in given for n in range(2)]) for given in (terminated, truncated)]
        action = pqn.act(state(0, 0), t)
        pqn.observe(transition(state(0, 0), action, torch.ones(2), *ends, state(0, 0), state(1, 1)))


def test_returns_ask_what_followed_and_at_an_end_what_was_there():
    pqn = make()
    fill(pqn, terminated=[(1, 0)], truncated=[(1, 1)])
    returns = pqn._returns(state(0, 1)).T  # [N, T]; max Q is 2 of state 0 and 5 of state 1
    assert returns[0].tolist() == [1 + 0.5 * (0.5 * 1 + 0.5 * 2), 1.0, 1 + 0.5 * 2]
    assert returns[1].tolist() == [1 + 0.5 * (0.5 * 3.5 + 0.5 * 2), 1 + 0.5 * 5, 1 + 0.5 * 5]


def test_only_what_was_chosen_learns():
    pqn = make(maxGradNorm=1000)
    fill(pqn, terminated=[(t, n) for t in range(3) for n in range(2)])  # returns are 1
    pqn.rollout.action.copy_(torch.tensor([[0, 1]] * 3))
    metrics = pqn.update(state(0, 0), 1.0)
    assert metrics["loss/value"] == pytest.approx(0.5 * (0 + 1) / 2)  # Q says 1 and 2
    assert metrics["pqn/q"] == pytest.approx(1.5)
    assert pqn.network.body.head.weight.grad[:, 0].tolist() == pytest.approx([0.0, 0.5, 0.0])
    assert metrics["pqn/gradient_norm"] == pytest.approx(0.5)


def test_gradients_are_cut_to_their_norm():
    pqn = make(maxGradNorm=0.125)
    fill(pqn)
    pqn.update(state(0, 0), 1.0)
    assert pqn.gradient.flat.gradient.norm().item() == pytest.approx(0.125, rel=1e-3)


@pytest.mark.parametrize(("minibatch", "epochs", "steps"), [(6, 1, 1), (6, 4, 4), (2, 1, 3), (2, 3, 9)])
def test_each_epoch_passes_over_all_minibatches(minibatch, epochs, steps):
    pqn = make(minibatchSize=minibatch, epochs=epochs)
    fill(pqn)
    assert pqn.ready()
    pqn.update(state(0, 0), 1.0)
    assert int(pqn.get_state()["optimiser.step"]) == steps
    assert pqn.updates == 1 and not pqn.ready()


def test_the_learning_rate_falls_with_what_is_left_if_asked():
    for anneal, rate in ((True, 0.0025), (False, 0.01)):
        pqn = make(annealLearningRate=anneal, learningRate=0.01)
        fill(pqn)
        pqn.update(state(0, 0), 0.25)
        assert pqn.gradient.optimiser.param_groups[0]["lr"] == pytest.approx(rate)


def test_the_best_choice_is_made_but_for_a_share_in_which_all_are_as_likely():
    pqn = make(num_envs=30_000, exploration={"start": 0.3, "end": 0.3})
    counts = pqn.act(state(0).expand(30_000, 2), 0).bincount(minlength=3) / 30_000
    assert counts.tolist() == pytest.approx([0.1, 0.8, 0.1], abs=0.01)
    pqn = make(num_envs=100, exploration={"start": 1.0, "end": 0.0, "steps": 1000})
    assert pqn.act(state(0).expand(100, 2), 0).unique().tolist() == [0, 1, 2]
    assert pqn.act(state(0).expand(100, 2), 10).unique().tolist() == [1]  # ten steps of a hundred environments


def test_noise_is_new_in_each_rollout_and_depends_on_no_rank():
    whole, part = make(num_envs=6), make(num_envs=3, offset=3, total_envs=6)
    for pqn in (whole, part):
        pqn.act(torch.zeros(pqn.env_index.numel(), 2), 0)
    before = whole.noise
    assert torch.equal(before[:, 3:], part.noise)
    whole.act(torch.zeros(6, 2), 2)  # a rollout that begins at step 2
    assert torch.equal(whole.noise[0], before[2]) and not torch.equal(whole.noise[1], before[1])


def test_a_stage_sets_how_much_is_explored_by_steps_of_all_environments():
    own = Exploration(start=0.5, end=0.0, steps=100)
    pqn = make(stages=[None, own], exploration={"start": 1.0, "end": 0.5, "steps": 10}, total_envs=4)
    fill(pqn)
    assert pqn.update(state(0, 0), 1.0)["pqn/exploration"] == 0.5  # 3 steps of 4 environments are more than 10
    pqn.begin_stage(1, 12)
    fill(pqn)
    assert pqn.update(state(0, 0), 1.0)["pqn/exploration"] == pytest.approx(0.5 * (1 - 12 / 100))


def test_a_loss_that_is_not_finite_ends_training_and_is_named():
    pqn = make()
    fill(pqn)
    pqn.rollout.reward[0, 0] = float("inf")
    with pytest.raises(DivergenceError, match=r"^loss/value is (inf|nan)$") as raised:
        pqn.update(state(0, 0), 1.0)
    assert raised.value.at_hand["target"].shape == (3, 2)
    assert pqn.suspects()["environment.reward"][0, 0] == float("inf")


def test_state_goes_on_exactly_and_refuses_what_does_not_fit():
    first, second = make(), make(table=((0.0,) * 3,) * 2)
    fill(first)
    first.update(state(0, 0), 1.0)
    second.set_state({name: tensor.clone() for name, tensor in first.get_state().items()})
    for pqn in (first, second):
        fill(pqn)
        pqn.update(state(0, 0), 0.5)
    one, other = first.get_state(), second.get_state()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert int(other["updates"]) == 2
    assert first.get_env_state() == {}
    with pytest.raises(ValueError, match=r"optimiser\.exp_avg"):
        second.set_state({name: t for name, t in one.items() if name != "optimiser.exp_avg"})


def test_values_of_a_chain_become_exact():
    """With lambda 0, whoever acts: what is explored does not count. Its clock must not count either."""
    pqn = make(
        [[0.0, 0.0]] * 4, num_envs=16, rolloutSteps=8, minibatchSize=128, epochs=4, qLambda=0.0, learningRate=0.1,
        exploration={"start": 1.0, "end": 1.0},
    )  # fmt: skip
    chain = Chain(16, states=4, limit=6)
    for step in range(8 * 80):
        pqn.observe(chain.step(pqn.act(chain.features(), step)))
        if pqn.ready():
            pqn.update(chain.features(), 1.0)
    torch.testing.assert_close(pqn.network.body.read(), chain_values(4, 0.5), atol=1e-3, rtol=0)
