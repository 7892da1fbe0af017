"""One reconciliation against a fake store: what is read, what is written and in which order."""

import asyncio

import pytest
from core_tests.makers import CONTEXT, NOW, UID, at, condition, failed, make_run, pod, running, started, text
from headway_api import names
from headway_operator.shell.cluster import ApiError, Key, LeavingError
from headway_operator.shell.execute import CONFLICT_RETRY_S, reconcile
from shell_tests.fakes import FakeStore

KEY = Key("team", "nav")


def document(run):
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.TRAINING_RUN,
        "metadata": run.metadata.to_wire(),
        "spec": run.spec.to_wire(),
        "status": run.status.to_wire() if run.status else None,
    }


def store(run, *pods):
    raw = document(run)
    raw = {key: value for key, value in raw.items() if value is not None}
    return FakeStore(raw, *({"kind": "Pod", **p} for p in pods))


def step(fake, now=NOW):
    return asyncio.run(reconcile(fake, KEY, lambda: CONTEXT, lambda: now))


def status(fake):
    return fake.objects[names.TRAINING_RUN, "team", "nav"]["status"]


def test_a_run_that_is_gone_is_nothing_to_do():
    fake = FakeStore()
    assert step(fake) is None and fake.writes() == []


def test_a_run_that_is_being_deleted_is_left_alone():
    run = make_run()
    raw = document(run)
    raw["metadata"]["deletionTimestamp"] = text(NOW)
    raw.pop("status")
    fake = FakeStore(raw)
    assert step(fake) is None and fake.writes() == []


def test_the_service_and_the_spec_are_there_before_the_pods_and_the_status_comes_after_them_and_events_last():
    fake = store(make_run(started()))
    step(fake)
    verbs = [what for _, what in fake.writes()]
    assert verbs[:2] == ["Service/nav", "ConfigMap/nav"]
    assert verbs[2:4] == ["Pod/nav-1-0", "Pod/nav-1-1"]
    assert verbs[4] == f"nav by {names.MANAGER_RECONCILER}"


def test_a_config_map_that_has_changed_is_written_before_the_pods_that_read_it():
    fake = store(make_run(started(attempt=2)))
    owner = {"uid": UID, "controller": True, "kind": names.TRAINING_RUN, "name": "nav"}
    old = {"name": "nav", "namespace": "team", "uid": "cm", "ownerReferences": [owner]}
    fake.put({"kind": "ConfigMap", "metadata": old, "data": {"ca.crt": "that of last month"}})
    step(fake)
    writes = [call for call in fake.writes() if call[1] == "ConfigMap/nav" or call[1].startswith("Pod/")]
    assert writes == [("apply", "ConfigMap/nav"), ("create", "Pod/nav-2-0"), ("create", "Pod/nav-2-1")]


def test_an_event_is_posted_only_when_the_status_is_written():
    run = make_run(running())
    fake = store(run, failed(0), failed(1))
    real = fake.apply_status

    async def conflict(key, part, **more):
        fake.objects[names.TRAINING_RUN, "team", "nav"]["metadata"]["resourceVersion"] = "8"
        await real(key, part, **more)

    fake.apply_status = conflict
    assert step(fake) == CONFLICT_RETRY_S
    assert not any(what.startswith("Event") for _, what in fake.calls)
    fake.apply_status = real
    step(fake)
    assert any(what.startswith("Event") for _, what in fake.calls)
    assert status(fake)["attempt"] == 2


def test_progress_is_not_in_what_the_reconciler_writes():
    progress = {"step": 1, "totalSteps": 2, "percent": 50}
    fake = store(make_run(running(progress=progress)), failed(0), failed(1))
    step(fake)
    (applied,) = fake.applied
    assert "progress" not in applied[1]
    assert status(fake)["progress"]["step"] == 1


def test_a_refusal_takes_the_place_of_the_status_and_is_not_written_again():
    fake = store(make_run(started()))
    fake.refused |= {f"nav-1-{node}": f'pods "nav-1-{node}" is forbidden: exceeded quota' for node in (0, 1)}
    assert step(fake) == 30.0
    reconciling = next(c for c in status(fake)["conditions"] if c["type"] == "Reconciling")
    assert reconciling["reason"] == "PodRefused" and "exceeded quota" in reconciling["message"]
    writes = len(fake.applied)
    assert step(fake, at(30)) == 30.0
    assert len(fake.applied) == writes


def test_the_part_of_a_gang_that_the_quota_has_room_for_is_taken_back_until_the_next_try():
    fake = store(make_run(started()))
    fake.refused["nav-1-1"] = 'pods "nav-1-1" is forbidden: exceeded quota'
    assert step(fake) == 30.0
    assert [call for call in fake.writes() if "nav-1-" in call[1]] == [
        ("create", "Pod/nav-1-0"),
        ("create", "Pod/nav-1-1"),
        ("delete", "Pod/nav-1-0"),
    ]
    fake.calls.clear()
    assert step(fake, at(2)) == 28.0, "the deletion is seen, and is no reason to try at once"
    assert fake.writes() == []
    fake.refused.clear()
    step(fake, at(30))
    assert ("create", "Pod/nav-1-1") in fake.calls and status(fake)["phase"] == "Pending"


def test_of_a_gang_that_ran_nothing_is_taken_back():
    run = make_run(running())
    fake = store(run, pod(0), pod(1))
    fake.refused["nav"] = "services is forbidden: exceeded quota"
    assert step(fake) == 30.0
    assert not any(verb == "delete" for verb, _ in fake.calls)


def test_a_pod_of_the_previous_run_is_waited_for_without_a_warning():
    fake = store(make_run(started()))
    fake.refused, fake.refusal = {"nav-1-1": "Pod nav-1-1"}, LeavingError
    assert step(fake) == 3.0
    reconciling = next(c for c in status(fake)["conditions"] if c["type"] == "Reconciling")
    assert reconciling["reason"] == "Starting" and "previous run's Pod nav-1-1" in reconciling["message"]
    assert not any(what.startswith("Event") for _, what in fake.calls)


def test_an_invalid_spec_that_got_past_validation_is_named():
    raw = document(make_run())
    raw["status"] = {}
    raw["spec"]["nodes"] = 65
    fake = FakeStore(raw)
    step(fake)
    valid = next(c for c in status(fake)["conditions"] if c["type"] == "SpecValid")
    assert valid["status"] == "False" and valid["message"] == "spec.nodes: found 65: give a value of at most 64"
    assert not any(verb == "create" for verb, _ in fake.calls)


def test_a_status_that_cannot_be_read_is_an_error_and_not_a_new_run():
    raw = document(make_run())
    raw["status"] = {"attempt": "many"}
    fake = FakeStore(raw)
    with pytest.raises(ValueError):
        step(fake)
    assert fake.writes() == []


def test_a_server_error_is_not_taken_for_a_refusal():
    fake = store(make_run(started()))

    async def create(manifest):
        raise ApiError(500, "InternalError", "etcd is away")

    fake.create = create
    with pytest.raises(ApiError):
        step(fake)
    assert fake.applied == []


def test_of_a_finished_run_only_the_pods_are_read():
    ended = [condition(names.FINISHED, "True", "Succeeded")]
    fake = store(make_run(running(conditions=ended, completionTime=text(NOW))))
    step(fake)
    assert fake.calls == [("get", f"{names.TRAINING_RUN}/nav"), ("list", "Pod")]


def test_the_claim_is_read_only_before_a_gang_of_several_starts():
    reads = {}
    for name, run in {
        "gang": make_run(started()),
        "single": make_run(started(), nodes=1),
        "running": make_run(running()),
    }.items():
        fake = store(run, pod(0), pod(1))
        step(fake)
        reads[name] = ("get", "PersistentVolumeClaim/ckpt") in fake.calls
    assert reads == {"gang": True, "single": False, "running": False}


def test_the_node_of_a_pod_that_does_not_end_is_looked_up_and_the_pod_forced_if_it_is_gone():
    stuck = pod(1, deleting=at(-31), node_name="worker-9")
    fake = store(make_run(started(attempt=2)), stuck)
    step(fake)
    assert ("get", "Node/worker-9") in fake.calls and ("force", "Pod/nav-1-1") in fake.calls


def test_no_node_is_looked_up_while_its_pod_is_within_its_grace():
    fake = store(make_run(started(attempt=2)), pod(1, deleting=at(10), node_name="worker-9"))
    step(fake)
    assert not any(what.startswith("Node") for _, what in fake.calls)


def test_without_the_right_to_read_nodes_nothing_is_forced():
    fake = store(make_run(started(attempt=2)), pod(1, deleting=at(-31), node_name="worker-9"))
    real = fake.get

    async def get(kind, namespace, name):
        if kind == "Node":
            raise ApiError(403, "Forbidden", "nodes is forbidden")
        return await real(kind, namespace, name)

    fake.get = get
    step(fake)
    assert not {"force", "delete"} & {verb for verb, _ in fake.calls}


def test_pods_of_a_namesake_are_not_deleted():
    foreign = pod(1)
    foreign["metadata"]["ownerReferences"][0]["uid"] = "another"
    fake = store(make_run(started(attempt=2)), foreign)
    step(fake)
    assert ("delete", "Pod/nav-1-1") not in fake.calls
    assert UID != "another"
