# ruff: noqa: E501 - a row of a table is one line
import json
from datetime import timedelta

import pytest
from core_tests.makers import NOW, UID, at, failed, finished, make_run, pod, running, see
from headway_api import names
from headway_operator.core.observed import FORCE_AFTER, Outcome, child, observe, read_outcome
from hypothesis import given
from hypothesis import strategies as st

RUN = make_run(running(attempt=2))


def test_pods_fall_into_buckets_by_attempt_and_fate():
    seen = see(
        RUN,
        pod(0, attempt=2),
        failed(1, attempt=2),
        pod(0, attempt=1),
        failed(1, attempt=1),
    )
    assert [p.name for p in seen.of("active")] == ["nav-2-0"]
    assert [p.name for p in seen.of("failed")] == ["nav-2-1"]
    assert [p.name for p in seen.stale] == ["nav-1-0"]
    assert seen.outdated == ()
    assert seen.missing == ()


def test_finished_pods_older_than_the_last_two_attempts_are_outdated():
    seen = see(make_run(running(attempt=3)), failed(0, attempt=1), failed(0, attempt=2), pod(0, attempt=3))
    assert [p.name for p in seen.outdated] == ["nav-1-0"]


def test_pods_of_a_namesake_are_not_seen():
    foreign = pod(0, attempt=2)
    foreign["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert see(RUN, foreign).pods == ()


def test_the_present_attempt_is_never_lower_than_that_of_a_pod():
    """A status that was wiped does not make pods of a later attempt stale."""
    assert see(make_run(running(attempt=1)), pod(0, attempt=4)).attempt == 4


FATES = [
    ("runs", pod(0), "active"),
    ("is pending", pod(0, phase="Pending"), "active"),
    ("says done with exit 0", finished(0), "succeeded"),
    ("left with exit 0 and said stopped", pod(0, phase="Succeeded", exit_code=0, message='{"outcome": "stopped"}'), "failed"),
    ("left with exit 0 and said nothing", pod(0, phase="Succeeded", exit_code=0), "failed"),
    ("says done but exit 1", failed(0, message='{"outcome": "done"}'), "failed"),
    ("was evicted before it had a container", pod(0, phase="Failed", pod_reason="Evicted"), "failed"),
    ("has ended while a sidecar runs on", pod(0, phase="Running", exit_code=1), "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "raw", "fate"), FATES, ids=[f[0] for f in FATES])
def test_fate_of_a_pod_that(what, raw, fate):
    assert child(raw, NOW, {}).fate == fate


def test_only_our_container_is_looked_at():
    raw = pod(0)
    raw["status"]["containerStatuses"].insert(0, {"name": "istio", "state": {"terminated": {"exitCode": 1}}})
    assert child(raw, NOW, {}).fate == "active"


@pytest.mark.parametrize("reason", ["Evicted", "OutOfcpu", "UnexpectedAdmissionError", "NodeShutdown", "Preempting"])
def test_what_the_kubelet_does_to_a_pod_is_a_disruption(reason):
    assert child(pod(0, phase="Failed", pod_reason=reason), NOW, {}).is_disrupted


def test_a_disruption_target_is_disrupted_and_a_crash_is_not():
    assert child(pod(0, disrupted=True), NOW, {}).is_disrupted
    assert not child(failed(0), NOW, {}).is_disrupted


READY_NODE = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
LOST_NODE = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}


@pytest.mark.parametrize(
    ("nodes", "late", "unconfirmed"),
    [
        ({"worker-1": None}, 31, True),
        ({"worker-1": LOST_NODE}, 31, True),
        ({"worker-1": LOST_NODE}, 29, False),
        ({"worker-1": READY_NODE}, 3600, False),
        ({}, 3600, False),  # nobody looked: nothing is known
    ],
)
def test_a_terminating_pod_is_unconfirmed_only_on_a_node_known_to_be_gone(nodes, late, unconfirmed):
    raw = pod(0, deleting=NOW - timedelta(seconds=late))
    assert child(raw, NOW, nodes).is_unconfirmed is unconfirmed
    assert timedelta(seconds=30) == FORCE_AFTER


def test_the_schedulers_words_are_kept():
    raw = pod(0, phase="Pending", unschedulable='persistentvolumeclaim "ckpt" not found')
    assert child(raw, NOW, {}).waiting == ("Unschedulable", 'persistentvolumeclaim "ckpt" not found')


def test_the_kubelets_words_are_kept():
    raw = pod(0, phase="Pending", waiting=("ImagePullBackOff", 'Back-off pulling image "nope"'))
    assert child(raw, NOW, {}).waiting == ("ImagePullBackOff", 'Back-off pulling image "nope"')


def test_an_outcome_is_read():
    message = json.dumps(
        {"outcome": "failed", "step": 512, "checkpoint": "/c/step-000000256.a3", "error": "rank 1: NaN"}
    )
    assert read_outcome(message) == Outcome("failed", 512, 256, "rank 1: NaN")


def test_a_log_tail_gives_its_last_line():
    assert read_outcome("Traceback\n  ...\nValueError: bad\n").error == "ValueError: bad"


@given(
    st.one_of(
        st.text(),
        st.none(),
        st.integers(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["outcome", "step", "checkpoint", "error"]), inner),
        ).map(json.dumps),
    )
)  # fmt: skip
def test_whatever_a_pod_writes_is_bounded_printable_and_no_error(message):
    outcome = read_outcome(message)
    assert len(outcome.outcome) <= 32 and len(outcome.error) <= 512
    assert outcome.outcome.isprintable() and outcome.error.isprintable()
    assert 0 <= outcome.step < 10**18 and -1 <= outcome.checkpoint_step < 10**18


def test_deeply_nested_json_is_no_error():
    assert read_outcome("[" * 8000).outcome == ""


def test_a_huge_attempt_label_cannot_make_names_too_long():
    raw = pod(0)
    raw["metadata"]["labels"][names.LABEL_ATTEMPT] = "9" * 18
    assert child(raw, NOW, {}).attempt == 999_999


@given(st.permutations([pod(0, 2), failed(1, 2), pod(0, 1), failed(1, 1), finished(0, 3)]))
def test_the_order_of_children_does_not_matter(pods):
    seen = observe(uid=UID, attempt=2, nodes=2, now=NOW, pods=pods)
    assert seen == observe(uid=UID, attempt=2, nodes=2, now=NOW, pods=sorted(pods, key=lambda p: p["metadata"]["name"]))


def test_a_service_of_somebody_else_is_foreign():
    seen = see(RUN, service={"metadata": {"name": "nav"}})
    assert seen.foreign == ("Service nav",)


PREDECESSOR = {"kind": "TrainingRun", "name": "nav", "uid": "the one before", "controller": True}


@pytest.mark.parametrize(
    ("metadata", "leaves"),
    [
        ({"name": "nav", "ownerReferences": [PREDECESSOR]}, True),
        ({"name": "nav", "deletionTimestamp": "2026-01-31T12:00:00Z"}, True),
        ({"name": "nav", "ownerReferences": [PREDECESSOR | {"name": "other"}]}, False),
        ({"name": "nav", "ownerReferences": [PREDECESSOR | {"kind": "Deployment"}]}, False),
        ({"name": "nav"}, False),
    ],
)
def test_what_a_deleted_run_of_the_same_name_has_left_is_leaving_and_not_foreign(metadata, leaves):
    seen = see(RUN, config_map={"metadata": metadata})
    assert (seen.leaving, seen.foreign) == ((("ConfigMap nav",), ()) if leaves else ((), ("ConfigMap nav",)))


def test_a_terminating_pod_knows_its_deadline():
    assert child(pod(0, deleting=at(20)), NOW, {}).delete_at == at(20)
