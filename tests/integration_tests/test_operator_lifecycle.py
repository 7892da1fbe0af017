"""The whole operator, as a process, against a real API server: what is in the cluster afterwards."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

import pytest
from headway_api import names
from integration_tests.control_plane import ControlPlane
from integration_tests.operator_harness import Api, Operator, Site, make_site, wait_for
from integration_tests.progress_client import post_report
from kubernetes import client

pytestmark = pytest.mark.integration

GANG = ("nav-1-0", "nav-1-1")
NEXT_GANG = ("nav-2-0", "nav-2-1")
QUICK = {"maxRestarts": 1, "backoffSeconds": 1}


@pytest.fixture(scope="module")
def site(
    control_plane: ControlPlane, api_client: client.ApiClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One operator that serves the whole cluster, with the rights of install.yaml."""
    home = f"operator-{uuid.uuid4().hex[:8]}"
    client.CoreV1Api(api_client).create_namespace({"metadata": {"name": home}})
    place = make_site(control_plane, api_client, home, tmp_path_factory.mktemp("operator"))
    place.start("operator-a", watch_namespaces="", resync_seconds=5)
    yield place
    place.stop()


@pytest.fixture
def operator(site: Site) -> Operator:
    return site.operators[0]


@pytest.fixture
def api(site: Site, api_client: client.ApiClient, namespace: str) -> Api:
    """A namespace of this test alone, served by the operator."""
    return Api(api_client, namespace)


def running_gang(api: Api, **spec: object) -> None:
    api.create_run(**{"failurePolicy": QUICK, "terminationGracePeriodSeconds": 30, **spec})
    api.wait_for_pods(*GANG)
    for pod in GANG:
        api.bind(pod, "worker-1")
    api.start_pods(*GANG)
    api.wait_for_phase("Running")


def is_terminating(api: Api, pod: str) -> bool:
    return "deletionTimestamp" in api.pods()[pod]["metadata"]


def test_a_run_from_creation_to_success(api: Api) -> None:
    running_gang(api)
    run = api.run()
    service = api.call("GET", f"{api.core}/services/nav")
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    held = json.loads(api.call("GET", f"{api.core}/configmaps/nav")["data"][names.FILE_SPEC])
    assert held["spec"]["train"]["totalSteps"] == 4096
    for thing in (service, *api.pods().values()):
        assert thing["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"]

    api.complete_pods(*GANG)
    wait_for(lambda: api.is_true("Finished"), "Finished")
    status = api.status()
    assert status["phase"] == "Succeeded" and status["attempt"] == 1 and status["completionTime"]
    assert api.condition("Finished")["reason"] == "Succeeded" and api.is_true("Ready")
    assert status["observedGeneration"] == run["metadata"]["generation"]
    assert set(api.pods()) == set(GANG), "finished pods stay for their logs"
    events = api.call("GET", f"{api.core}/events")["items"]
    wait_for(lambda: len(api.call("GET", f"{api.core}/events")["items"]) == 3, "events")
    assert {event["involvedObject"]["uid"] for event in events} == {run["metadata"]["uid"]}


def test_a_crash_restarts_the_gang_once_and_the_old_pods_are_gone_first(api: Api) -> None:
    running_gang(api)
    api.end_pod("nav-1-1", 137)
    wait_for(lambda: is_terminating(api, "nav-1-0"), "the peer is ended")
    time.sleep(2)  # longer than the backoff
    assert set(api.pods()) == set(GANG), "no new pod while an old one may run"
    api.confirm_end("nav-1-0")
    api.wait_for_pods("nav-1-1", *NEXT_GANG)
    status = api.status()
    assert (status["attempt"], status["restarts"]["counted"], status["restarts"]["uncounted"]) == (2, 1, 0)
    assert status["phase"] == "Restarting" and "exit code 137" in api.condition("Reconciling")["message"]
    api.start_pods(*NEXT_GANG)
    api.complete_pods(*NEXT_GANG)
    api.wait_for_phase("Succeeded")


def test_bad_input_fails_the_run_in_the_trainers_words(api: Api) -> None:
    running_gang(api)
    api.end_pod("nav-1-0", 2, {"outcome": "failed", "error": "train.env.nav: map depot.yaml is missing: add it"})
    wait_for(lambda: api.is_true("Finished"), "Finished")
    failed = api.condition("Failed")
    assert (failed["status"], failed["reason"]) == ("True", "PermanentError")
    assert "map depot.yaml is missing" in failed["message"]
    assert api.status()["restarts"]["counted"] == 0
    wait_for(lambda: is_terminating(api, "nav-1-1"), "the peer is ended")


def test_a_crash_loop_ends_at_max_restarts(api: Api) -> None:
    api.create_run(nodes=1, failurePolicy={"maxRestarts": 1, "backoffSeconds": 0})
    for attempt in (1, 2):
        wait_for(lambda name=f"nav-{attempt}-0": name in api.pods(), "the pod")
        api.end_pod(f"nav-{attempt}-0", 1, "RuntimeError: no")
    wait_for(lambda: api.is_true("Failed"), "Failed")
    assert api.condition("Failed")["reason"] == "MaxRestartsExceeded"
    assert "RuntimeError: no" in api.condition("Failed")["message"]


def test_a_pod_gone_without_outcome_restarts_the_gang_uncounted(api: Api) -> None:
    running_gang(api)
    api.confirm_end("nav-1-1")
    wait_for(lambda: api.status()["attempt"] == 2, "attempt 2")
    assert (api.status()["restarts"]["counted"], api.status()["restarts"]["uncounted"]) == (0, 1)
    assert api.status()["restarts"]["reason"].startswith("Lost")


@pytest.mark.slow
def test_a_terminating_pod_on_a_missing_node_is_forced_after_grace_and_30_seconds(api: Api) -> None:
    running_gang(api, terminationGracePeriodSeconds=1)
    api.end_pod("nav-1-0", 1)
    wait_for(lambda: is_terminating(api, "nav-1-1"), "the peer is ended")
    time.sleep(20)
    assert "nav-1-1" in api.pods()
    api.wait_for_pods("nav-1-0", *NEXT_GANG)


def test_suspend_and_resume(api: Api) -> None:
    running_gang(api)
    api.patch_run("nav", suspend=True)
    wait_for(lambda: all(is_terminating(api, pod) for pod in GANG), "both pods are ended")
    assert not api.is_true("Suspended")
    api.end_pod("nav-1-0", 0, {"outcome": "stopped", "step": 10})
    api.confirm_end(*GANG)
    wait_for(lambda: api.is_true("Suspended"), "Suspended")
    assert not api.is_true("Finished") and api.pods() == {}
    api.patch_run("nav", suspend=False)
    api.wait_for_pods(*NEXT_GANG)
    status = api.status()
    assert status["restarts"]["counted"] == status["restarts"]["uncounted"] == 0 and status["attempt"] == 2


def test_finished_pods_go_after_the_ttl_and_the_run_stays(api: Api) -> None:
    running_gang(api, ttlSecondsAfterFinished=2)
    api.complete_pods(*GANG)
    wait_for(lambda: api.is_true("Finished"), "Finished")
    assert set(api.pods()) == set(GANG)
    wait_for(lambda: not api.pods(), "no pods")
    assert api.is_true("Succeeded")


def test_a_run_past_its_deadline_fails(api: Api) -> None:
    running_gang(api, activeDeadlineSeconds=3)
    wait_for(lambda: api.is_true("Failed"), "Failed")
    assert api.condition("Failed")["reason"] == "DeadlineExceeded"
    wait_for(lambda: all(is_terminating(api, pod) for pod in GANG), "both pods are ended")


def test_conditions_carry_the_schedulers_and_the_kubelets_words(api: Api) -> None:
    api.create_run()
    api.wait_for_pods(*GANG)
    words = 'persistentvolumeclaim "ckpt" not found'
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    api.set_pod("nav-1-0", "Pending", conditions=[scheduled])
    wait_for(lambda: words in api.condition("Reconciling")["message"], "the scheduler's words")
    assert api.condition("Reconciling")["reason"] == "Unschedulable"
    api.set_pod("nav-1-0", "Pending", conditions=[])
    api.set_pod("nav-1-0", "Pending", {"waiting": {"reason": "ImagePullBackOff", "message": 'image "nope"'}})
    wait_for(lambda: 'ImagePullBackOff: image "nope"' in api.condition("Ready")["message"], "the kubelet's words")


def test_a_quota_is_told_of_and_waited_for(api: Api) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    api.call("POST", f"{api.core}/resourcequotas", quota)
    status = {"status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}}
    api.call("PATCH", f"{api.core}/resourcequotas/few/status", status, "application/merge-patch+json")
    api.create_run()
    wait_for(lambda: api.condition("Reconciling").get("reason") == "PodRefused", "PodRefused")
    assert "exceeded quota: few" in api.condition("Reconciling")["message"]
    wait_for(lambda: api.pods() == {}, "the half gang is taken back")
    writes = api.run()["metadata"]["resourceVersion"]
    time.sleep(2)
    assert api.run()["metadata"]["resourceVersion"] == writes, "it does not write the same again and again"


def test_a_claim_for_one_node_is_refused_for_two(api: Api) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    api.call("POST", f"{api.core}/persistentvolumeclaims", {"metadata": {"name": "ckpt"}, "spec": claim})
    api.create_run()
    wait_for(lambda: api.condition("SpecValid").get("status") == "False", "SpecValid is False")
    assert "claim ckpt is ReadWriteOnce, but nodes is 2" in api.condition("SpecValid")["message"]
    assert api.is_true("Stalled") and api.pods() == {}


def test_a_service_of_somebody_else_is_not_touched(api: Api) -> None:
    theirs = {"metadata": {"name": "nav"}, "spec": {"ports": [{"port": 80}]}}
    api.call("POST", f"{api.core}/services", theirs)
    api.create_run()
    wait_for(lambda: "Service nav exists already" in api.condition("Reconciling").get("message", ""), "the message")
    assert "ownerReferences" not in api.call("GET", f"{api.core}/services/nav")["metadata"]
    assert api.pods() == {}


def test_a_run_made_anew_under_its_old_name_waits_for_the_old_pods(api: Api) -> None:
    running_gang(api)
    api.call("DELETE", f"{api.runs}/nav")
    for kind in ("services", "configmaps"):
        api.call("DELETE", f"{api.core}/{kind}/nav")
    api.create_run()
    words = "waiting for the previous run's Pod nav-1-"
    wait_for(lambda: words in api.condition("Reconciling").get("message", ""), "the message")
    assert api.condition("Reconciling")["reason"] == "Starting"
    api.confirm_end(*GANG)
    uid = api.run()["metadata"]["uid"]
    wait_for(lambda: len(api.pods()) == 2, "the new pods")
    assert all(pod["metadata"]["ownerReferences"][0]["uid"] == uid for pod in api.pods().values())


def test_a_deleted_run_is_left_to_the_garbage_collector(api: Api) -> None:
    running_gang(api)
    assert "finalizers" not in api.run()["metadata"] and "annotations" not in api.run()["metadata"]
    api.call("DELETE", f"{api.runs}/nav")
    api.confirm_end(*GANG)  # as the collector would
    time.sleep(1)
    assert api.pods() == {} and api.run() is None


def test_progress_is_recorded_beside_the_reconcilers_status(api: Api, site: Site, operator: Operator) -> None:
    running_gang(api)
    api.call("POST", f"{api.core}/serviceaccounts", {"metadata": {"name": "default"}})
    pod = api.pods()["nav-1-0"]
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "nav-1-0", "uid": pod["metadata"]["uid"]}
    token = api.token("default", audiences=[names.PROGRESS_AUDIENCE], boundObjectRef=bound)
    ca = api.call("GET", f"{api.core}/configmaps/nav")["data"][names.FILE_CA]
    host = f"headway-operator.{site.api.namespace}.svc"
    report = {"attempt": 1, "number": 7, "progress": {"step": 512, "totalSteps": 4096, "percent": 12}}

    status, reply = post_report(operator.progress_port, host, ca, token, report)
    assert (status, reply["acknowledged"]) == (200, 7)
    progress = api.status()["progress"]
    assert (progress["step"], progress["attempt"], progress["number"]) == (512, 1, 7) and progress["reportedAt"]

    assert post_report(operator.progress_port, host, ca, token, report | {"number": 6})[1]["acknowledged"] == 7
    assert post_report(operator.progress_port, host, ca, token, report | {"attempt": 2, "number": 8})[0] == 409
    assert post_report(operator.progress_port, host, ca, api.token("default"), report)[0] == 401

    api.complete_pods(*GANG)
    api.wait_for_phase("Succeeded")
    assert api.status()["progress"] == progress, "the reconciler leaves it alone"
    owners = {f["manager"] for f in api.run()["metadata"]["managedFields"] if f.get("subresource") == "status"}
    assert owners == {names.MANAGER_RECONCILER, names.MANAGER_PROGRESS}


def test_pods_are_admitted_where_restricted_is_enforced(api: Api) -> None:
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    api.call("PATCH", f"/api/v1/namespaces/{api.namespace}", enforced, "application/merge-patch+json")
    rogue = {"metadata": {"name": "rogue"}, "spec": {"containers": [{"name": "a", "image": "a"}], "hostPID": True}}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        api.call("POST", f"{api.core}/pods", rogue)
    api.create_run(gpusPerNode=2)
    api.wait_for_pods(*GANG)


def test_an_edit_that_a_gang_cannot_honour_is_refused_and_others_are_observed(api: Api) -> None:
    running_gang(api, podTemplate={"affinity": {"nodeAffinity": {}}})
    with pytest.raises(AssertionError, match="nodes is fixed once the run exists"):
        api.patch_run("nav", nodes=1)
    with pytest.raises(AssertionError, match="podTemplate is fixed once the run exists"):  # its schema is open
        api.patch_run("nav", podTemplate={"affinity": {"podAffinity": {}}})
    api.patch_run("nav", failurePolicy={"maxRestarts": 7})
    generation = api.run()["metadata"]["generation"]
    wait_for(lambda: api.status()["observedGeneration"] == generation, "the edit is observed")


def test_probes_and_metrics(api: Api, operator: Operator) -> None:
    running_gang(api)
    assert operator.probe("/healthz") == (200, "ok") and operator.probe("/readyz") == (200, "ok")
    text = wait_for(
        lambda: t if 'headway_runs{phase="Running"}' in (t := operator.probe("/metrics")[1]) else "", "runs"
    )
    for name in ("headway_reconciles_total", "headway_queue_depth", "headway_reconcile_seconds_bucket"):
        assert name in text
    assert "headway_leader 1.0" in text
