"""An HPOStudy: defaults, and what is refused with which words."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from headway_api.algo_spec import Algo
from headway_api.hpo_study import METRICS, HPOStudy
from headway_api.load import SpecError, validate_study
from headway_api.steering import STEERING
from specs import small_run, small_study

LEARNING_RATE = small_study()["spec"]["parameters"][0]
CHOICE = {"path": "train.network.mlp.hidden", "categorical": {"choices": [[16], [32]]}}
TWO = [{"metric": "successRate", "direction": "maximize"}, {"metric": "seconds", "direction": "minimize"}]


def optuna(**engine: Any) -> dict:
    return {"optuna": engine}


def ray(**engine: Any) -> dict:
    return {"rayTune": engine}


def population(kind: str, **engine: Any) -> dict:
    return ray(scheduler={kind: {}}, **({"searcher": {"random": {}}} | engine))


def even(**bounds: Any) -> dict:
    return {"path": "train.algo.ppo.gamma", "float": {"low": 0.5, "high": 0.9} | bounds}


def test_ray_tune_is_asha_with_tpe_and_takes_bayes_opt_over_even_floats() -> None:
    spec = validate_study(small_study(engine=ray())).spec
    assert spec.engine.ray_tune is not None
    assert spec.engine.ray_tune.scheduler.chosen()[0] == "asha"
    assert spec.engine.ray_tune.searcher.chosen()[0] == "optuna"
    validate_study(small_study(engine=ray(searcher={"bayesOpt": {}}), parameters=[even()]))


@pytest.mark.parametrize(
    ("kind", "domain"),
    [
        ("pbt", {"float": {"low": 1e-4, "high": 1e-2, "log": True}}),
        ("pbt", {"categorical": {"choices": [1e-4, 1e-3, 3e-3, 1e-2]}}),
        ("pb2", {"float": {"low": 1e-4, "high": 1e-2}}),
    ],
)
def test_populations_are_taken_with_what_may_change_while_a_run_learns(kind: str, domain: dict) -> None:
    run = small_run(evaluation={"everySteps": 1024})["spec"]
    run["train"]["curriculum"] = {**run["train"].get("curriculum", {}), "stopAfterLastGate": False}
    rate = {"path": "train.algo.ppo.learningRate"} | domain
    spec = validate_study(small_study(engine=population(kind), parameters=[rate], runTemplate=run)).spec
    assert spec.engine.ray_tune is not None
    assert spec.engine.ray_tune.scheduler.chosen()[1].interval_evaluations == 1


EXPLORED: Final = {"exploration": {}}
PRIORITIZED: Final = {"replay": {"prioritized": {}}}
ALGORITHMS: Final = (
    {"ppo": {}},
    {"pqn": EXPLORED},
    {"dqn": {"target": {"hard": {}}} | EXPLORED | PRIORITIZED},
    {"dqn": {"target": {"polyak": {}}}},
    {"sac": {"targetEntropy": -2.0} | PRIORITIZED},
    {"td3": EXPLORED | PRIORITIZED},
)


def _numbers(node: object, path: str) -> Iterator[str]:
    """Paths of all numbers in a document."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _numbers(child, f"{path}.{name}")
    elif isinstance(node, int | float):
        yield path


def test_what_steers_learning_are_fields_of_a_run() -> None:
    reward = validate_study(small_study()).spec.run_template.train.env.to_wire()
    there = {*_numbers(reward, "train.env")}
    for algo in ALGORITHMS:
        there |= {*_numbers(Algo.model_validate(algo, by_alias=True).to_wire(), "train.algo")}
    assert there >= STEERING


def test_defaults_are_tpe_with_hyperband_one_at_a_time() -> None:
    spec = validate_study(small_study(budget={"trials": 4})).spec
    assert spec.engine.optuna is not None
    assert spec.engine.optuna.sampler.chosen()[0] == "tpe"
    assert spec.engine.optuna.pruner.chosen()[0] == "hyperband"
    assert (spec.budget.parallel, spec.seeds_per_trial, spec.trial_history_limit) == (1, 1, 10)


def test_a_study_survives_the_wire() -> None:
    study = validate_study(small_study(parameters=[LEARNING_RATE, CHOICE]))
    assert HPOStudy.model_validate(study.to_wire(), by_alias=True) == study


def test_metrics_are_those_that_an_evaluation_writes() -> None:
    assert all(name.startswith("evaluation/") for name in METRICS.values())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"parameters": []}, "spec.parameters: .*at least 1"),
        ({"parameters": [LEARNING_RATE, LEARNING_RATE]}, "each path can stand in the list once"),
        ({"objectives": []}, "spec.objectives: .*at least 1"),
        ({"objectives": [{"metric": "score", "direction": "maximize"}]}, "spec.objectives.0..metric: found 'score': "),
        ({"objectives": [{"metric": "reward"}]}, "spec.objectives.0..direction: is required"),
        ({"objectives": [TWO[0], TWO[0]]}, "each metric can be an objective once"),
        ({"objectives": TWO}, "several objectives cannot prune"),
        ({"budget": {"trials": 2, "parallel": 3}}, "parallel must be at most trials"),
        ({"constraints": [{"metric": "seconds"}]}, "set exactly one of: atMost, atLeast"),
        ({"engine": {}}, "set exactly one of: optuna"),
        ({"engine": optuna(sampler={"cmaEs": {}}), "parameters": [CHOICE]}, "CMA-ES knows numbers only"),
        ({"engine": optuna(sampler={"cmaEs": {}}, pruner={"none": {}}), "objectives": TWO}, "CMA-ES knows one obj"),
        ({"engine": optuna(sampler={"grid": {}})}, "a grid needs a step in every float"),
        ({"engine": optuna(pruner={"wilcoxon": {}})}, "seedsPerTrial must be above 1"),
        ({"engine": ray(), "objectives": TWO}, "rayTune knows one objective"),
        ({"engine": ray(), "seedsPerTrial": 2}, "rayTune runs one seed a trial"),
        ({"engine": ray(), "warmStart": {"study": "other"}}, "rayTune starts from no earlier study"),
        ({"engine": ray(searcher={"bayesOpt": {}}), "parameters": [CHOICE]}, "bayesOpt knows floats only"),
        ({"engine": ray(searcher={"bayesOpt": {}}), "parameters": [even(log=True)]}, "bayesOpt knows floats only"),
        ({"engine": ray(searcher={"bayesOpt": {}}), "parameters": [even(step=0.1)]}, "bayesOpt knows floats only"),
        ({"engine": population("pbt", searcher={"optuna": {}})}, "choose searcher.random"),
        ({"engine": population("pbt"), "budget": {"trials": 1}}, "want a population: give budget.trials"),
        ({"engine": population("pb2"), "parameters": [CHOICE]}, "only the rates and weights of train.algo and"),
        ({"engine": population("pb2"), "parameters": [LEARNING_RATE]}, "pb2 knows floats only, without log and step"),
        ({"engine": population("pbt")}, "stopAfterLastGate: found true"),
        ({"engine": ray(address="ray://host:10001")}, "spec.engine.rayTune.address: found 'ray://host:10001'"),
        ({"engine": ray() | optuna()}, "set exactly one of: optuna, rayTune"),
        ({"runTemplate": small_run()["spec"]}, "evaluation.everySteps: found 0: .* from 1 to totalSteps"),
        ({"runTemplate": {"train": {}}}, "spec.runTemplate.train.env: is required"),
        ({"warmStart": {"study": "Other_One"}}, "spec.warmStart.study: found 'Other_One'"),
    ],
    ids=lambda case: str(case)[:50],
)
def test_a_bad_study_is_refused_by_field_value_and_fix(spec: dict, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        validate_study(small_study(**spec))


def test_two_objectives_without_pruning_are_fine() -> None:
    assert len(validate_study(small_study(objectives=TWO, engine=optuna(pruner={"none": {}}))).spec.objectives) == 2


def test_the_name_leaves_room_for_the_names_of_runs() -> None:
    document = small_study()
    document["metadata"]["name"] = "a" * 31
    with pytest.raises(SpecError, match=r"metadata.name: .*at most 30"):
        validate_study(document)
