"""Specs with environments of other packages."""

from __future__ import annotations

from typing import Any

from headway_api.train_spec import TrainSpec


def gym_spec(
    name: str, *stages: dict[str, Any], seed: int = 0, replay: float = 0.0, max_steps: int = 0, **kwargs: Any
) -> TrainSpec:
    """`stages` are the arguments of the environment in each stage, over `kwargs`."""
    return TrainSpec.model_validate(
        {
            "seed": seed,
            "totalSteps": 1,
            "numEnvs": 1,
            "env": {"gym": {"id": name, "kwargs": kwargs, "maxSteps": max_steps}},
            "algo": {"ppo": {"minibatchSize": 1}},
            "network": {"mlp": {}},
            "curriculum": {
                "stages": [{"name": f"s{k}", "kwargs": one} for k, one in enumerate(stages or ({},))],
                "replay": replay,
            },
        }
    )
