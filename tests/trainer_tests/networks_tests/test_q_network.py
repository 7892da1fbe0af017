import torch
from headway.networks import QNetwork
from hypothesis import given
from hypothesis import strategies as st
from trainer_tests.algos_tests.making import Table

STATES = torch.eye(2)


def test_values_are_what_the_body_says():
    network = QNetwork(Table([[1.0, 2.0], [4.0, 3.0]]), dueling=False)
    assert network(STATES).tolist() == [[1, 2], [4, 3]]


def test_dueling_values_are_the_states_and_advantages_around_their_mean():
    network = QNetwork(Table([[10.0, 1.0, 2.0, 6.0], [5.0, -1.0, 0.0, 1.0]]), dueling=True)
    assert network(STATES).tolist() == [[8, 9, 13], [4, 5, 6]]


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6), st.floats(-100, 100))
def test_what_is_added_to_all_advantages_changes_nothing_and_their_mean_is_the_states_value(advantages, surplus):
    first = QNetwork(Table([[7.0, *advantages]]), dueling=True)(torch.ones(1, 1))
    second = QNetwork(Table([[7.0, *(a + surplus for a in advantages)]]), dueling=True)(torch.ones(1, 1))
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)
    torch.testing.assert_close(first.mean(), torch.tensor(7.0), atol=1e-3, rtol=0)


def test_the_first_of_the_best_choices_is_made_and_memory_is_left_alone():
    memory = torch.zeros(2, 0)
    for table, choices in (([[1.0, 2.0], [4.0, 3.0]], [1, 0]), ([[2.0, 2.0], [0.0, 0.0]], [0, 0])):
        action, after = QNetwork(Table(table), dueling=False).greedy(STATES, memory)
        assert action.tolist() == choices and action.dtype == torch.int64 and after is memory
