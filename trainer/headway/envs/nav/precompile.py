"""`python -m headway.envs.nav.precompile`: compiles the kernels into numba's cache. Dockerfile.trainer does it once.

What is compiled does not depend on the spec: all sizes are data. It does depend on the CPU; on another kind numba
compiles again, as it would have anyway. With `--planners` those of `headway.envs.planners` too, for tests.
"""

from __future__ import annotations

import sys

import torch
from headway_api.train_spec import TrainSpec

from headway.envs.nav.vector import NavVectorEnv
from headway.envs.planners.experts import EXPERTS

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
    env = NavVectorEnv(TrainSpec.model_validate(SPEC), num_envs=2)
    env.reset()
    env.step(torch.zeros(2, env.actions.size))
    env.set_state(env.get_state())
    env.shortest_path_meters(torch.ones(2, dtype=torch.bool))
    for name in EXPERTS if "--planners" in sys.argv[1:] else ():
        env.expert(name)


if __name__ == "__main__":
    main()
