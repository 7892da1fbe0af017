"""`python -m headway.precompile`: compiles all kernels into numba's cache. Dockerfile.trainer does it once.

What is compiled does not depend on the spec: all sizes are data. It does depend on the CPU; on another kind numba
compiles again, as it would have anyway. With `--planners` those of `headway.envs.planners` too, for tests.
"""

from __future__ import annotations

import sys

import torch
from headway_api.train_spec import TrainSpec

from headway.envs.nav.vector import NavVectorEnv
from headway.envs.planners.experts import EXPERTS
from headway.replay.draws import INDEX, POLICY, normals, words
from headway.replay.tree import SumTree

SPEC = {
    "totalSteps": 1,
    "numEnvs": 2,
    "env": {"nav": {}},
    "algo": {"ppo": {"rolloutSteps": 1, "minibatchSize": 2}},
    "network": {"mlp": {}},
    "curriculum": {"stages": [{"name": "all", "levels": {"world": {"clutter": {}}, "people": 1}}]},
}


def main() -> None:
    """Call every kernel once."""
    _environment()
    _replay()


def _environment() -> None:
    env = NavVectorEnv(TrainSpec.model_validate(SPEC), num_envs=2)
    env.reset()
    env.step(torch.zeros(2, env.actions.size))
    env.set_state(env.get_state())
    env.shortest_path_meters(torch.ones(2, dtype=torch.bool))
    for name in EXPERTS if "--planners" in sys.argv[1:] else ():
        env.expert(name)


def _replay() -> None:
    device = torch.device("cpu")
    words(0, 0, 0, 1, 1, INDEX, device)
    normals(0, 0, 0, 1, 1, POLICY, device)
    tree = SumTree(2, alpha=1.0, epsilon=1.0)
    tree.fill(0, 2)
    slot, _ = tree.draw(0, 0, 0, 1, 1.0)
    tree.update(slot, torch.ones(1))


if __name__ == "__main__":
    main()
