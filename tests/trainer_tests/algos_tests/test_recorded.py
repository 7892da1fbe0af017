"""Gradient steps as graphs. Here they are traced on the CPU: a trace, like a GPU's graph, does the same operations on
the same memory again, knows nothing of Python, and cannot be made of a step that waits for a number.
"""

import pytest
import torch
from headway.algos import recorded
from headway.algos.dqn import DQNLearner
from headway.algos.sac import SACLearner
from headway.algos.td3 import TD3Learner
from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.networks import build_network
from headway.parallel import Group
from headway.replay import Batch
from headway_api.algo_spec import Algo, Network
from torch.fx.experimental.proxy_tensor import make_fx

LAYOUT = FeatureLayout(plain=3, channels=0, beams=0, circular=False)
ROWS = 8
ALGORITHMS = [
    {"dqn": {"target": {"polyak": {"tau": 0.1}}}},
    {"dqn": {"double": False, "dueling": True, "maxGradNorm": 0.5}},
    {"sac": {}},
    {"sac": {"policyDelay": 2, "autoTemperature": False}},
    {"td3": {"maxGradNorm": 0.1}},
]


def make(algo, device="cpu", pieces=0):
    learner = learner_of(algo, device)
    learner.micro.set(pieces)
    return learner


def learner_of(algo, device):
    spec = Algo.model_validate(algo)
    kind, own = spec.chosen()
    actions = ActionSpace(3, discrete=True) if kind == "dqn" else ActionSpace(2)
    network = build_network(Network.model_validate({"mlp": {"hidden": [6]}}), spec, LAYOUT, actions, 0).to(device)
    index, group = torch.tensor([0], device=device), Group()
    if kind == "dqn":
        return DQNLearner(own, network, 3, index, 0, group)
    return {"sac": SACLearner, "td3": TD3Learner}[kind](own, network, index, 0, group, 1)


def batches(count, discrete, weighted, device="cpu"):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        features, following = (torch.randn(ROWS, 3, generator=generator) for _ in range(2))
        action = torch.randint(3, (ROWS,), generator=generator)
        numbers = [torch.rand(ROWS, generator=generator) for _ in range(3)]
        if not discrete:
            action = torch.rand(ROWS, 2, generator=generator) * 2 - 1
        rows = (features, action, numbers[0], numbers[1], following, numbers[2] if weighted else None)
        yield Batch(*(None if t is None else t.to(device) for t in (*rows, torch.arange(ROWS))))


def learned(learner, weighted=True, device="cpu"):
    """TD errors of six steps, then all that was learned; the step size changes on the way."""
    said = []
    for step, batch in enumerate(batches(6, learner.name == "dqn", weighted, device)):
        if step == 3:
            learner.set_learning_rate(0.05)
        said.append(learner.learn(batch, step).clone())
    return [*said, *learner.state().values(), learner.totals]


def traced(function):
    return torch.no_grad()(make_fx(function)())  # its backward pass is in the trace


def in_tensors(flat, rate):
    """As on a GPU: the step size is read from memory, too."""
    return torch.optim.Adam([flat], lr=torch.tensor(rate), fused=True)


@pytest.mark.parametrize(
    ("algo", "weighted", "pieces"),
    [
        (ALGORITHMS[0], False, 0),
        *((algo, True, 0) for algo in ALGORITHMS),
        *((ALGORITHMS[k], True, 3) for k in (0, 2, 4)),  # 3, 3 and 2 rows of 8: one of each kind, tracing takes long
    ],
)
def test_recorded_steps_learn_what_steps_learn(monkeypatch, algo, weighted, pieces):
    plain = learned(make(algo, pieces=pieces), weighted)
    kind = next(iter(algo))
    for module in ("dqn",) if kind == "dqn" else ("twins", "sac"):
        monkeypatch.setattr(f"headway.algos.{module}.flat_adam", in_tensors)
    monkeypatch.setattr(f"headway.algos.{'dqn' if kind == 'dqn' else 'twins'}.recorder", lambda *_: traced)
    found = learned(make(algo, pieces=pieces), weighted)
    for mine, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)  # a trace lays its tensors out in its own way


def test_steps_are_recorded_on_one_gpu_alone():
    gpu = torch.device("cuda")
    assert recorded.recorder(Group(), gpu) is recorded.cuda_graph
    assert recorded.recorder(Group(rank=0, world_size=2), gpu) is None
    assert recorded.recorder(Group(), torch.device("cpu")) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN ON A GPU: there is none here")
@pytest.mark.parametrize("pieces", [0, 3])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_graphs_of_a_gpu_learn_what_steps_learn(monkeypatch, algo, pieces):
    found = learned(make(algo, "cuda", pieces), device="cuda")
    monkeypatch.setattr(f"headway.algos.{'dqn' if 'dqn' in algo else 'twins'}.recorder", lambda *_: None)
    plain = learned(make(algo, "cuda", pieces), device="cuda")
    for mine, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(mine, theirs)
