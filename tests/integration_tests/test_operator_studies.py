"""Studies on a real API server, with the real operator and the real study service; only the training is played."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import yaml
from headway_api import load, names
from headway_operator.shell.cluster import Cluster, ConflictError, connect
from integration_tests.control_plane import ControlPlane
from integration_tests.operator_harness import Api, Site, make_site, wait_for
from integration_tests.studies import EVALUATIONS, STEPS, Kubelet, Studies, StudyService
from kubernetes import client

pytestmark = pytest.mark.integration
LOWEST = 0.4  # success rate of the first evaluation below which a trial is pruned


@pytest.fixture
def service(tmp_path: Path) -> Iterator[StudyService]:
    made = StudyService(tmp_path / "service")
    made.certify()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def site(
    control_plane: ControlPlane, api_client: client.ApiClient, namespace: str, tmp_path: Path, service: StudyService
) -> Iterator[Site]:
    """An operator of this test's namespace alone, which knows the service."""
    place = make_site(control_plane, api_client, namespace, tmp_path)
    place.start("operator-a", resync_seconds=5, progress_seconds=1, **service.settings)
    yield place
    place.stop()


@pytest.fixture
def api(site: Site) -> Api:
    return site.api


@pytest.fixture
def studies(api: Api) -> Studies:
    return Studies(api)


@pytest.fixture
def kubelet(site: Site, api: Api) -> Kubelet:
    return Kubelet(site, api)


def is_over(studies: Studies) -> bool:
    return studies.condition(names.FINISHED).get("status") == "True"


def finished(studies: Studies) -> int:
    counts = studies.status().get("trials") or {}
    return sum(counts.get(kind, 0) for kind in ("complete", "pruned", "failed"))


def stored(service: StudyService, studies: Studies) -> list[optuna.trial.FrozenTrial]:
    metadata = studies.get()["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}/{metadata['uid']}"
    return optuna.load_study(study_name=name, storage=service.url).trials


@pytest.mark.slow
def test_operator_and_service_are_killed_and_every_trial_is_finished_once(
    site: Site, service: StudyService, studies: Studies, kubelet: Kubelet
) -> None:
    pruner = {"threshold": {"lower": LOWEST}}
    studies.create(budget={"trials": 12, "parallel": 3}, trialHistoryLimit=4, engine={"optuna": {"pruner": pruner}})

    def kill_operator() -> None:
        site.operators[-1].signal(signal.SIGKILL)
        site.start(f"operator-{len(site.operators)}", resync_seconds=5, progress_seconds=1, **service.settings)

    def kill_service() -> None:
        service.kill()
        kubelet.play(
            lambda: studies.condition(names.RECONCILING).get("reason") == names.REASON_SERVICE_AWAY, "it is missed"
        )
        service.start()

    kubelet.play(lambda: finished(studies) >= 2, "2 trials")
    kill_operator()
    kubelet.play(lambda: finished(studies) >= 5, "5 trials")
    kill_service()
    kubelet.play(lambda: finished(studies) >= 8, "8 trials")
    service.kill()
    kill_operator()
    kubelet.play(lambda: site.operators[-1].probe("/healthz")[0] == 200, "the operator is back")
    service.start()
    kubelet.play(lambda: is_over(studies), "the study", 90)

    status, trials = studies.status(), stored(service, studies)
    states = Counter(trial.state.name for trial in trials)
    assert len(trials) == 12 and states["RUNNING"] == states["FAIL"] == 0
    counts = status["trials"]
    assert (counts["complete"], counts["pruned"], counts["running"]) == (states["COMPLETE"], states["PRUNED"], 0)
    assert (status["phase"], status["finished"]) == ("Succeeded", "12/12")
    ends = Counter(kubelet.ended.values())
    assert sorted(kubelet.ended) == sorted(f"search-{n}" for n in range(12))
    assert (ends[names.OUTCOME_FINISHED], ends[names.OUTCOME_PRUNED]) == (states["COMPLETE"], states["PRUNED"])
    pruned = [run for run, end in kubelet.ended.items() if end == names.OUTCOME_PRUNED]
    assert pruned and all(kubelet.score(run) < LOWEST for run in pruned)
    assert status["steps"] == STEPS * sum(len(points) for points in kubelet.evaluations.values()), "each counted once"
    assert len(studies.runs()) <= 4 + 3, "older ones are deleted"

    best = status["best"][0]
    completed = [run for run, end in kubelet.ended.items() if end == names.OUTCOME_FINISHED]
    scores = {run: kubelet.score(run) for run in completed}
    assert best["values"] == {"successRate": max(scores.values())} and scores[best["run"]] == max(scores.values())
    text = studies.api.call("GET", f"{studies.api.core}/configmaps/search-best")["data"]["trainingrun.yaml"]
    run = load.validate(load.parse_yaml(text))
    assert run.spec.train.algo.ppo.learning_rate == best["parameters"]["train.algo.ppo.learningRate"]
    assert studies.api.call("POST", studies.api.runs, yaml.safe_load(text))["metadata"]["name"] == "search-tuned"


def test_a_bad_space_is_refused_at_once_or_reported_within_5_seconds(studies: Studies) -> None:
    low_above_high = {"path": "train.algo.ppo.gamma", "float": {"low": 0.2, "high": 0.1}}
    with pytest.raises(AssertionError, match="low must be below high"):
        studies.create(parameters=[low_above_high])
    wait_for(lambda: studies.api.lease_holder(), "a leader")
    studies.create(parameters=[{"path": "train.algo.ppo.nothing", "float": {"low": 0.1, "high": 0.2}}])
    wait_for(lambda: studies.condition(names.SPEC_VALID).get("status") == "False", "the verdict", 5)
    assert "nothing" in studies.condition(names.SPEC_VALID)["message"]
    assert studies.runs() == {} and studies.condition(names.STALLED)["status"] == "True"


def test_a_study_to_start_from_that_is_not_there_is_reported_and_waited_for(studies: Studies) -> None:
    studies.create(warmStart={"study": "before"})
    wait_for(lambda: studies.condition(names.SPEC_VALID).get("status") == "False", "the verdict")
    message = studies.condition(names.SPEC_VALID)["message"]
    assert message.startswith("the study service refuses it: ") and "before" in message
    assert studies.runs() == {} and studies.condition(names.FINISHED)["status"] == "False"


def test_a_deleted_child_is_told_failed_and_the_study_goes_on(
    service: StudyService, studies: Studies, kubelet: Kubelet
) -> None:
    studies.create(budget={"trials": 3, "parallel": 1})
    kubelet.play(lambda: studies.status().get("runs") == ["search-0"], "the first run is seen")
    studies.api.call("DELETE", f"{studies.api.runs}/search-0")
    kubelet.play(lambda: is_over(studies), "the study")
    counts = studies.status()["trials"]
    assert counts["failed"] >= 1 and counts["running"] == 0 and finished(studies) == 3
    assert stored(service, studies)[0].state.name == "FAIL"
    events = studies.api.call("GET", f"{studies.api.core}/events")["items"]
    said = [event["message"] for event in events if event["reason"] == names.REASON_TRIAL_FAILED]
    assert said == ["trial 0 has failed: search-0 was deleted"]


def test_suspended_and_resumed_a_study_loses_nothing(service: StudyService, studies: Studies, kubelet: Kubelet) -> None:
    studies.create(budget={"trials": 2, "parallel": 2}, engine={"optuna": {"pruner": {"none": {}}}})
    kubelet.play(lambda: len(studies.status().get("runs") or ()) == 2, "both runs")
    with pytest.raises(AssertionError, match="seed is fixed"):  # a search cannot honour it midway
        studies.patch(seed=5)
    studies.patch(suspend=True, budget={"trials": 3})
    kubelet.play(lambda: studies.condition(names.SUSPENDED).get("status") == "True", "suspended")
    assert all(run["spec"]["suspend"] for run in studies.runs().values())
    assert {trial.state.name for trial in stored(service, studies)} == {"RUNNING"}
    studies.patch(suspend=False)
    kubelet.play(lambda: is_over(studies), "the study")
    trials = stored(service, studies)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert all(len(trial.intermediate_values) == EVALUATIONS for trial in trials)


def test_the_leader_makes_the_services_certificate_and_trusts_no_other(
    control_plane: ControlPlane, api_client: client.ApiClient, namespace: str, tmp_path: Path
) -> None:
    """As the chart has it: the service waits for the Secret that the leader fills."""
    service, site = StudyService(tmp_path / "service"), make_site(control_plane, api_client, namespace, tmp_path)
    secret, studies = "headway-studies-tls", Studies(site.api)
    site.api.call("POST", f"{site.api.core}/secrets", {"metadata": {"name": secret}})
    service.start()
    site.start("operator-a", studies_secret_name=secret, **service.settings)
    try:
        path = f"{site.api.core}/secrets/{secret}"
        data = wait_for(lambda: site.api.call("GET", path).get("data"), "the certificate")
        studies.create()
        wait_for(
            lambda: studies.condition(names.RECONCILING).get("reason") == names.REASON_SERVICE_AWAY, "it is missed"
        )
        service.put_certificate(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
        wait_for(lambda: len(studies.runs()) == 2, "the first runs", 30)
        service.kill()
        service.certify()
        service.start()
        studies.patch(trialHistoryLimit=5)  # so that the study is looked at
        wait_for(lambda: "no trust in" in studies.condition(names.RECONCILING)["message"], "the stranger")
    finally:
        site.stop()
        service.stop()


def test_another_run_of_that_name_is_not_suspended(site: Site, api: Api) -> None:
    async def suspend(uid: str) -> None:
        api_client = await connect(str(site.plane.kubeconfig))
        try:
            await Cluster(api_client).suspend_run(api.namespace, "nav", uid, True)
        finally:
            await api_client.close()

    run = api.create_run(nodes=1)
    with pytest.raises(ConflictError):
        asyncio.run(suspend("00000000-0000-4000-8000-000000000000"))
    assert not api.run()["spec"].get("suspend")
    asyncio.run(suspend(run["metadata"]["uid"]))
    assert api.run()["spec"]["suspend"] is True
