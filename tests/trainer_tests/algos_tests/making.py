"""Tables for networks, so that what is learned can be worked out by hand; batches, transitions, a chain of states."""

import torch
from headway.envs.protocol import EpisodeEnds, Step, Transition
from headway.networks import ActorTwinCritics, QNetwork
from headway.parallel import Group
from headway.replay import Batch
from headway_api.algo_spec import Algo
from torch import nn


class Table(nn.Module):
    """A body of one matrix and nothing else: outputs of one-hot features are its rows."""

    memory_size = 0

    def __init__(self, rows):
        super().__init__()
        values = torch.tensor(rows, dtype=torch.float32)
        self.head = nn.Linear(*values.shape, bias=False)
        self.head.weight.data.copy_(values.T)

    def forward(self, features, memory):
        return self.head(features), memory

    def write(self, rows):
        """Change the values in place, where an optimiser's flat buffer has them."""
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor(rows, dtype=torch.float32).T)

    def read(self):
        return self.head.weight.detach().T.clone()


def spec_of(kind, **given):
    """What the algorithm of that name is told."""
    return Algo.model_validate({kind: given}).chosen()[1]


def q_table(rows):
    """Q of one-hot states: a row a state, a column a choice."""
    return QNetwork(Table(rows), dueling=False)


def linear_twins(actor, first, second, size=1):
    """A policy and critics of weights alone: a critic's first `size` rows are those of the action's entries."""
    critics = (Table([[w] for w in first]), Table([[w] for w in second]))
    return ActorTwinCritics(Table(actor), critics, size)


class Parabola(nn.Module):
    """A critic's body of an action of one entry, before one feature that is 1: a parabola in it, three numbers."""

    memory_size = 0

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, inputs, memory):
        return self.head(torch.cat((inputs[:, :1].square(), inputs), 1)), memory


def bandit(learner, spec, outputs, best, steps):
    """Learn from one state and one step, whose reward is -(action - best)^2; totals are of the last 100 steps."""
    actor = ActorTwinCritics(Table([[0.0] * outputs]), (Parabola(), Parabola()), 1)
    made = learner(spec, actor, torch.tensor([0]), seed=0, group=Group(), threads=1)
    action = torch.linspace(-1, 1, 32)
    rows = batch([[1.0]] * 32, action[:, None].tolist(), (-((action - best) ** 2)).tolist(), [0.0] * 32, [[1.0]] * 32)
    for step in range(steps):
        if step == steps - 100:
            made.totals.zero_()
        made.learn(rows, step)
    return made


def batch(features, action, reward, discount, following, weight=None):
    """A batch of lists; actions are whole numbers or rows of numbers."""
    numbers = (torch.tensor(rows, dtype=torch.float32) for rows in (features, reward, discount, following))
    states, rewards, discounts, next_states = numbers
    weights = None if weight is None else torch.tensor(weight)
    return Batch(states, torch.tensor(action), rewards, discounts, next_states, weights, torch.arange(len(reward)))


def transition(features, action, reward, terminated, truncated, following, final):
    """One step of every environment, of tensors; `final` [N, F]: where each was before a new episode began."""
    ended = terminated | truncated
    rows, none = ended.nonzero()[:, 0], torch.zeros(len(ended), dtype=torch.int64)
    ends = EpisodeEnds(ended, none, terminated, none.bool(), reward, none, none[:, None].expand(-1, 2), none)
    observation = {"observation": following}
    step = Step(observation, reward, terminated, truncated, rows, {"observation": final[rows]}, ends)
    return Transition({"observation": features}, features, action, step, following, lambda o: o["observation"])


class Chain:
    """States 0 to S - 1 in a row: choice 1 goes on, choice 0 goes back. Going on from the last ends it and earns 1.

    The clock ends an episode after `limit` steps, which says nothing about what a state is worth. Episodes begin in all
    states in turn.
    """

    def __init__(self, num_envs, states, limit):
        self.states, self.limit = states, limit
        self.state = self.begin = torch.arange(num_envs) % states
        self.age = torch.arange(num_envs) % limit

    def features(self):
        return torch.eye(self.states)[self.state]

    def step(self, action):
        before, to = self.features(), (self.state + 2 * action - 1).clamp_min(0)
        self.age += 1
        terminated = to == self.states
        truncated = ~terminated & (self.age == self.limit)
        to = to.clamp_max(self.states - 1)
        final = torch.eye(self.states)[to]
        ended = terminated | truncated
        self.begin = torch.where(ended, (self.begin + 1) % self.states, self.begin)
        self.state, self.age = torch.where(ended, self.begin, to), torch.where(ended, 0, self.age)
        return transition(before, action, terminated.float(), terminated, truncated, self.features(), final)


def chain_values(states, gamma):
    """Exact Q of the chain, [S, 2]: the end is S - s steps away, and by going back one or two more."""
    best = [gamma ** (states - 1 - s) for s in range(states)]
    return torch.tensor([[gamma * best[max(s - 1, 0)], best[s]] for s in range(states)])
