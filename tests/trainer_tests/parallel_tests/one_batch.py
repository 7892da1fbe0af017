"""Ten updates from the same rows, however they are split over ranks and over pieces of a batch.

Nothing that is learned from depends on the split: features, ends and rewards are functions of the row in the whole
batch; each update takes all rows at once, since which rows a smaller minibatch has depends on the ranks, each of which
permutes its own; noise is of the row as well. Actions and targets follow the parameters without a jump, so that what
rounds in another way ends nearby.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from headway.algos import dagger, dqn, ppo, pqn, sac, td3, twins
from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.networks import build_network
from headway.parallel import Group, join
from headway.replay import Batch
from headway.replay.draws import normals
from headway_api.algo_spec import Algo, Network
from safetensors.torch import save_file
from torch import Tensor
from trainer_tests.algos_tests.making import transition

UPDATES, STEPS, ENVS, SIZE = 10, 8, 16, 3
ROWS = STEPS * ENVS
LAYOUT = FeatureLayout(plain=SIZE)
MLP, GRU = {"mlp": {"hidden": [16, 16]}}, {"gru": {"hidden": [16], "size": 8}}
# Nothing is clipped: a clipped gradient would hide that it is too large by a factor.
ROLLOUT = {"rolloutSteps": STEPS, "minibatchSize": ROWS, "maxGradNorm": 1000.0, "learningRate": 0.003}
REPLAYED = {"batchSize": ROWS, "maxGradNorm": 0.0, "learningRate": 0.003}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ppo": ({"ppo": ROLLOUT | {"epochs": 1, "targetKl": 0.0}}, MLP),
    "gru": ({"ppo": ROLLOUT | {"epochs": 1, "targetKl": 0.0}}, GRU),
    "pqn": ({"pqn": ROLLOUT | {"epochs": 1, "exploration": {"start": 1.0, "end": 1.0}, "learningRate": 0.03}}, MLP),
    "dagger": ({"dagger": ROLLOUT | {"gradientSteps": 1, "capacity": ROWS}}, MLP),
    "dqn": ({"dqn": REPLAYED | {"double": False, "target": {"polyak": {"tau": 0.1}}}}, MLP),
    "sac": ({"sac": REPLAYED}, MLP),
    "td3": ({"td3": REPLAYED}, MLP),
}
DISCRETE = ("pqn", "dqn")
# Of fp16's losses, to begin with. A rank's loss is the mean over its own rows, so a row's slope is the larger the more
# ranks there are: at the usual 2**16 a step may overflow, and be left out, on four ranks and not on one.
FACTOR = 2.0**10


def learn(case: str, precision: str = "fp32", micro: int = 0, group: Group | None = None) -> dict[str, Tensor]:
    """What ten updates have learned, networks, moments and fp16's factor, and under `began` the network before them."""
    group = group or Group()
    spec, network = CASES[case]
    algo, actions = Algo.model_validate(spec), ActionSpace(2, discrete=case in DISCRETE)
    built = build_network(Network.model_validate(network), algo, LAYOUT, actions, 0, precision)
    began = {
        name.replace("network.", "began."): value for name, value in _copied(built.state_dict(), "network.").items()
    }
    mine = slice(group.rank * ENVS // group.world_size, (group.rank + 1) * ENVS // group.world_size)
    index = torch.arange(ENVS)[mine]
    if case in ("dqn", "sac", "td3"):
        learner = _learner(case, algo, built, index, group, precision)
        _begin(learner, micro)
        _from_batches(learner, group)
        return began | _copied(learner.state()) | {"factor": torch.tensor(learner.scale.value)}
    algorithm = _on_policy(case, algo, built, index, group, precision)
    _begin(algorithm, micro)
    _from_rollouts(algorithm, index)
    return began | _copied(algorithm.get_state()) | {"factor": torch.tensor(algorithm.scale.value)}


def _begin(algorithm: Any, micro: int) -> None:
    algorithm.micro.set(micro)
    algorithm.scale.set_state({"scale": torch.tensor(FACTOR), "steps": torch.tensor(0)})


def learn_a_share(cases: tuple[str, ...], precisions: tuple[str, ...], micro: int, folder: Path) -> None:
    """What one rank does: for each case and precision, its share of every batch; what it holds then is a file."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    with join(rank, ranks) as group:
        for case in cases:
            for precision in precisions:
                save_file(
                    learn(case, precision, micro, group), folder / f"{case}-{precision}-{ranks}-{rank}.safetensors"
                )


def _learner(case: str, algo: Algo, network: Any, index: Tensor, group: Group, precision: str) -> Any:
    own = algo.chosen()[1]
    if case == "dqn":
        return dqn.DQNLearner(own, network, 2, index, 0, group, precision)
    kind = {"sac": sac.SACLearner, "td3": td3.TD3Learner}[case]
    return kind(own, network, index, 0, group, 1, precision)


def _on_policy(case: str, algo: Algo, network: Any, index: Tensor, group: Group, precision: str) -> Any:
    own, actions = algo.chosen()[1], ActionSpace(2, discrete=case in DISCRETE)
    if case == "pqn":
        return pqn.PQN(own, network, LAYOUT, actions, index, ENVS, 10**6, 0, group, [None], precision)
    if case == "dagger":
        advice = iter([_normal(1, t, ENVS, 2)[index] for t in range(UPDATES * STEPS)])
        return dagger.DAgger(own, network, LAYOUT, actions, index, ENVS, 0, group, advice.__next__, precision)
    return ppo.PPO(own, network, LAYOUT, actions, index, 0, group, 1, precision)


def _normal(stream: int, number: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1000 * stream + number))


def _from_rollouts(algorithm: Any, index: Tensor) -> None:
    for t in range(UPDATES * STEPS):
        features, following, final = (_normal(2, t + k, ENVS, SIZE)[index] for k in (0, 1, 5000))
        action = algorithm.act(features, t)
        wanted = features[:, :2] if action.is_floating_point() else (features[:, 0] > 0).long()
        miss = (action - wanted).float().square()
        reward = 1.0 - (miss.mean(1) if miss.dim() > 1 else miss)
        terminated, truncated = (index + t) % 7 == 0, (index + t) % 5 == 0
        truncated &= ~terminated
        algorithm.observe(transition(features, action, reward, terminated, truncated, following, final))
        if algorithm.ready():
            algorithm.update(following, 1.0)


def _from_batches(learner: Any, group: Group) -> None:
    mine = slice(group.rank * ROWS // group.world_size, (group.rank + 1) * ROWS // group.world_size)

    def of_the_whole(seed: int, shard: int, step: int, rows: int, size: int, purpose: int, device: Any) -> Tensor:
        return normals(seed, 0, step, ROWS, size, purpose, device)[mine]

    with mock.patch.object(twins, "normals", of_the_whole):
        for step in range(UPDATES):
            features, following, action, numbers = (_normal(k, step, ROWS, SIZE) for k in (3, 4, 5, 6))
            taken = (action[:, 0] > 0).long() if learner.name == "dqn" else action[:, :2].tanh()
            rows = (features, taken, numbers[:, 0], numbers[:, 1].sigmoid(), following, numbers[:, 2].sigmoid())
            learner.learn(Batch(*(row[mine] for row in rows), torch.arange(ROWS)[mine]), step)


def _copied(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: tensor.detach().clone() for name, tensor in state.items()}
