"""A study's picture: drawn of any study, however little there is to see."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from headway.hpo.core import StudyCore
from headway.hpo.plots import _Scale, plot
from PIL import Image
from trainer_tests.hpo_tests.conftest import EPOCHS, HIDDEN, KEY, RATE, finish, memory, point, study

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def drawn(path: Path, core_storage: optuna.storages.BaseStorage) -> Path:
    plot(optuna.load_study(study_name=KEY, storage=core_storage), path, "search", "successRate")
    return path


@pytest.mark.parametrize("trials", [0, 1, 6])
def test_any_study_gives_a_picture(tmp_path: Path, trials: int) -> None:
    storage = memory()
    core = StudyCore(storage, KEY, study(parameters=[RATE, EPOCHS, HIDDEN]))
    for number in range(trials):
        finish(core, number, success=number / 10)
    core.ask(trials)
    core.report(trials, 0, [point(1)])
    core.tell(trials, "pruned", steps=1)
    core.ask(trials + 1)
    core.tell(trials + 1, "failed", steps=0)
    with Image.open(drawn(tmp_path / "study.png", storage)) as picture:
        assert picture.width > 1000 and len(picture.convert("RGB").getcolors(10**7) or ()) > 20


def test_of_two_objectives_the_first_is_drawn_and_svg_has_its_words(tmp_path: Path) -> None:
    two = [{"metric": "successRate", "direction": "maximize"}, {"metric": "seconds", "direction": "minimize"}]
    storage = memory()
    core = StudyCore(storage, KEY, study(objectives=two, parameters=[RATE, HIDDEN]))
    for number in range(4):
        finish(core, number, success=number / 10, seconds=10.0 - number)
    assert drawn(tmp_path / "study.svg", storage).read_text().startswith("<?xml")


def test_a_logarithmic_range_has_its_middle_at_the_geometric_mean_and_choices_lie_side_by_side() -> None:
    distributions = {
        "rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "kind": optuna.distributions.CategoricalDistribution(["a", "b", "c"]),
    }
    trial = optuna.trial.create_trial(params={"rate": 1e-3, "kind": "b"}, distributions=distributions, value=0.5)
    rate, kind = _Scale([trial], "rate"), _Scale([trial], "kind")
    assert [rate.place(v) for v in (1e-4, 1e-3, 1e-2)] == pytest.approx([0.0, 0.5, 1.0])
    assert rate.ticks() == [(0.0, "0.0001"), (1.0, "0.01")]
    assert kind.ticks() == [(0.0, "a"), (0.5, "b"), (1.0, "c")]
