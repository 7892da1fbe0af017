"""Specs for environment tests; small, so that the compiled kernel is all that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from headway_api.train_spec import TrainSpec

MakeSpec = Callable[..., TrainSpec]


def build_spec(*levels: dict[str, Any], seed: int = 0, replay: float = 0.0, **nav: Any) -> TrainSpec:
    """A spec with one stage for each of `levels`; `nav` are fields of env.nav, camelCase."""
    stages = [{"name": f"s{k}", "levels": one} for k, one in enumerate(levels)]
    return TrainSpec.model_validate(
        {
            "seed": seed,
            "totalSteps": 1,
            "numEnvs": 1,
            "env": {"nav": nav},
            "algo": {"ppo": {"minibatchSize": 1}},
            "network": {"mlp": {}},
            "curriculum": {"stages": stages, "replay": replay},
        }
    )


@pytest.fixture(scope="session")
def make_spec() -> MakeSpec:
    return build_spec
