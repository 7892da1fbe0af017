"""What the API server accepts, `headway run` accepts, and the reverse: generated documents, given to both."""

from __future__ import annotations

import json
import os
import time
from collections import Counter

import pytest
import yaml
from headway_api import crd
from headway_api.hpo_study import HPOStudy
from headway_api.load import SpecError, checked, parse_yaml, validate_study
from headway_api.training_run import TrainingRun
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kubernetes import client
from specs import DISCRETE, EXPLORING, bent_runs, bent_studies, small_run, small_study, valid_runs, valid_studies

pytestmark = pytest.mark.integration
HOME = "/apis/headway.dev/v1alpha1/namespaces/default"
RUNS = f"{HOME}/trainingruns"
# What both check. A study's space is tried in its template afterwards, by functions (headway_api.trials.problems).
KINDS: dict[str, tuple[str, type[TrainingRun] | type[HPOStudy]]] = {
    "TrainingRun": (RUNS, TrainingRun),
    "HPOStudy": (f"{HOME}/hpostudies", HPOStudy),
}
# The same documents each time in CI, new ones elsewhere. No shrinking: a disagreement is printed with its document,
# and every example costs a request.
ENOUGH = settings(
    max_examples=250,
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def post(api: client.ApiClient, path: str, body: str, content_type: str) -> tuple[int, dict]:
    """Post text as it stands, so that the server parses it; return status and answer."""
    url = api.configuration.host + path
    answer = api.rest_client.pool_manager.request("POST", url, body=body, headers={"Content-Type": content_type})
    text = answer.data.decode()
    return answer.status, json.loads(text) if text.startswith("{") else {"message": text}


def server_verdict(api: client.ApiClient, document: dict) -> tuple[bool, str]:
    """Create with strict validation, as a dry run."""
    query = "?dryRun=All&fieldValidation=Strict"
    status, body = post(api, KINDS[document["kind"]][0] + query, json.dumps(document), "application/json")
    assert status in (201, 400, 404, 422), body
    return status == 201, "" if status == 201 else str(body["message"])


def our_verdict(document: dict) -> tuple[bool, str]:
    try:
        checked(document, KINDS[document["kind"]][1])
    except SpecError as refusal:
        return False, str(refusal)
    return True, ""


def assert_agreement(api: client.ApiClient, document: dict) -> bool:
    (theirs, their_words), (ours, our_words) = server_verdict(api, document), our_verdict(document)
    assert theirs == ours, f"server: {theirs} {their_words}\nours: {ours} {our_words}\n{yaml.safe_dump(document)}"
    return ours


@pytest.fixture(scope="module")
def api(api_client: client.ApiClient) -> client.ApiClient:
    definitions = client.ApiextensionsV1Api(api_client)
    for kind in crd.KINDS:
        try:
            definitions.create_custom_resource_definition(crd.crd(kind))
        except client.ApiException as error:
            if error.status != 409:  # another module made it
                raise
    deadline = time.monotonic() + 30
    for document in (small_run(), small_study()):
        while server_verdict(api_client, document) != (True, ""):
            assert time.monotonic() < deadline, server_verdict(api_client, document)
            time.sleep(0.1)
    return api_client


def test_a_run_that_nobody_has_looked_at_yet_is_not_taken_for_a_ready_one(api: client.ApiClient) -> None:
    _, made = post(api, RUNS + "?dryRun=All", json.dumps(small_run()), "application/json")
    assert made["status"]["observedGeneration"] == -1 and made["metadata"]["generation"] == 1


def test_at_least_200_valid_documents_are_taken_by_both(api: client.ApiClient) -> None:
    assert_all_are_taken(api, valid_runs())


def test_at_least_200_valid_studies_are_taken_by_both(api: client.ApiClient) -> None:
    assert_all_are_taken(api, valid_studies())


def assert_all_are_taken(api: client.ApiClient, documents: st.SearchStrategy[dict]) -> None:
    count: Counter[bool] = Counter()

    @ENOUGH
    @given(documents)
    def check(document: dict) -> None:
        count[assert_agreement(api, document)] += 1

    check()
    assert count[True] >= 200
    assert count[False] == 0


def test_at_least_200_broken_documents_are_refused_by_both(api: client.ApiClient) -> None:
    assert_many_are_refused(api, bent_runs())


def test_at_least_200_broken_studies_are_refused_by_both(api: client.ApiClient) -> None:
    assert_many_are_refused(api, bent_studies())


def assert_many_are_refused(api: client.ApiClient, documents: st.SearchStrategy[dict]) -> None:
    count: Counter[bool] = Counter()

    @settings(ENOUGH, max_examples=500)
    @given(documents)
    def check(document: dict) -> None:
        count[assert_agreement(api, document)] += 1

    check()
    assert count[False] >= 200


@pytest.mark.parametrize(
    ("curriculum", "taken"),
    [
        ({"schedule": {"gates": {}}}, True),
        ({"schedule": {"gates": {"demotion": {}}}}, True),  # 0.3, below the gates' 0.8
        ({"schedule": {"gates": {"demotion": {"successRate": 0.9, "updates": 1}}}}, False),
        ({"schedule": {"gates": {"demotion": {}}}, "gate": {"successRate": 0, "reward": -1e7}}, False),
        ({"schedule": {"gates": {"demotion": {}}}, "gate": {"successRate": 0.3}}, False),
        ({"schedule": {"steps": {"starts": [0, 0]}}}, True),
        ({"schedule": {"steps": {"starts": [0]}}}, False),
        ({"schedule": {"steps": {"starts": [5, 6]}}}, False),
        ({"schedule": {"steps": {"starts": [0, 6, 5]}}}, False),
        ({"schedule": {"manual": {"stage": "b"}}}, True),
        ({"schedule": {"manual": {"stage": "c"}}}, False),
        ({"schedule": {"manual": {"stage": "b"}, "gates": {}}}, False),
        ({"learnability": {}}, True),
        ({"learnability": {"levels": 16, "share": 0.95, "attempts": 2}}, True),
        ({"learnability": {"share": 0}}, False),
        ({"gate": {"collisionRate": 0.05, "reward": 1.5, "confidence": 0}}, True),
        ({"gate": {"collisionRate": 0}}, False),
    ],
    ids=str,
)
def test_curricula_are_taken_or_refused_by_both(api: client.ApiClient, curriculum: dict, taken: bool) -> None:
    curriculum = dict(curriculum)
    second = {"name": "b", "levels": {"world": {"empty": {}}}, "gate": curriculum.pop("gate", {})}
    document = small_run()
    document["spec"]["train"]["curriculum"] |= curriculum
    document["spec"]["train"]["curriculum"]["stages"].append(second)
    assert assert_agreement(api, document) is taken


def gym(**fields: object) -> dict:
    return {"env": {"gym": {"id": "CartPole-v1", **fields}}, "curriculum": {"stages": [{"name": "a"}]}}


def world(**kind: object) -> dict:
    return {"curriculum": {"stages": [{"name": "a", "levels": {"world": kind}}]}}


def self_play(robots: float = 1, **kind: object) -> dict:
    stage = {"name": "a", "levels": {"world": {"empty": {}}, "robots": robots}}
    return {
        "selfPlay": kind or {"pool": {"everySteps": 1000}},
        "env": {"nav": {"others": "self"}},
        "curriculum": {"stages": [stage]},
    }


PPO = {"ppo": {"rolloutSteps": 16, "minibatchSize": 64}}


@pytest.mark.parametrize(
    ("train", "taken"),
    [
        (gym(), True),
        (gym(id="some_package.envs:robots/Arm-v12"), True),
        (gym(id="CartPole"), False),
        (gym(id="Cárt-v1"), False),
        (gym(id="Cart-v\u0663"), False),  # a digit, but not one of ours
        (gym(kwargs={"a": None, "b": [1, {"c": 2.5}], "1 2": ""}), True),
        (gym(kwargs={f"k{k}": k for k in range(33)}), False),
        (gym(kwargs=[]), False),
        (gym() | {"curriculum": small_run()["spec"]["train"]["curriculum"]}, False),
        ({"curriculum": {"stages": [{"name": "a", "kwargs": {"gravity": 5}}]}}, False),
        ({"network": {"gru": {}}, "algo": PPO}, True),
        ({"network": {"gru": {}}, "algo": {"ppo": {"rolloutSteps": 16, "minibatchSize": 8}}}, False),
        ({"network": {"gru": {}}, "algo": {"dagger": {"minibatchSize": 64}}}, False),
        ({"network": {"cnn1d": {}}, "algo": {"dagger": {"minibatchSize": 64}}}, True),
        ({"network": {"cnn1d": {}, "mlp": {}}}, False),
        ({"env": {"nav": {"robot": {"footprint": {"disc": {}, "rectangle": {}}}}}}, False),
        ({"env": {"nav": {"robot": {"footprint": {}}}}}, False),
        (world(polygons={"minMeters": 0.9}), False),  # above the default of maxMeters
        (world(automaton={"fill": 0.1}), False),  # below the default of minFill
        (world(mixture=[{"empty": {}}, {"rooms": {}}]), True),
        (world(mixture=[{"empty": {}}]), False),
        (world(mixture=[{"empty": {}}, {"mixture": []}]), False),
        (world(mixture=[{"empty": {}}, {"rooms": {}}], empty={}), False),
        ({"onDivergence": "rollback"}, False),
        ({"initFrom": "a" * 513}, False),
        ({"microBatch": "auto"}, True),
        ({"microBatch": 4194304}, True),
        ({"microBatch": None}, True),
        ({"microBatch": 4194305}, False),
        ({"microBatch": -1}, False),
        ({"microBatch": "64"}, False),
        ({"microBatch": 64.0}, False),
        (self_play(), True),
        (self_play(pool={"size": 64, "everySteps": 1, "opponents": "latest", "latestShare": 0.95}), True),
        (self_play(pool={"everySteps": 4095}), True),
        (self_play(pool={"everySteps": 4096}), False),  # of 4096 steps in all
        (self_play(pool={"everySteps": 1000.0}), False),
        (self_play(pool={}), False),
        (self_play(frozen={"policy": "runs/a"}), True),
        (self_play(frozen={}), False),
        (self_play(frozen={"policy": "runs/a"}, pool={}), False),
        (self_play() | {"env": {"nav": {}}}, False),
        (self_play() | {"network": {"gru": {}}, "algo": PPO}, False),
        (self_play() | {"curriculum": small_run()["spec"]["train"]["curriculum"]}, False),
        (gym() | {"selfPlay": {"pool": {}}}, False),
        (self_play(robots=0), False),
        (self_play(robots=1.0), False),  # CEL takes no 1.0 for a whole number
    ],
    ids=lambda case: str(case)[:60],
)
def test_trainings_are_taken_or_refused_by_both(api: client.ApiClient, train: dict, taken: bool) -> None:
    assert assert_agreement(api, small_run(**train)) is taken


def learning(kind: str, explores: bool = False, num_envs: int = 16, **own: object) -> dict:
    """Train by an algorithm where actions suit it; `explores`: in a stage's own way."""
    actions = {"discrete": {}} if kind in DISCRETE else {"continuous": {}}
    stage = {"name": "a", "levels": {"world": {"empty": {}}}} | ({"exploration": {}} if explores else {})
    env, curriculum = {"nav": {"actions": actions}}, {"stages": [stage]}
    return {"numEnvs": num_envs, "env": env, "algo": {kind: own}, "curriculum": curriculum}


def both_take_or_refuse(cases: list) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("train", "taken"), cases, ids=lambda case: str(case)[:100])


@both_take_or_refuse(
    [
        *[(learning(kind), True) for kind in ("dqn", "sac", "td3")],
        (learning("pqn", rolloutSteps=16, minibatchSize=64), True),
        (learning("pqn"), False),  # 16 * 32 steps do not fill the 2048 of a minibatch
        (learning("pqn", rolloutSteps=16, minibatchSize=60), False),
        *[(learning(kind, batchSize=64, replay={"capacity": 64}), True) for kind in ("dqn", "sac", "td3")],
        *[(learning(kind, batchSize=64, replay={"capacity": 63}), False) for kind in ("dqn", "sac", "td3")],
        (learning("dqn", replay={"capacity": 127}), False),  # below the batch's default
        (learning("sac", replay={"capacity": 255}), False),
        (learning("sac", batchSize=1000001), False),  # above the capacity's default
        *[
            (learning(kind, batchSize=8, replay={"capacity": room, "nSteps": 3}), room == 64)
            for kind in ("dqn", "sac", "td3")
            for room in (63, 64)  # 16 environments, 3 steps and one more
        ],
        (learning("td3", batchSize=8, replay={"capacity": 31}), False),
        (learning("td3", num_envs=65536, batchSize=8, replay={"nSteps": 16}), False),
        (learning("dqn", replay={"nSteps": 0}), False),
        (learning("td3", learningStarts=4096), False),  # totalSteps: nothing would be learned
        (learning("td3", learningStarts=4095), True),
        (learning("dqn", replay={"nSteps": 3.0}), False),  # CEL takes no 3.0 for a whole number
        (learning("dqn", replay={"capacity": 1e6}), False),
        (learning("dqn", replay={"prioritized": {"alpha": 0, "beta": 1, "epsilon": 1}}), True),
        (learning("dqn", replay={"prioritized": {"alpha": 1.5}}), False),
        (learning("dqn", replay={"prioritized": {"epsilon": 0}}), False),
        (learning("sac", replay={"hindsight": {"strategy": "final", "goals": 8.0}, "storage": "disk"}), True),
        (learning("sac", replay={"hindsight": {"strategy": "past"}}), False),
        (learning("sac", replay={"storage": "tape"}), False),
        *[(learning(kind, replay={}), False) for kind in ("ppo", "pqn", "dagger")],
        (learning("dqn", target={"hard": {"everySteps": 1}}), True),
        (learning("dqn", target={"polyak": {"tau": 1}}), True),
        (learning("dqn", target={"polyak": {"tau": 0}}), False),
        (learning("dqn", target={"polyak": {}, "hard": {}}), False),
        (learning("dqn", target={}), False),
        (learning("sac", targetEntropy=-2, autoTemperature=False, temperature=0.1), True),
        (learning("sac", targetEntropy=None), True),
        (learning("sac", temperature=0), False),
        (learning("sac", exploration={}), False),
        (learning("td3", exploration={"start": 2}), False),
        (learning("td3", targetNoise=0, targetNoiseClip=0, policyDelay=1), True),
        ({"algo": {"dqn": {}, "sac": {}}}, False),
    ]
)
def test_algorithms_are_taken_or_refused_by_both(api: client.ApiClient, train: dict, taken: bool) -> None:
    assert assert_agreement(api, small_run(**train)) is taken


WHOLE = {"rolloutSteps": 16, "minibatchSize": 64}
ALGORITHMS = {"ppo": WHOLE, "pqn": WHOLE, "dagger": {"minibatchSize": 64}, "dqn": {}, "sac": {}, "td3": {}}


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_what_suits_an_algorithm_is_the_same_for_both(api: client.ApiClient, kind: str) -> None:
    def taken(**changes: object) -> bool:
        return assert_agreement(api, small_run(**learning(kind, **ALGORITHMS[kind]) | changes))

    assert taken()
    for actions, wanted in (
        ({}, kind not in DISCRETE),  # numbers, by default
        ({"actions": {"continuous": {}}}, kind not in DISCRETE),
        ({"actions": {"discrete": {}}}, kind not in ("sac", "td3")),
    ):
        assert taken(env={"nav": actions}) is wanted, actions
    stages = learning(kind, explores=True)["curriculum"]
    assert taken(curriculum=stages) is (kind in EXPLORING)
    assert taken(network={"gru": {}}) is (kind == "ppo")
    assert taken(**gym())  # whose actions only the trainer can see
    for ranks, wanted in ((16, True), (8, True), (3, False)):
        document = small_run(**learning(kind, num_envs=48, **ALGORITHMS[kind]))
        document["spec"] |= {"processesPerNode": ranks}
        assert assert_agreement(api, document) is wanted, ranks


def space(**domain: object) -> dict:
    return {"parameters": [{"path": "train.algo.ppo.learningRate", **domain}]}


def judged(*metrics: str) -> dict:
    return {"objectives": [{"metric": metric, "direction": "maximize"} for metric in metrics]}


def engine(**parts: dict) -> dict:
    return {"engine": {"optuna": parts}}


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        (space(float={"low": 0.2, "high": 0.1}), False),
        (space(float={"low": 0, "high": 0.1, "log": True}), False),
        (space(int={"low": 0, "high": 10, "log": True}), False),
        (space(int={"low": 1.0, "high": 10}), False),  # CEL takes no 1.0 for a whole number
        (space(float={"low": 1, "high": 10}), True),
        (space(categorical={"choices": []}), False),
        (space(categorical={"choices": [[64, 64], {"a": None}, "x", True, 1.5]}), True),
        (space(categorical={"choices": [1]}, int={"low": 1, "high": 2}), False),
        (space(), False),
        ({"parameters": space(int={"low": 1, "high": 2})["parameters"] * 2}, False),
        (judged("success"), False),
        (judged("successRate", "spl"), False),  # with a pruner, as by default
        (judged("successRate", "spl") | engine(pruner={"none": {}}), True),
        (judged("successRate", "successRate") | engine(pruner={"none": {}}), False),
        ({"constraints": [{"metric": "collisionRate", "atMost": 0.1}]}, True),
        ({"constraints": [{"metric": "collisionRate", "atMost": 0.1, "atLeast": 0}]}, False),
        ({"budget": {"trials": 4, "parallel": 5}}, False),
        ({"budget": {"trials": 4, "parallel": 4, "seconds": 1, "steps": 10**15, "failed": 1}}, True),
        (engine(sampler={"cmaEs": {}}), True),
        (engine(sampler={"cmaEs": {}}) | space(categorical={"choices": [1, 2]}), False),
        (engine(sampler={"grid": {}}), False),
        (engine(sampler={"grid": {}}) | space(float={"low": 0, "high": 1, "step": 0.1}), True),
        (engine(sampler={"grid": {}, "tpe": {}}), False),
        (engine(pruner={"wilcoxon": {}}), False),
        (engine(pruner={"wilcoxon": {}}) | {"seedsPerTrial": 2}, True),
        ({"runTemplate": small_run()["spec"]}, True),  # without evaluations: trials.problems
        ({"runTemplate": small_study()["spec"]["runTemplate"] | {"nodes": 0}}, False),
        ({"runTemplate": small_study()["spec"]["runTemplate"] | {"suspend": True}}, False),
        ({"warmStart": {"study": "before", "best": 3}}, True),
        ({"warmStart": {"study": "Before"}}, False),
    ],
    ids=lambda case: str(case)[:60],
)
def test_searches_are_taken_or_refused_by_both(api: client.ApiClient, spec: dict, taken: bool) -> None:
    assert assert_agreement(api, small_study(**spec)) is taken


def test_what_only_functions_see_wrong_with_a_study_is_no_matter_of_the_schema(api: client.ApiClient) -> None:
    """Such a study can be applied, and the operator says what is wrong (test_operator_studies.py)."""
    unknown = small_study(parameters=[{"path": "train.algo.ppo.nothing", "float": {"low": 0.1, "high": 0.2}}])
    assert assert_agreement(api, unknown)
    with pytest.raises(SpecError, match=r"^spec.parameters\[0\]: .*nothing"):
        validate_study(unknown)


@pytest.mark.parametrize(
    "text",
    ["3e-4", "1e3", "1E+3", ".5", "5.", "-2.5e2", "1_000", "0x1f", "010", "0o10", "0b101", "+7", "-0", "1:30", "1.2.3",
     "2026-01-01", "yes", "No", "on", "OFF", "y", "n", "true", "~", "null", "e3", "1e", ".e1", "0x", "08", "1__0",
     "'3e-4'", "=", "<<x", ".inf_", "+.5", "0b2", "12e03", "1e-400", "685_230.15", "0_1", "-0x1f", "-010"],
)  # fmt: skip
def test_a_scalar_means_the_same_here_and_in_the_api_server(api: client.ApiClient, text: str) -> None:
    body = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: probe}}\ndata: {{v: {text}}}\n"
    _, answer = post(api, "/api/v1/namespaces/default/configmaps?dryRun=All", body, "application/yaml")
    ours = parse_yaml(body)["data"]["v"]
    if answer.get("kind") == "ConfigMap":  # it took the value for text, or for nothing
        assert answer["data"].get("v", "") == (ours if ours is not None else "")
    else:  # it says what it took the value for: "cannot unmarshal number into …"
        kind = {bool: "bool", int: "number", float: "number"}[type(ours)]
        assert f"cannot unmarshal {kind}" in answer["message"]
