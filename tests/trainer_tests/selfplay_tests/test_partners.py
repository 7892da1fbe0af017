import torch
from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.networks import GreedyPolicy, build_network
from headway.selfplay.partners import Partners
from headway_api.algo_spec import Algo, Network

NETWORK, PPO = Network(mlp={"hidden": [16]}), Algo(ppo={"normalizeObservations": True})


def network(seed, discrete=False):
    space = ActionSpace(5, discrete=True) if discrete else ActionSpace(2)
    made = build_network(NETWORK, PPO, FeatureLayout(plain=6), space, seed)
    with torch.no_grad():
        made.actor.head.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return made


def partners(discrete=False):
    """Three places, and the present policy: of seeds 1, 2, 3 and 9."""
    made = Partners(network(0, discrete), 3, GreedyPolicy(network(9, discrete)))
    for place in range(3):
        made.put(place, network(place + 1, discrete).state_dict())
    return made


def test_each_row_is_acted_on_by_its_own_policy():
    for discrete in (False, True):
        features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
        row = torch.arange(40) * 7 % 4
        begins = torch.zeros(40, dtype=torch.bool)
        actions = partners(discrete).act(features, begins, row)
        for k, seed in enumerate((1, 2, 3, 9)):
            mine = row == k
            expected = GreedyPolicy(network(seed, discrete))(features[mine], begins[mine])
            assert torch.equal(actions[mine], expected)


def test_a_policy_without_rows_is_not_asked():
    made = partners()
    features = torch.randn(4, 6)
    made.act(features, torch.ones(4, dtype=torch.bool), torch.full((4,), 3))
    made._policies[1] = None  # whoever asks it, fails
    made.act(features, torch.ones(4, dtype=torch.bool), torch.tensor([0, 3, 2, 0]))


def test_weights_are_copied_into_rows_of_the_stack_and_stay_what_they_were():
    made, source = partners(), network(7)
    source.observation_scale.mean.fill_(0.5)
    made.put(1, source.state_dict())
    for name, tensor in source.state_dict().items():
        assert torch.equal(made.stack[name][1], tensor), name
    with torch.no_grad():
        source.actor.head.weight.zero_()  # training goes on
    features, begins = torch.randn(8, 6), torch.zeros(8, dtype=torch.bool)
    before = made.act(features, begins, torch.ones(8, dtype=torch.int64))
    assert before.abs().sum() > 0
    made.stack["actor.head.bias"][1] += 0.25  # as a restore does
    after = made.act(features, begins, torch.ones(8, dtype=torch.int64))
    assert not torch.equal(before, after)
