"""What must hold whatever happens: random histories of a cluster, with the operator dying between any two writes."""

import copy

import pytest
from core_tests.fake_cluster import CrashError, FakeCluster
from core_tests.makers import CONTEXT, NOW, at, failed, finished, make_run, pod, reconcile, running, see, started
from headway_operator.core.reconcile_run import reconcile_run
from hypothesis import given, settings
from hypothesis import strategies as st

ACTIONS = st.sampled_from(
    [
        *("start", "crash pod", "complete pod", "remove pod", "disrupt pod", "stop pod", "confirm", "suspend"),
        *("resume", "wait", "wait long", "reconcile", "reconcile", "operator dies"),
    ]
)
HISTORIES = st.lists(st.tuples(ACTIONS, st.integers(0, 3)), max_size=25)


def act(cluster, action, which):
    """One thing that happens in a cluster."""
    runs = [name for name in cluster.running() if cluster.pods[name]["status"]["phase"] == "Running"]
    name = runs[which % len(runs)] if runs else None
    if action == "start":
        cluster.start_pods()
    elif action == "crash pod" and name:
        cluster.end_pod(name, (1, 2, 137, 74)[which])
    elif action == "complete pod" and name:
        cluster.complete_pod(name)
    elif action == "stop pod" and name:
        cluster.end_pod(name, 75, '{"outcome": "stopped"}')
    elif action == "remove pod" and name:
        cluster.remove_pod(name)
    elif action == "disrupt pod" and name:
        cluster.pods[name]["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True"})
    elif action == "confirm":
        cluster.end_terminating()
    elif action in ("suspend", "resume"):
        cluster.document["spec"]["suspend"] = action == "suspend"
    elif action.startswith("wait"):
        cluster.pass_time(1 if action == "wait" else 400)
    elif action == "operator dies":
        cluster.crash_after = cluster.writes + which
    else:
        reconcile_once(cluster)


def reconcile_once(cluster):
    try:
        plan = cluster.reconcile()
    except CrashError:
        return
    written = {m["metadata"]["name"] for m in (*plan.create, *plan.apply)}
    assert not written & {d.name for d in plan.delete}, "a Plan both makes and deletes one name"


def live_attempts(cluster):
    return {
        int(p["metadata"]["labels"]["headway.dev/attempt"])
        for p in cluster.pods.values()
        if p["status"]["phase"] in ("Pending", "Running")
    }


@settings(max_examples=100)
@given(HISTORIES)
def test_in_any_history_one_gang_at_a_time_and_attempts_never_decrease(history):
    cluster = FakeCluster.of(failurePolicy={"maxRestarts": 3, "backoffSeconds": 1})
    for action, which in history:
        act(cluster, action, which)
        assert len(live_attempts(cluster)) <= 1, "two attempts have pods that may run"
        assert cluster.attempts == sorted(cluster.attempts)
    cluster.crash_after = None
    cluster.settle()
    assert cluster.attempts == sorted(cluster.attempts)


@settings(max_examples=60)
@given(HISTORIES)
def test_after_any_history_the_run_comes_to_its_end_and_leaves_nothing_running(history):
    cluster = FakeCluster.of(failurePolicy={"maxRestarts": 3, "backoffSeconds": 1})
    for action, which in history:
        act(cluster, action, which)
    cluster.crash_after, cluster.document["spec"]["suspend"] = None, False
    for _ in range(6):  # from now on all goes well
        cluster.settle()
        cluster.end_terminating()
        cluster.pass_time(400)
        cluster.settle()
        cluster.start_pods()
        cluster.settle()
        for name in cluster.running():
            if "deletionTimestamp" not in cluster.pods[name]["metadata"]:
                cluster.complete_pod(name)
    cluster.settle()
    assert cluster.run.status.is_true("Finished")
    assert cluster.running() == []


STORY = ["settle", "start", "crash pod", "wait long", "settle", "confirm", "wait long", "settle", "start"]


def tell(crash_after):
    """A run that crashes once and then succeeds, with the operator dying at one of its writes."""
    cluster = FakeCluster.of(failurePolicy={"maxRestarts": 3, "backoffSeconds": 1})
    cluster.crash_after = crash_after
    for action in STORY:
        cluster.settle() if action == "settle" else act(cluster, action, 0)
    cluster.settle()
    for name in cluster.running():
        cluster.complete_pod(name)
    cluster.settle()
    return cluster


def test_the_story_has_writes_to_die_at():
    assert tell(None).writes == 14


@pytest.mark.parametrize("crash_after", range(14))
def test_an_operator_that_dies_at_any_write_converges_to_the_same_end(crash_after):
    told, reference = tell(crash_after), tell(None)
    assert told.crash_after is None, "it has died"
    assert told.made == reference.made == ["nav-1-0", "nav-1-1", "nav-2-0", "nav-2-1"]
    assert sorted(told.pods) == sorted(reference.pods)
    assert told.status == reference.status
    assert told.status["phase"] == "Succeeded"


RUNS = st.sampled_from(
    [
        make_run(),
        make_run(started()),
        make_run(running()),
        make_run(running(), suspend=True),
        make_run(started(attempt=2)),
        make_run(running(attempt=2), ttlSecondsAfterFinished=0),
    ]
)
PODS = st.lists(
    st.sampled_from(
        [
            *(make(node, attempt) for make in (pod, failed, finished) for node in (0, 1) for attempt in (1, 2)),
            pod(0, 1, deleting=at(10)),
            pod(1, 2, phase="Pending"),
        ]
    ),
    max_size=4,
    unique_by=lambda p: p["metadata"]["name"],
)


@settings(max_examples=60)
@given(RUNS, PODS, st.randoms())
def test_the_order_of_children_does_not_matter(run, pods, random):
    shuffled = copy.copy(pods)
    random.shuffle(shuffled)
    assert reconcile(run, *pods) == reconcile(run, *shuffled)


@settings(max_examples=60)
@given(RUNS, PODS)
def test_the_same_input_gives_the_same_plan_and_is_not_changed(run, pods):
    seen = see(run, *pods)
    before = copy.deepcopy(seen)
    assert reconcile_run(run, seen, CONTEXT, NOW) == reconcile_run(run, seen, CONTEXT, NOW)
    assert seen == before


@settings(max_examples=60)
@given(RUNS, PODS)
def test_progress_is_never_the_reconcilers_to_write(run, pods):
    plan = reconcile(run, *pods)
    if plan.status is not None:
        assert plan.status.progress == (run.status.progress if run.status else None)
