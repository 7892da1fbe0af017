"""The API server's answers, as a small HTTP server gives them."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from headway_api import names
from headway_operator.shell import cluster as clusters
from headway_operator.shell.cluster import ApiError, Cluster, ConflictError, Key, LeavingError, RefusedError
from kubernetes.aio.client import ApiClient, Configuration

PODS = "/api/v1/namespaces/team/pods"
OWNER = {"uid": "run-uid", "controller": True, "kind": "TrainingRun", "name": "nav"}
POD = {
    "kind": "Pod",
    "metadata": {"name": "nav-1-0", "namespace": "team", "ownerReferences": [OWNER]},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(clusters, "FIRST_BACKOFF_S", 0.001)


def answer(status, reason="", message="no", **more):
    return status, {"kind": "Status", "reason": reason, "message": message, **more}


def speak(answers, story, fence=lambda: None):
    """Run `story(cluster)` against a server that gives `answers` in turn; return its result and what was asked."""
    asked, left = [], list(answers)

    async def handle(request):
        body = await request.text()
        asked.append((request.method, request.path, dict(request.query), json.loads(body) if body else None))
        status, document = left.pop(0)
        return web.json_response(document, status=status)

    async def main():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        async with TestServer(app) as server:
            client = ApiClient(Configuration(host=str(server.make_url("")).rstrip("/")))
            try:
                return await story(Cluster(client, fence)), asked
            finally:
                await client.close()

    return asyncio.run(main())


def test_an_object_that_is_not_there_is_none():
    found, _ = speak([answer(404, "NotFound")], lambda c: c.get("Pod", "team", "nav-1-0"))
    assert found is None


def test_lists_are_read_page_by_page_and_by_label():
    pages = [
        (200, {"items": [{"n": 1}, {"n": 2}], "metadata": {"continue": "more"}}),
        (200, {"items": [{"n": 3}], "metadata": {}}),
    ]
    found, asked = speak(pages, lambda c: c.list_pods("team", "run-uid"))
    assert [item["n"] for item in found] == [1, 2, 3]
    assert asked[0][1:3] == (PODS, {"limit": "500", "labelSelector": "headway.dev/run-uid=run-uid"})
    assert asked[1][2]["continue"] == "more"


def test_the_whole_cluster_is_listed_without_a_namespace():
    async def story(c):
        return [item async for item in c.each(names.TRAINING_RUN, "")]

    _, asked = speak([(200, {"items": []})], story)
    assert asked[0][1] == "/apis/headway.dev/v1alpha1/trainingruns"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status):
    found, asked = speak([answer(status), answer(status), (200, {"ok": 1})], lambda c: c.get("Pod", "team", "x"))
    assert found == {"ok": 1} and len(asked) == 3


def test_a_server_that_stays_busy_is_an_error_in_the_end():
    with pytest.raises(ApiError, match="503"):
        speak([answer(503)] * 4, lambda c: c.get("Pod", "team", "x"))


def test_a_refusal_is_not_asked_for_again():
    with pytest.raises(ApiError, match="403 Forbidden: no"):
        speak([answer(403, "Forbidden")], lambda c: c.get("Pod", "team", "x"))


def test_a_server_that_is_not_there_is_an_error_of_status_0():
    async def story():
        client = ApiClient(Configuration(host="http://127.0.0.1:9"))
        try:
            await Cluster(client).get("Pod", "team", "x")
        finally:
            await client.close()

    with pytest.raises(ApiError) as caught:
        asyncio.run(story())
    assert caught.value.status == 0


def test_a_child_that_is_there_already_and_ours_is_as_good_as_made():
    """The reply to the first try was lost: the second finds the pod that the first has made."""
    replies = [answer(503), answer(409, "AlreadyExists"), (200, POD)]
    _, asked = speak(replies, lambda c: c.create(POD))
    assert [method for method, *_ in asked] == ["POST", "POST", "GET"]


def test_a_namesake_of_somebody_else_is_a_refusal():
    theirs = {"metadata": {"name": "nav-1-0", "ownerReferences": [{"uid": "another"}]}}
    with pytest.raises(RefusedError, match="Pod nav-1-0 exists already and is not this run's"):
        speak([answer(409, "AlreadyExists"), (200, theirs)], lambda c: c.create(POD))


@pytest.mark.parametrize(
    "found",
    [
        (200, {"metadata": {"ownerReferences": [{"uid": "another", "kind": "TrainingRun", "name": "nav"}]}}),
        (200, {"metadata": {"deletionTimestamp": "2026-01-31T12:00:00Z"}}),
        (404, {}),
    ],
)
def test_a_pod_of_the_previous_run_is_waited_for(found):
    with pytest.raises(LeavingError, match=r"^Pod nav-1-0$"):
        speak([answer(409, "AlreadyExists"), found], lambda c: c.create(POD))


@pytest.mark.parametrize("status", [400, 403, 422])
def test_what_the_server_will_not_have_is_a_refusal_in_its_words(status):
    with pytest.raises(RefusedError, match="exceeded quota"):
        speak([answer(status, "X", "exceeded quota: few")], lambda c: c.create(POD))


def test_two_creations_against_one_quota_are_a_conflict_and_no_refusal():
    with pytest.raises(ConflictError):
        speak([answer(409, "Conflict")], lambda c: c.create(POD))


@pytest.mark.parametrize("status", [404, 409])
def test_a_deletion_is_of_this_very_pod_and_one_that_is_gone_is_well(status):
    _, asked = speak([answer(status)], lambda c: c.delete("Pod", "team", "nav-1-0", "pod-uid"))
    assert asked[0][3]["preconditions"] == {"uid": "pod-uid"} and "gracePeriodSeconds" not in asked[0][3]


def test_a_forced_deletion_has_no_grace():
    _, asked = speak([(200, {})], lambda c: c.delete("Pod", "team", "nav-1-0", "pod-uid", force=True))
    assert asked[0][3]["gracePeriodSeconds"] == 0 and asked[0][3]["preconditions"] == {"uid": "pod-uid"}


def apply(c, version="7"):
    return c.apply_status(Key("team", "nav"), {"phase": "Running"}, uid="u", manager="m", resource_version=version)


def test_a_status_is_applied_to_the_run_that_was_read():
    _, asked = speak([(200, {})], apply)
    method, path, query, body = asked[0]
    assert (method, path) == ("PATCH", "/apis/headway.dev/v1alpha1/namespaces/team/trainingruns/nav/status")
    assert query == {"fieldManager": "m", "force": "true"}
    assert body["metadata"] == {"name": "nav", "namespace": "team", "uid": "u", "resourceVersion": "7"}
    assert body["status"] == {"phase": "Running"}


def test_progress_is_applied_whatever_the_reconciler_has_written_meanwhile():
    _, asked = speak([(200, {})], lambda c: apply(c, version=""))
    assert "resourceVersion" not in asked[0][3]["metadata"] and asked[0][3]["metadata"]["uid"] == "u"


@pytest.mark.parametrize("status", [404, 409])
def test_a_run_that_is_no_longer_what_was_read_is_a_conflict(status):
    with pytest.raises(ConflictError):
        speak([answer(status)], apply)


def test_every_write_passes_the_fence_and_every_try_of_it_and_no_read_does():
    passed = []

    async def story(c):
        await c.get("Pod", "team", "x")
        assert passed == []
        await c.create(POD)

    speak([(200, {}), answer(503), (201, {})], story, lambda: passed.append(1))
    assert len(passed) == 2


def test_what_the_fence_stops_is_not_sent():
    def fence():
        raise RuntimeError("the lease is lost")

    asked = []

    async def story(c):
        for write in (c.create(POD), c.delete("Pod", "team", "x", "u"), apply(c), c.post("Event", "team", {})):
            with pytest.raises(RuntimeError):
                await write
        return None

    _, asked = speak([], story, fence)
    assert asked == []


RUN = {
    "kind": names.TRAINING_RUN,
    "metadata": {
        "name": "search-0",
        "namespace": "team",
        "ownerReferences": [{"uid": "s", "kind": names.HPO_STUDY, "name": "search", "controller": True}],
    },
}
RUNS = "/apis/headway.dev/v1alpha1/namespaces/team/trainingruns"


def test_a_studys_status_goes_to_the_study():
    key = Key("team", "search", names.HPO_STUDY)
    _, asked = speak([(200, {})], lambda c: c.apply_status(key, {"phase": "Running"}, uid="u", manager="m"))
    assert asked[0][1] == "/apis/headway.dev/v1alpha1/namespaces/team/hpostudies/search/status"
    assert asked[0][3]["kind"] == names.HPO_STUDY


def test_the_runs_of_a_study_are_found_by_its_uid():
    found, asked = speak([(200, {"items": [RUN]})], lambda c: c.list_trials("team", "s"))
    assert found == [RUN] and asked[0][1] == RUNS and asked[0][2]["labelSelector"] == "headway.dev/study-uid=s"


def test_suspending_is_of_this_very_run():
    _, asked = speak([(200, {})], lambda c: c.suspend_run("team", "search-0", "u", True))
    assert asked[0][:2] == ("PATCH", f"{RUNS}/search-0")
    assert asked[0][3] == {"metadata": {"uid": "u"}, "spec": {"suspend": True}}


@pytest.mark.parametrize("status", [404, 409, 422])
def test_a_run_that_is_no_longer_the_one_to_suspend_is_a_conflict(status):
    with pytest.raises(ConflictError):
        speak([answer(status)], lambda c: c.suspend_run("team", "search-0", "u", True))


def test_a_run_of_somebody_else_is_a_refusal_and_one_of_an_earlier_study_is_waited_for():
    def found(**owner):
        return (200, {"metadata": {"ownerReferences": [{"uid": "another", **owner}]}})

    with pytest.raises(RefusedError, match="TrainingRun search-0 exists already and is not this study's: delete it"):
        speak([answer(409, "AlreadyExists"), found(kind="Pipeline", name="search")], lambda c: c.create(RUN))
    with pytest.raises(LeavingError):
        speak([answer(409, "AlreadyExists"), found(kind=names.HPO_STUDY, name="search")], lambda c: c.create(RUN))
    speak([answer(409, "AlreadyExists"), (200, RUN)], lambda c: c.create(RUN))
