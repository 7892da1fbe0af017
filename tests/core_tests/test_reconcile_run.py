# ruff: noqa: E501 - a row of a table is one line
"""The lifecycle as a table (one pass each), and as stories against a cluster of dicts."""

import pytest
from core_tests.fake_cluster import FakeCluster
from core_tests.makers import (
    NOW,
    at,
    condition,
    created_pods,
    failed,
    finished,
    make_run,
    pod,
    pruned,
    reconcile,
    running,
    started,
    status_after,
    text,
    true_conditions,
)
from headway_api import names
from headway_operator.core import lifecycle

SUSPENDED = [condition(names.SUSPENDED, "True", names.REASON_SUSPENDED)]
HEARD = {"step": 1, "totalSteps": 2, "percent": 50, "attempt": 1, "reportedAt": text(at(-600))}
PRUNED = [condition(names.FINISHED, "True", names.REASON_PRUNED)]
ENDED = [condition(names.FINISHED, "True", names.REASON_SUCCEEDED)]


def over(seconds_ago, **spec):
    """A run that succeeded so many seconds ago."""
    return make_run(running(conditions=ENDED, completionTime=text(at(-seconds_ago))), **spec)


# name, run, pods -> phase written (None: no status), pods created, pods deleted, attempt
TABLE = [
    ("a new run writes down its first attempt", make_run(), [], "Pending", [], [], 1),
    ("a new run that is suspended makes nothing", make_run(suspend=True), [], "Suspended", [], [], 0),
    ("a begun run makes its gang", make_run(started()), [], "Pending", ["nav-1-0", "nav-1-1"], [], 1),
    ("only missing pods are made", make_run(started()), [pod(1, phase="Pending")], "Pending", ["nav-1-0"], [], 1),
    ("a gang that runs is running", make_run(started()), [pod(0), pod(1)], "Running", [], [], 1),
    ("a crash only bumps the attempt", make_run(running()), [failed(0), pod(1)], "Restarting", [], [], 2),
    ("a lost pod is not made anew", make_run(running()), [pod(0)], "Restarting", [], [], 2),
    ("stale pods go before new ones come", make_run(started(attempt=2)), [failed(0), pod(1)], "Pending", [], ["nav-1-1"], 2),
    ("a stale pod that has just ended is left to the kubelet", make_run(started(attempt=2)), [pod(0, exit_code=1, finished=at(-14)), pod(1)], "Pending", [], ["nav-1-1"], 2),
    ("a stale pod that a sidecar keeps open is ended", make_run(started(attempt=2)), [pod(0, exit_code=1, finished=at(-15)), pod(1)], "Pending", [], ["nav-1-0", "nav-1-1"], 2),
    ("a failed run keeps the pod that tells why", make_run(running(conditions=ENDED)), [pod(0, exit_code=1, finished=at(-1)), pod(1)], None, [], ["nav-1-1"], 1),
    ("stale pods are waited for", make_run(started(attempt=2)), [pod(1, deleting=at(60))], "Pending", [], [], 2),
    ("finished pods of the last attempt stay", make_run(started(attempt=2)), [failed(0), failed(1)], "Pending", ["nav-2-0", "nav-2-1"], [], 2),
    ("older finished pods go", make_run(started(attempt=3)), [failed(0)], "Pending", ["nav-3-0", "nav-3-1"], ["nav-1-0"], 3),
    ("bad input fails the run", make_run(running()), [failed(0, exit_code=2), failed(1)], "Failed", [], [], 1),
    ("all complete is success", make_run(running()), [finished(0), finished(1)], "Succeeded", [], [], 1),
    ("all pruned is the end, and no success", make_run(running()), [pruned(0), pruned(1)], "Pruned", [], [], 1),
    ("a pruned run waits for its other nodes", make_run(running()), [pruned(0), pod(1)], "Running", [], [], 1),
    ("a pruned run makes nothing", make_run(running(conditions=PRUNED)), [], None, [], [], 1),
    ("complete while the operator was away", make_run(started()), [finished(0), finished(1)], "Succeeded", [], [], 1),
    ("complete is complete, also when suspended since", make_run(running(), suspend=True), [finished(0), finished(1)], "Succeeded", [], [], 1),
    ("suspension ends pods first", make_run(running(), suspend=True), [pod(0), pod(1)], "Suspended", [], ["nav-1-0", "nav-1-1"], 1),
    ("suspension ends pods of any attempt", make_run(started(attempt=2), suspend=True), [pod(0), pod(0, attempt=2)], "Suspended", [], ["nav-1-0", "nav-2-0"], 2),
    ("exit 0 under suspension is no success", make_run(running(), suspend=True), [pod(0, phase="Succeeded", exit_code=0), pod(1, phase="Succeeded", exit_code=0)], "Suspended", [], [], 1),
    ("a resumed run writes down a new attempt", make_run(started(conditions=SUSPENDED)), [], "Pending", [], [], 2),
    ("a finished run makes nothing", over(10), [], None, [], [], 1),
    ("a finished run leaves nothing running", over(10), [pod(0), finished(1)], None, [], ["nav-1-0"], 1),
    ("finished pods stay without a TTL", over(10**6), [finished(0), finished(1)], None, [], [], 1),
    ("finished pods stay until the TTL", over(59, ttlSecondsAfterFinished=60), [finished(0)], None, [], [], 1),
    ("finished pods go after the TTL", over(60, ttlSecondsAfterFinished=60), [finished(0), finished(1)], None, [], ["nav-1-0", "nav-1-1"], 1),
    ("a deadline that is over fails the run", make_run(running(), activeDeadlineSeconds=600), [pod(0), pod(1)], "Failed", [], [], 1),
    ("a deadline that is not over does not", make_run(running(), activeDeadlineSeconds=601), [pod(0), pod(1)], "Running", [], [], 1),
    ("a gang that was never heard of is not restarted", make_run(running(), stallSeconds=300), [pod(0), pod(1)], "Running", [], [], 1),
    ("a hung gang is restarted", make_run(running(progress=HEARD), stallSeconds=300), [pod(0), pod(1)], "Restarting", [], [], 2),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "run", "pods", "phase", "created", "deleted", "attempt"), TABLE, ids=[row[0] for row in TABLE]
)
def test_one_pass(what, run, pods, phase, created, deleted, attempt):
    plan = reconcile(run, *pods)
    assert (plan.status.phase if plan.status else None) == phase
    assert created_pods(plan) == created
    assert [d.name for d in plan.delete] == deleted
    assert status_after(run, plan).attempt == attempt


def test_a_run_that_is_being_deleted_is_left_alone():
    run = make_run(running())
    run = run.model_copy(update={"metadata": run.metadata.model_copy(update={"deletion_timestamp": text(NOW)})})
    assert reconcile(run, failed(0)).is_empty


def test_a_claim_for_one_node_is_refused_for_two():
    plan = reconcile(make_run(), claim={"spec": {"accessModes": ["ReadWriteOnce"]}})
    valid = plan.status.condition(names.SPEC_VALID)
    assert (valid.status, valid.reason) == ("False", "InvalidSpec")
    assert "claim ckpt is ReadWriteOnce, but nodes is 2: use a ReadWriteMany claim" in valid.message
    assert not plan.create


def test_a_claim_for_many_nodes_is_taken():
    plan = reconcile(make_run(), claim={"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}})
    assert plan.status.phase == "Pending"


WAITING = [
    (pod(0, phase="Pending", unschedulable='persistentvolumeclaim "ckpt" not found'), "Unschedulable", 'persistentvolumeclaim "ckpt" not found'),
    (pod(0, phase="Pending", unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu."), "Unschedulable", "Insufficient nvidia.com/gpu"),
    (pod(0, phase="Pending", waiting=("ImagePullBackOff", 'Back-off pulling image "nope"')), "ContainerWaiting", 'ImagePullBackOff: Back-off pulling image "nope"'),
    (pod(0, phase="Pending", waiting=("CreateContainerConfigError", 'secret "wandb" not found')), "ContainerWaiting", 'secret "wandb" not found'),
    (pod(0, phase="Pending", waiting=("InvalidImageName", "couldn't parse image")), "ContainerWaiting", "InvalidImageName"),
    (pod(0, phase="Pending", waiting=("ContainerCreating", "")), "Starting", "1 of 2 pods run"),
]  # fmt: skip


@pytest.mark.parametrize(("waiting", "reason", "words"), WAITING)
def test_conditions_carry_the_reason_why_a_pod_waits(waiting, reason, words):
    status = reconcile(make_run(started()), waiting, pod(1)).status
    reconciling = status.condition(names.RECONCILING)
    assert (reconciling.status, reconciling.reason) == ("True", reason)
    assert words in reconciling.message
    assert words in status.condition(names.READY).message


def test_a_refused_pod_is_told_once_and_tried_again():
    run = make_run(started())
    plan = lifecycle.refused(run, "pods nav-1-0 is forbidden: exceeded quota", NOW)
    assert plan.status.condition(names.RECONCILING).reason == "PodRefused"
    assert plan.requeue_after == 30 and len(plan.events) == 1
    again = lifecycle.refused(
        run.model_copy(update={"status": plan.status}), "pods nav-1-0 is forbidden: exceeded quota", at(30)
    )
    assert again.is_empty and again.requeue_after == 30


def test_a_namesake_service_is_not_taken_over():
    plan = reconcile(make_run(started()), service={"metadata": {"name": "nav", "uid": "x"}})
    assert not plan.create and not plan.apply
    assert "Service nav exists already" in plan.status.condition(names.RECONCILING).message


def test_a_gang_that_was_taken_back_is_not_made_again_while_its_pods_end():
    run = make_run(started(restarts={"notBefore": text(at(20))}, phase="Pending"))
    plan = reconcile(run, pod(0, deleting=at(60)))
    assert plan.is_empty and plan.requeue_after == 20
    assert created_pods(reconcile(run, now=at(20))) == ["nav-1-0", "nav-1-1"]


def test_the_previous_runs_service_is_waited_for_without_a_warning():
    metadata = {"name": "nav", "uid": "x", "deletionTimestamp": text(NOW)}
    plan = reconcile(make_run(started()), service={"metadata": metadata})
    assert not plan.create and not plan.apply and not plan.events
    assert plan.requeue_after == 3
    reconciling = plan.status.condition(names.RECONCILING)
    assert reconciling.reason == "Starting"
    assert reconciling.message == "waiting for the previous run's Service nav to go"


def test_the_backoff_is_waited_for():
    run = make_run(started(attempt=2, restarts={"counted": 1, "notBefore": text(at(10))}))
    plan = reconcile(run, failed(0), failed(1))
    assert not plan.create and plan.requeue_after == 10
    assert created_pods(reconcile(run, failed(0), failed(1), now=at(10))) == ["nav-2-0", "nav-2-1"]


def test_new_certificates_reach_a_gang_that_runs():
    run = make_run(running())
    plan = reconcile(
        run,
        pod(0),
        pod(1),
        config_map={
            "metadata": {
                "name": "nav",
                "uid": "cm",
                "ownerReferences": [{"uid": run.metadata.uid, "controller": True}],
            },
            "data": {"ca.crt": "OLD"},
        },
    )
    (applied,) = plan.apply
    assert applied["data"]["ca.crt"] == "PEM" and applied["metadata"]["uid"] == "cm"


def test_a_pod_that_cannot_confirm_its_end_is_forced():
    stuck = pod(1, deleting=at(-31), node_name="worker-9")
    run = make_run(started(attempt=2))
    (deletion,) = reconcile(run, stuck, cluster_nodes={"worker-9": None}).delete
    assert deletion.force and deletion.uid == "uid-nav-1-1"
    assert reconcile(run, stuck, cluster_nodes={}).delete == ()


def test_a_pod_that_is_overdue_on_a_node_that_is_well_is_waited_for_without_haste():
    plan = reconcile(make_run(started(attempt=2)), pod(1, deleting=at(-3600)))
    assert plan.requeue_after == 10 and not plan.delete
    assert "waiting for pods of an earlier attempt" in plan.status.condition("Reconciling").message


def test_a_terminating_pod_is_looked_at_again_when_it_could_be_forced():
    assert reconcile(make_run(started(attempt=2)), pod(1, deleting=at(20))).requeue_after == 50


# --- stories ------------------------------------------------------------------------------------------------------


def gang(**spec):
    """A cluster whose gang runs."""
    cluster = FakeCluster.of(**spec)
    cluster.settle()
    cluster.start_pods()
    cluster.settle()
    assert cluster.status["phase"] == "Running"
    return cluster


def finish(cluster):
    cluster.start_pods()
    cluster.settle()
    for name in cluster.running():
        cluster.complete_pod(name)
    cluster.settle()


def test_a_run_from_creation_to_success():
    cluster = gang()
    finish(cluster)
    assert true_conditions(cluster.run.status) == {"SpecValid", "Ready", "Succeeded", "Finished"}
    assert cluster.made == ["nav-1-0", "nav-1-1"]
    assert cluster.status["completionTime"] == text(NOW)


def test_a_crash_restarts_the_whole_gang_once():
    cluster = gang()
    cluster.end_pod("nav-1-1", 137)
    cluster.pass_time(5)
    cluster.settle()
    assert cluster.running() == ["nav-1-0"] and "deletionTimestamp" in cluster.pods["nav-1-0"]["metadata"]
    cluster.end_terminating()
    cluster.pass_time(10)
    cluster.settle()
    assert cluster.running() == ["nav-2-0", "nav-2-1"]
    assert cluster.status["phase"] == "Restarting" and "exit code 137" in cluster.status["restarts"]["reason"]
    finish(cluster)
    assert cluster.status["phase"] == "Succeeded"
    assert (cluster.status["restarts"]["counted"], cluster.status["restarts"]["uncounted"]) == (1, 0)


def test_suspend_and_resume():
    cluster = gang()
    cluster.document["spec"]["suspend"] = True
    cluster.settle()
    assert cluster.status["conditions"] and cluster.run.status.condition("Reconciling").reason == "Suspending"
    cluster.end_pod("nav-1-0", 75, '{"outcome": "stopped", "step": 10}')
    cluster.end_pod("nav-1-1", 0, '{"outcome": "stopped", "step": 10}')
    cluster.settle()
    assert cluster.run.status.is_true("Suspended") and not cluster.run.status.is_true("Finished")
    cluster.document["spec"]["suspend"] = False
    cluster.pass_time(3600)
    cluster.settle()
    assert cluster.running() == ["nav-2-0", "nav-2-1"]
    assert cluster.status["activeSince"] == text(at(3600)) and cluster.status["startTime"] == text(NOW)
    assert cluster.status["restarts"]["counted"] == cluster.status["restarts"]["uncounted"] == 0


def test_resumed_before_its_pods_have_ended():
    cluster = gang()
    cluster.document["spec"]["suspend"] = True
    cluster.settle()
    cluster.document["spec"]["suspend"] = False
    cluster.settle()
    assert cluster.made == ["nav-1-0", "nav-1-1"], "old pods are gone first"
    cluster.end_terminating()
    cluster.settle()
    assert cluster.running() == ["nav-2-0", "nav-2-1"]
    assert cluster.status["restarts"]["uncounted"] == 0


def test_an_attempt_number_is_never_used_twice_after_suspension():
    cluster = FakeCluster.of()
    cluster.settle()
    cluster.document["spec"]["suspend"] = True
    cluster.settle()
    assert cluster.running() == []
    cluster.document["spec"]["suspend"] = False
    cluster.settle()
    assert cluster.running() == ["nav-2-0", "nav-2-1"]


def test_a_crash_loop_ends_at_max_restarts():
    cluster = gang(nodes=1, failurePolicy={"maxRestarts": 2, "backoffSeconds": 1})
    for attempt in (1, 2, 3):
        cluster.start_pods()
        cluster.settle()
        cluster.end_pod(f"nav-{attempt}-0", 1, "ValueError: no")
        cluster.settle()
        cluster.pass_time(300)
        cluster.settle()
    assert cluster.run.status.condition("Failed").reason == "MaxRestartsExceeded"
    assert "ValueError: no" in cluster.run.status.condition("Failed").message
    assert true_conditions(cluster.run.status) == {"SpecValid", "Stalled", "Failed", "Finished"}
    assert cluster.made == ["nav-1-0", "nav-2-0", "nav-3-0"]


def test_a_failed_run_leaves_no_pod_running():
    cluster = gang(activeDeadlineSeconds=60)
    cluster.pass_time(60)
    cluster.settle()
    assert cluster.run.status.condition("Failed").reason == "DeadlineExceeded"
    assert all("deletionTimestamp" in cluster.pods[name]["metadata"] for name in cluster.running())


def test_time_spent_suspended_does_not_count_towards_the_deadline():
    cluster = gang(activeDeadlineSeconds=60)
    cluster.document["spec"]["suspend"] = True
    cluster.settle()
    cluster.end_terminating()
    cluster.settle()
    cluster.pass_time(3600)
    cluster.document["spec"]["suspend"] = False
    cluster.settle()
    assert not cluster.run.status.is_true("Finished")


def test_an_edit_of_the_spec_is_observed():
    cluster = gang()
    cluster.document["metadata"]["generation"] = 2
    cluster.document["spec"]["failurePolicy"]["maxRestarts"] = 9
    cluster.settle()
    assert cluster.status["observedGeneration"] == 2


def test_an_edit_after_the_end_is_observed_and_the_end_stays():
    run = over(10)
    run = run.model_copy(update={"metadata": run.metadata.model_copy(update={"generation": 2})})
    status = reconcile(run, finished(0), finished(1)).status
    assert (status.observed_generation, status.phase) == (2, run.status.phase)
    assert [c.observed_generation for c in status.conditions] == [2]
    assert true_conditions(status) == {names.FINISHED}


def test_a_finished_run_stays_finished_though_its_spec_cannot_be_read_any_more():
    assert lifecycle.reject(over(10), "spec.nodes: found 65: give a value of at most 64", NOW).is_empty


def test_what_a_newer_operator_has_written_to_the_status_is_no_error():
    raw = {"apiVersion": names.API_VERSION, "kind": names.TRAINING_RUN, **make_run(running(attempt=3)).to_wire()}
    raw["status"] |= {"novelty": {"a": 1}, "restarts": {"counted": 2, "novelty": 1}}
    raw["status"]["conditions"][0]["novelty"] = "x"
    raw["status"]["progress"] = {"step": 1, "totalSteps": 2, "percent": 50, "novelty": 1}
    run, problem = lifecycle.read_run(raw)
    assert problem == "" and run.spec.nodes == 2
    assert (run.status.attempt, run.status.restarts.counted, run.status.progress.step) == (3, 2, 1)
    raw["spec"]["novelty"] = 1
    run, problem = lifecycle.read_run(raw)
    assert "spec.novelty: is not a known field" in problem and run.status.attempt == 3


def test_a_network_that_lets_no_report_through_is_told_of_once_and_costs_no_restart():
    run = make_run(running(), stallSeconds=300)
    plan = reconcile(run, pod(0), pod(1))
    (event,) = plan.events
    assert (event.type, event.reason) == ("Warning", "NoReports")
    assert "can they reach port 8443 of headway-operator.headway-system.svc?" in event.message
    ready = plan.status.condition(names.READY)
    assert (ready.status, ready.reason, ready.message) == ("True", "NoReports", event.message)
    told = run.model_copy(update={"status": plan.status})
    assert reconcile(told, pod(0), pod(1)).status is None
    heard = told.with_status(progress=make_run(running(progress=HEARD | {"reportedAt": text(NOW)})).status.progress)
    assert reconcile(heard, pod(0), pod(1)).status.condition(names.READY).reason == "Running"


def test_each_change_is_told_by_one_event():
    cluster, events = FakeCluster.of(nodes=1), []
    for action in (None, cluster.start_pods, lambda: cluster.complete_pod("nav-1-0")):
        if action:
            action()
        for _ in range(5):
            events += [event.reason for event in cluster.reconcile().events]
    assert events == ["Starting", "Running", "Succeeded"]
