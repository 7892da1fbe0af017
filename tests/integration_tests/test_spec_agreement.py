"""What the API server accepts, `headway run` accepts, and the reverse: generated documents, given to both."""

from __future__ import annotations

import json
import os
import time
from collections import Counter

import pytest
import yaml
from headway_api import crd
from headway_api.load import SpecError, parse_yaml, validate
from hypothesis import HealthCheck, Phase, given, settings
from kubernetes import client
from specs import bent_runs, small_run, valid_runs

pytestmark = pytest.mark.integration
RUNS = "/apis/headway.dev/v1alpha1/namespaces/default/trainingruns"
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
    status, body = post(api, RUNS + query, json.dumps(document), "application/json")
    assert status in (201, 400, 404, 422), body
    return status == 201, "" if status == 201 else str(body["message"])


def our_verdict(document: dict) -> tuple[bool, str]:
    try:
        validate(document)
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
    try:
        definitions.create_custom_resource_definition(crd.training_run_crd())
    except client.ApiException as error:
        if error.status != 409:  # another module made it
            raise
    deadline = time.monotonic() + 30
    while server_verdict(api_client, small_run()) != (True, ""):
        assert time.monotonic() < deadline, server_verdict(api_client, small_run())
        time.sleep(0.1)
    return api_client


def test_a_run_that_nobody_has_looked_at_yet_is_not_taken_for_a_ready_one(api: client.ApiClient) -> None:
    _, made = post(api, RUNS + "?dryRun=All", json.dumps(small_run()), "application/json")
    assert made["status"]["observedGeneration"] == -1 and made["metadata"]["generation"] == 1


def test_at_least_200_valid_documents_are_taken_by_both(api: client.ApiClient) -> None:
    count: Counter[bool] = Counter()

    @ENOUGH
    @given(valid_runs())
    def check(document: dict) -> None:
        count[assert_agreement(api, document)] += 1

    check()
    assert count[True] >= 200
    assert count[False] == 0


def test_at_least_200_broken_documents_are_refused_by_both(api: client.ApiClient) -> None:
    count: Counter[bool] = Counter()

    @settings(ENOUGH, max_examples=500)
    @given(bent_runs())
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
        ({"initFrom": "a" * 513}, False),
    ],
    ids=lambda case: str(case)[:60],
)
def test_trainings_are_taken_or_refused_by_both(api: client.ApiClient, train: dict, taken: bool) -> None:
    assert assert_agreement(api, small_run(**train)) is taken


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
