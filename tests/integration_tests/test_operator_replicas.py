"""Two replicas and one Lease: killed, stopped and continued, ended in order; and what happens while nobody watches."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from headway_api import names
from integration_tests.control_plane import ControlPlane
from integration_tests.operator_harness import LEASE_SECONDS, Api, Operator, Site, make_site, wait_for
from integration_tests.progress_client import post_report
from kubernetes import client

pytestmark = pytest.mark.integration

GANG = ("nav-1-0", "nav-1-1")
NEXT_GANG = ("nav-2-0", "nav-2-1")


@pytest.fixture
def site(control_plane: ControlPlane, api_client: client.ApiClient, namespace: str, tmp_path: Path) -> Iterator[Site]:
    """A namespace with rights and Secret; operators of the tests serve this namespace alone."""
    place = make_site(control_plane, api_client, namespace, tmp_path)
    yield place
    place.stop()


@pytest.fixture
def api(site: Site) -> Api:
    return site.api


def wait_until_leading(api: Api, operator: Operator, seconds: float = 20.0) -> None:
    wait_for(lambda: api.lease_holder().startswith(operator.name), f"{operator.name} leads", seconds)


def two_replicas(site: Site) -> tuple[Operator, Operator]:
    first = site.start("operator-a")
    wait_until_leading(site.api, first)
    return first, site.start("operator-b")


def running_gang(api: Api) -> None:
    api.create_run(failurePolicy={"maxRestarts": 3, "backoffSeconds": 0})
    api.wait_for_pods(*GANG)
    for pod in GANG:
        api.bind(pod, "worker-1")
    api.start_pods(*GANG)
    api.wait_for_phase("Running")


def test_a_killed_leader_is_followed_and_the_run_goes_on(site: Site, api: Api) -> None:
    first, second = two_replicas(site)
    running_gang(api)
    uids = {name: pod["metadata"]["uid"] for name, pod in api.pods().items()}
    first.signal(signal.SIGKILL)
    api.complete_pods("nav-1-0")
    wait_until_leading(api, second)
    api.complete_pods("nav-1-1")
    api.wait_for_phase("Succeeded")
    assert {name: pod["metadata"]["uid"] for name, pod in api.pods().items()} == uids, "no pod was made twice"
    assert api.status()["attempt"] == 1


def test_a_stopped_leader_that_goes_on_ends_without_a_write(site: Site, api: Api) -> None:
    first, second = two_replicas(site)
    running_gang(api)
    first.signal(signal.SIGSTOP)
    wait_until_leading(api, second)
    api.end_pod("nav-1-1", 1)
    wait_for(lambda: api.status()["attempt"] == 2, "the second replica restarts the gang")
    api.confirm_end("nav-1-0")
    api.wait_for_pods("nav-1-1", *NEXT_GANG)
    first.signal(signal.SIGCONT)
    assert first.process.wait(timeout=20) == 1
    assert "was not renewed in time" in first.log.read_text() or "is lost" in first.log.read_text()
    api.start_pods(*NEXT_GANG)
    api.complete_pods(*NEXT_GANG)
    api.wait_for_phase("Succeeded")
    assert set(api.pods()) == {"nav-1-1", *NEXT_GANG}
    assert (api.status()["attempt"], api.status()["restarts"]["counted"]) == (2, 1)


def test_a_leader_that_ends_in_order_lets_the_lease_go(site: Site, api: Api) -> None:
    first, second = two_replicas(site)
    wait_for(lambda: second.probe("/healthz")[0] == 200, "the follower is up")
    began = time.monotonic()
    first.signal(signal.SIGTERM)
    assert first.process.wait(timeout=20) == 0
    wait_until_leading(api, second)
    assert time.monotonic() - began < LEASE_SECONDS, "it did not wait for the lease to run out"


def test_a_follower_ends_in_order_too(site: Site, api: Api) -> None:
    _, second = two_replicas(site)
    wait_for(lambda: second.probe("/readyz")[0] == 200, "the follower serves")
    second.signal(signal.SIGTERM)
    assert second.process.wait(timeout=20) == 0
    assert api.lease_holder().startswith("operator-a")


def test_what_happens_while_nobody_watches_is_found_afterwards(site: Site, api: Api) -> None:
    """kopf forgets deletions in the gap of a watch: a pod is gone, and a whole run is made and another deleted."""
    first = site.start("operator-a")
    running_gang(api)
    api.create_run("old", nodes=1)
    wait_for(lambda: "old-1-0" in api.pods(), "the other run's pod")
    first.signal(signal.SIGKILL)
    api.confirm_end("nav-1-1", "old-1-0")
    api.call("DELETE", f"{api.runs}/old")
    api.create_run("new", nodes=1)
    site.start("operator-b")
    wait_for(lambda: api.status()["attempt"] == 2, "the loss is found")
    assert api.status()["restarts"]["reason"].startswith("Lost")
    wait_for(lambda: "new-1-0" in api.pods(), "the new run's pod")
    assert "old-1-0" not in api.pods()


def test_a_follower_takes_progress_with_the_leaders_certificate(site: Site, api: Api) -> None:
    _, second = two_replicas(site)
    running_gang(api)
    wait_for(lambda: second.probe("/readyz")[0] == 200, "the follower serves")
    assert "headway_leader 0.0" in second.probe("/metrics")[1]
    api.call("POST", f"{api.core}/serviceaccounts", {"metadata": {"name": "default"}})
    pod = {"kind": "Pod", "apiVersion": "v1", "name": "nav-1-0", "uid": api.pods()["nav-1-0"]["metadata"]["uid"]}
    token = api.token("default", audiences=[names.PROGRESS_AUDIENCE], boundObjectRef=pod)
    ca = api.call("GET", f"{api.core}/configmaps/nav")["data"][names.FILE_CA]
    report = {"attempt": 1, "number": 1, "progress": {"step": 1, "totalSteps": 2, "percent": 50}}
    answer = post_report(second.progress_port, f"headway-operator.{api.namespace}.svc", ca, token, report)
    assert answer[0] == 200 and api.status()["progress"]["step"] == 1


def test_without_the_charts_secret_the_operator_says_so(site: Site, api: Api) -> None:
    operator = site.start("operator-a", secret_name="nobody-made-it")
    wait_for(lambda: "nobody-made-it" in operator.log.read_text(), "the message")
    assert operator.probe("/readyz")[0] == 503


def test_settings_that_cannot_be_used_end_it_with_exit_code_2(site: Site) -> None:
    operator = site.start("operator-a", workers="many")
    assert operator.process.wait(timeout=20) == 2
    assert operator.log.read_text().strip() == "headway-operator: HEADWAY_WORKERS: found 'many': give a whole number"
