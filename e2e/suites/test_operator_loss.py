"""The operator is killed, stopped, away: the runs' state afterwards is the one they would have had with it."""

from __future__ import annotations

import contextlib
import time

import kindnodes
import pytest
from harness import SYSTEM, Cluster, wait_until
from kubernetes.client import V1Pod
from runs import endless_run, impostor_run

pytestmark = pytest.mark.disruptive
DEPLOYMENT = "headway-operator"


def holder(cluster: Cluster) -> str:
    """Return who holds the Lease: a process, named by its pod and a suffix of its own."""
    done = cluster.kubectl("get", "lease", DEPLOYMENT, "-n", SYSTEM, "-o", "jsonpath={.spec.holderIdentity}")
    return done.stdout


def replicas(cluster: Cluster) -> list[V1Pod]:
    return cluster.core.list_namespaced_pod(SYSTEM, label_selector="app.kubernetes.io/component=operator").items


def leader(cluster: Cluster) -> V1Pod:
    """Return the pod that holds the Lease and is alive."""

    def probe() -> V1Pod | None:
        name = holder(cluster).split("_")[0]
        alive = [pod for pod in replicas(cluster) if pod.metadata.deletion_timestamp is None]
        return next((pod for pod in alive if pod.metadata.name == name), None)

    return wait_until("an operator leads", probe, 90)


def await_another(cluster: Cluster, old: V1Pod) -> None:
    wait_until("another leader", lambda: holder(cluster).split("_")[0] not in ("", old.metadata.name), 60)


def restarts_of(cluster: Cluster, pod: V1Pod) -> int:
    return cluster.core.read_namespaced_pod(pod.metadata.name, SYSTEM).status.container_statuses[0].restart_count


def uids(pods: list[V1Pod]) -> set[str]:
    return {pod.metadata.uid for pod in pods}


@pytest.fixture(autouse=True)
def _two_replicas_again(cluster: Cluster):
    yield
    cluster.kubectl("scale", f"deployment/{DEPLOYMENT}", "-n", SYSTEM, "--replicas=2")
    cluster.kubectl("rollout", "status", f"deployment/{DEPLOYMENT}", "-n", SYSTEM, "--timeout=180s")


def test_when_the_leader_is_killed_the_other_replica_goes_on_and_makes_no_pod_twice(team):
    name = team.apply(endless_run("led"))
    before = team.await_running(name, 1)
    step = team.await_step(name, beyond=0)["step"]
    old = leader(team.cluster)

    team.kubectl("delete", "pod", old.metadata.name, "-n", SYSTEM, "--grace-period=0", "--force")
    late = team.apply(impostor_run("made-meanwhile", nodes=2))

    await_another(team.cluster, old)
    assert len(team.await_running(late, 2)) == len(team.pods(late)) == 2
    team.await_step(name, beyond=step)
    assert uids(team.pods(name)) == uids(before)
    status = team.status(name)
    assert (status["attempt"], status["restarts"]["counted"], status["restarts"]["uncounted"]) == (1, 0, 0)


@pytest.mark.kind
def test_a_leader_stopped_for_a_minute_and_continued_changes_nothing_any_more(team):
    cluster = team.cluster
    name = team.apply(endless_run("watched"))
    paused = team.apply(impostor_run("paused-meanwhile", nodes=2))
    team.await_running(name, 1)
    team.await_running(paused, 2)
    old = leader(cluster)
    restarts = restarts_of(cluster, old)

    kindnodes.signal(old, "STOP")
    stopped_at = time.monotonic()
    await_another(cluster, old)
    team.patch(paused, {"suspend": True})
    team.await_condition(paused, "Suspended", 60)
    fresh = team.apply(impostor_run("new-meanwhile", nodes=2))
    made = team.await_running(fresh, 2)
    time.sleep(max(0.0, 60 - (time.monotonic() - stopped_at)))
    before = {run: team.run(run) for run in (paused, fresh)}
    with contextlib.suppress(AssertionError):  # the kubelet's probe may have ended it already
        kindnodes.signal(old, "CONT")
    wait_until("the old leader's process has ended", lambda: restarts_of(cluster, old) > restarts, 90)

    time.sleep(20)  # longer than a resync: a stale write would be there by now
    for run, was in before.items():
        now = team.run(run)
        assert now["status"]["conditions"] == was["status"]["conditions"]
        assert now["status"]["attempt"] == was["status"]["attempt"] == 1
    assert [pod for pod in team.pods(paused) if pod.status.phase == "Running"] == []
    assert uids(team.pods(fresh)) == uids(made)
    team.patch(paused, {"suspend": False})
    assert len(team.await_running(paused, 2)) == 2
    assert team.status(name)["attempt"] == 1


def test_an_operator_away_for_three_minutes_takes_nothing_for_a_stall(team):
    cluster = team.cluster
    name = team.apply(endless_run("unattended", stallSeconds=20))
    before = team.await_running(name, 1)
    step = team.await_step(name, beyond=0)["step"]

    cluster.kubectl("scale", f"deployment/{DEPLOYMENT}", "-n", SYSTEM, "--replicas=0")
    wait_until("no operator left", lambda: replicas(cluster) == [], 90)
    gone_at = time.monotonic()
    saved = len(team.metrics(name)) if cluster.shared else 0
    time.sleep(180 - (time.monotonic() - gone_at))
    if cluster.shared:
        assert len(team.metrics(name)) > saved, "the run stood still without the operator"
    cluster.kubectl("scale", f"deployment/{DEPLOYMENT}", "-n", SYSTEM, "--replicas=2")

    leader(cluster)
    later = team.await_step(name, beyond=step)
    time.sleep(20)  # longer than a resync
    assert uids(team.pods(name)) == uids(before)
    status = team.status(name)
    assert (status["attempt"], status["restarts"]["counted"], status["restarts"]["uncounted"]) == (1, 0, 0)
    assert later["attempt"] == 1
    assert team.condition(name, "Ready")["status"] == "True"
