import torch
from headway.networks import GreedyPolicy, QNetwork
from torch import nn
from trainer_tests.algos_tests.making import Table


class Counter(nn.Module):
    """Its memory counts the steps of an episode, and it acts by it; it sees features doubled."""

    memory_size = 1

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def prepare(self, features):
        return 2 * features

    def greedy(self, inputs, memory):
        memory = memory + self.one
        return inputs + memory, memory


def acts(policy, features, begins):
    return policy(torch.tensor(features)[:, None], torch.tensor(begins))[:, 0].tolist()


def test_memory_goes_on_from_call_to_call_and_is_cleared_where_episodes_begin():
    policy = GreedyPolicy(Counter())
    assert acts(policy, [0.0, 10.0], [True, True]) == [1, 21]
    assert acts(policy, [0.0, 10.0], [False, False]) == [2, 22]
    assert acts(policy, [0.0, 10.0], [False, True]) == [3, 21]
    assert acts(policy, [0.0, 10.0], [False, False]) == [4, 22]


def test_each_policy_has_a_memory_of_its_own():
    network = Counter()
    first, second = GreedyPolicy(network), GreedyPolicy(network)
    acts(first, [0.0], [True])
    assert acts(second, [0.0], [True]) == [1] and acts(first, [0.0], [False]) == [2]


def test_another_number_of_rows_begins_without_memory():
    policy = GreedyPolicy(Counter())
    acts(policy, [0.0, 0.0], [True, True])
    assert acts(policy, [0.0] * 3, [False] * 3) == [1, 1, 1]


def test_it_asks_for_no_gradient_and_follows_the_network_as_it_learns():
    network = QNetwork(Table([[1.0, 2.0]]), dueling=False)
    policy, features, begins = GreedyPolicy(network), torch.ones(1, 1, requires_grad=True), torch.tensor([True])
    assert policy(features, begins).tolist() == [1] and not policy(features, begins).requires_grad
    network.body.write([[3.0, 2.0]])
    assert policy(features, begins).tolist() == [0]
    assert not GreedyPolicy(Counter())(features, begins).requires_grad
