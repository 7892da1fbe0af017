"""How batches are cut. That pieces learn what the whole learns: parallel_tests/test_one_batch.py."""

import pytest
import torch
from headway.algos.dqn import DQNLearner
from headway.algos.micro_batch import MicroBatch, joined, mean
from headway.algos.sac import SACLearner
from headway.algos.td3 import TD3Learner
from headway.parallel import Group
from torch import nn
from trainer_tests.algos_tests.making import batch, linear_twins, q_table, spec_of
from trainer_tests.algos_tests.test_ppo import GRU, fill, make
from trainer_tests.line_env import LineEnv


def cut(share, unit, rows):
    micro = MicroBatch(share, unit)
    micro.set(rows)
    return micro


@pytest.mark.parametrize(
    ("share", "unit", "given", "rows"),
    [
        (100, 1, 0, 0),  # the whole share
        (100, 1, 64, 64),
        (100, 1, 100, 0),
        (100, 1, 101, 0),
        (96, 8, 20, 16),  # two whole rollouts of 8 steps
        (96, 8, 3, 8),  # one at least
        (96, 8, 95, 88),
        (8, 8, 3, 0),  # there is one, and it is all
    ],
)
def test_pieces_are_whole_units_and_never_more_than_the_share(share, unit, given, rows):
    micro = cut(share, unit, given)
    assert micro.rows == rows
    assert micro.metrics() == ({"batch/micro": float(rows)} if rows else {})


def test_a_batch_in_one_piece_is_the_batch_itself():
    rows = batch([[1.0], [2.0]], [0, 1], [1.0, 2.0], [0.0, 0.0], [[0.0], [0.0]])
    for given in (0, 2, 3):
        (piece,) = cut(2, 1, given).split(rows)
        assert piece.batch is rows and piece.share == 1.0
    seen = []
    index = torch.arange(2)
    cut(2, 1, 0).means(lambda units, share: seen.append((units, share)), index)
    assert seen[0][0] is index and seen[0][1] == 1.0


def test_every_row_of_a_batch_is_in_one_piece_with_its_noise_and_counts_alike():
    rows = batch([[float(k)] for k in range(5)], [0, 1, 2, 3, 4], [0.0] * 5, [0.0] * 5, [[0.0]] * 5, [0.5] * 5)
    noise = torch.arange(5.0)[:, None]
    pieces = cut(5, 1, 2).split(rows, noise)
    assert [piece.batch.features[:, 0].tolist() for piece in pieces] == [[0, 1], [2, 3], [4]]
    assert [piece.noise[0][:, 0].tolist() for piece in pieces] == [[0, 1], [2, 3], [4]]
    assert [piece.share for piece in pieces] == [0.4, 0.4, 0.2]
    assert all(len(piece.batch.weight) == len(piece.batch.slot) for piece in pieces)
    found = [(piece.batch.slot, torch.tensor([float(k)])) for k, piece in enumerate(pieces)]
    slots, statistics = joined(pieces, found)
    assert slots.tolist() == [0, 1, 2, 3, 4]
    assert statistics.tolist() == pytest.approx([0.4 * 0 + 0.4 * 1 + 0.2 * 2])
    assert mean(pieces[:1], [torch.tensor(3.0)]).item() == 3.0


def test_means_are_over_all_units():
    micro = cut(20, 4, 8)  # units of 4 rows, two a piece
    sizes = []

    def learn(units, share):
        sizes.append((len(units), share))
        return units.float().mean()[None]

    assert micro.means(learn, torch.tensor([0, 1, 2, 3, 9])).tolist() == pytest.approx([3.0])
    assert sizes == [(2, 0.4), (2, 0.4), (1, 0.2)]


def rows_seen(network):
    """The largest number of rows that went through any layer at once, as it grows."""
    most = [0]
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _, given, __: most.append(max(most[-1], given[0].shape[:-1].numel())))
    return most


@pytest.mark.parametrize(("network", "rows"), [(None, 5), (GRU, 6)])
def test_no_more_rows_than_asked_for_go_through_ppos_networks_while_it_learns(network, rows):
    ppo = make(network=network)  # 4 environments, 3 steps
    next_features = fill(ppo, LineEnv(4), 3)
    batch = ppo._batch(next_features)
    ppo.micro.set(rows)
    most = rows_seen(ppo.network)
    ppo._backward(batch, torch.arange(len(batch.action)))
    assert most[-1] == rows


def test_a_networks_memory_is_learned_from_in_whole_rollouts():
    ppo = make(network=GRU)
    ppo.micro.set(5)
    assert (ppo.micro.share, ppo.micro.rows) == (12, 3)  # one environment's three steps


def learner_of(kind):
    """One feature, one action entry or two choices."""
    index, group = torch.tensor([0]), Group()
    if kind == "dqn":
        return DQNLearner(spec_of("dqn"), q_table([[1.0, 2.0]]), 2, index, 0, group)
    learner, outputs = {"sac": (SACLearner, 2), "td3": (TD3Learner, 1)}[kind]
    network = linear_twins([[0.3] * outputs], (2.0, 1.0), (1.0, 4.0))
    return learner(spec_of(kind), network, index, 0, group, 1)


@pytest.mark.parametrize("kind", ["dqn", "sac", "td3"])
def test_no_more_rows_than_asked_for_go_through_a_learners_networks(kind):
    learner = learner_of(kind)
    states, actions = [[1.0]] * 7, [0] * 7 if kind == "dqn" else [[0.0]] * 7
    learner.micro.set(3)
    most = rows_seen(learner.network)
    errors = learner.learn(batch(states, actions, [1.0] * 7, [0.5] * 7, states), 1)
    assert most[-1] == 3 and errors.shape == (7,)
