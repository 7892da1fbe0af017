"""Specs for environment tests; small, so that the compiled kernel is all that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from headway.envs.nav.shapes import World, begin_world
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


def empty_world(height: int, width: int, records: int = 64, entries: int = 4000) -> World:
    """A world of so many cells, the solid ring included, with room for shapes; `finish_world` is still to come."""
    made = World(
        grid=np.zeros((height, width + 1), np.uint8)[:, :-1],  # not contiguous, as in the environment's arrays
        heads=np.zeros((height, width + 1), np.uint16)[:, :-1],
        links=np.zeros((entries + 1, 3), np.uint16),
        shapes=np.zeros((records, 4), np.float32),
        used=np.zeros(3, np.int32),
    )
    begin_world(made)
    return made
