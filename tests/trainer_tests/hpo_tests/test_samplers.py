"""Samplers by their points: grids whole, Sobol even, CMA-ES without a pickle."""

from __future__ import annotations

import os
import pickle  # noqa: TID251  (to plant one)
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headway.hpo.core import StudyCore
from headway.hpo.samplers import at
from headway_api.search_space import fingerprint
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from trainer_tests.hpo_tests.conftest import EPOCHS, HIDDEN, KEY, RATE, finish, memory, study

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def test_a_grid_is_tried_whole_in_an_order_of_the_seeds() -> None:
    orders = []
    for seed in (0, 1):
        spec = study({"grid": {}}, parameters=[EPOCHS, HIDDEN], budget={"trials": 24}, seed=seed)
        core = StudyCore(memory(), KEY, spec)
        orders.append([fingerprint(finish(core, number)) for number in range(24)])
    assert len(set(orders[0])) == 24
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_sobol_points_fill_every_eighth_of_a_range_once() -> None:
    core = StudyCore(memory(), KEY, study({"qmc": {}}, parameters=[RATE, EPOCHS]))
    asked = [finish(core, number) for number in range(8)]
    logs = [np.log10(values[RATE["path"]]) for values in asked]  # from -4 to -2
    assert sorted(int((log + 4) * 4) for log in logs) == list(range(8))
    assert sorted(values[EPOCHS["path"]] for values in asked) == list(range(1, 9))


@pytest.mark.parametrize(
    ("found", "share", "value"),
    [
        (FloatDistribution(2.0, 4.0), 0.25, 2.5),
        (FloatDistribution(0.01, 1.0, log=True), 0.5, 0.1),
        (FloatDistribution(0.0, 1.0, step=0.5), 0.99, 1.0),
        (IntDistribution(1, 9, step=4), 0.5, 5),
        (IntDistribution(1, 100, log=True), 0.0, 1),
        (IntDistribution(1, 100, log=True), 0.9999, 100),
        (CategoricalDistribution(["a", "b"]), 0.6, "b"),
    ],
)
def test_a_coordinate_is_mapped_onto_a_range(found: Any, share: float, value: Any) -> None:
    assert at(found, share) == pytest.approx(value) if not isinstance(value, str) else at(found, share) == value


def test_cma_es_closes_in_on_the_best_rate() -> None:
    core = StudyCore(memory(), KEY, study({"cmaEs": {}}, parameters=[RATE, EPOCHS], budget={"trials": 60}))

    def success(values: dict[str, Any]) -> float:
        return 1.0 - abs(np.log10(values[RATE["path"]]) + 3.0) - abs(values[EPOCHS["path"]] - 4) / 10

    found = []
    for number in range(60):
        values = core.ask(number)
        found.append(success(values))
        finish(core, number, found[-1])
    assert np.mean(found[-15:]) > np.mean(found[:15]) + 0.1


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("sampler", ["cmaEs", "tpe", "gp", "nsgaIi", "nsgaIii", "qmc", "random"])
def test_a_planted_pickle_is_never_opened(tmp_path: Path, sampler: str) -> None:
    storage, bomb = memory(), tmp_path / "exploded"
    core = StudyCore(storage, KEY, study({sampler: {}}, parameters=[RATE, EPOCHS], budget={"trials": 30}))
    planted = pickle.dumps(Bomb(bomb)).hex()
    for number in range(12):  # more than any sampler draws at random first
        finish(core, number, number / 20)
    for trial in storage.get_all_trials(0):
        for key in ("cma:optimizer:0", "sepcma:optimizer:0", "cmawm:optimizer:0"):
            # Past the check that a finished trial is not to be changed, as somebody who writes to the database is.
            storage._get_trial(trial._trial_id).system_attrs[key] = planted  # type: ignore[attr-defined]
    storage.set_study_system_attr(0, "cma:optimizer:0", planted)
    for number in range(12, 15):
        finish(StudyCore(storage, KEY, core.spec), number, 0.5)
    assert not bomb.exists()
    pickle.loads(bytes.fromhex(planted))  # the bomb works
    assert bomb.exists()
