"""From a point of the space to a run; and what a schema cannot see wrong with a space."""

from typing import Any

import pytest
from headway_api import names
from headway_api.hpo_study import HPOStudySpec
from headway_api.load import SpecError, validate_study
from headway_api.trials import UnknownPathError, run_name, training_seed, trial_run
from pydantic import ValidationError
from specs import small_study


def study(**spec: Any) -> HPOStudySpec:
    return validate_study(small_study(**spec)).spec


def test_a_trial_is_the_template_with_its_values_and_a_seed_of_its_own() -> None:
    spec = study()
    values = {
        "train.algo.ppo.learningRate": 0.001,
        "train.network": {"gru": {"hidden": [32]}},
        "train.curriculum.stages[0].gate.successRate": 0.5,
    }
    run = trial_run(spec, values, 3, 0)
    assert run.train.algo.ppo is not None and run.train.algo.ppo.learning_rate == 0.001
    assert run.train.network.chosen()[0] == "gru"
    assert run.train.curriculum.stages[0].gate.success_rate == 0.5
    assert run.train.seed == training_seed(spec, 3, 0)
    assert spec.run_template.train.algo.ppo.learning_rate == 3e-4  # the template is as it was


def test_seeds_differ_between_trials_and_within_one() -> None:
    spec = study(seedsPerTrial=4)
    seeds = {training_seed(spec, number, index) for number in range(50) for index in range(4)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert training_seed(study(seed=1), 0, 0) != training_seed(study(seed=2), 0, 0)


def test_with_the_wilcoxon_pruner_every_trial_has_the_same_seeds() -> None:
    spec = study(seedsPerTrial=4, engine={"optuna": {"pruner": {"wilcoxon": {}}}})
    assert training_seed(spec, 1, 2) == training_seed(spec, 7, 2) != training_seed(spec, 7, 3)


def test_the_longest_name_of_a_run_is_a_run_name() -> None:
    assert len(run_name("a" * names.MAX_STUDY_NAME, 9999, 15, 16)) <= names.MAX_RUN_NAME
    assert run_name("s", 7, 0, 1) == "s-7"
    assert run_name("s", 7, 2, 3) == "s-7-2"


def test_values_that_make_no_run_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="minibatchSize must divide"):
        trial_run(study(), {"train.algo.ppo.minibatchSize": 63}, 0, 0)


@pytest.mark.parametrize("path", ["train.algo.dqn.gamma", "train.curriculum.stages[4].name", "train.seed.x"])
def test_a_path_that_leads_nowhere_is_named(path: str) -> None:
    with pytest.raises(UnknownPathError, match=r"the template has no|is no object"):
        trial_run(study(), {path: 1}, 0, 0)


GAMMA = {"path": "train.algo.ppo.gamma", "float": {"low": 0.9, "high": 0.99}}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            {"parameters": [{"path": "train.algo.sac.tau", "float": {"low": 0.0, "high": 1.0}}]},
            "the template has no sac",
        ),
        (
            {"parameters": [GAMMA | {"path": "train.algo.ppo.gama"}]},
            r"parameters\[0\]: train.algo.ppo.gama: is not a known field",
        ),
        ({"parameters": [GAMMA | {"float": {"low": 0.9, "high": 1.5}}]}, "found 1.5: give a value of at most 1"),
        ({"parameters": [{"path": "train.algo.ppo.epochs", "float": {"low": 1.0, "high": 9.0}}]}, "a whole number"),
        ({"parameters": [{"path": "train.network", "categorical": {"choices": [{"cnn": {}}]}}]}, "not a known field"),
        ({"parameters": [{"path": "train.seed", "int": {"low": 1, "high": 9}}]}, "the study itself sets it"),
        (
            {"parameters": [GAMMA | {"when": {"path": "train.algo.ppo.epochs", "values": [1]}}]},
            "name a parameter that stands before this one",
        ),
        (
            {
                "parameters": [
                    {"path": "train.algo.ppo.epochs", "categorical": {"choices": [1, 2]}},
                    GAMMA | {"when": {"path": "train.algo.ppo.epochs", "values": [3]}},
                ]
            },
            "train.algo.ppo.epochs is never that",
        ),
        ({"parameters": [{"path": "train.algo.ppo.epochs", "int": {"low": 1, "high": 3}}]}, "has only 3 points"),
    ],
    ids=lambda case: str(case)[:60],
)
def test_a_space_that_does_not_fit_the_template_is_refused_before_anything_runs(spec: dict, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        study(**spec)
