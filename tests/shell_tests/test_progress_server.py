# ruff: noqa: E501 - a row of a table is one line
"""Real HTTP, a fake cluster behind it."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer
from core_tests.makers import NOW, UID, pod, text
from headway_api import names
from headway_operator.shell.cluster import Key
from headway_operator.shell.progress_server import (
    BURST,
    MAX_CACHED,
    MAX_REJECTED,
    REVIEW_BURST,
    REVIEWS_AT_ONCE,
    REVIEWS_PER_SECOND,
    Pace,
    ProgressServer,
    _bound,
)
from headway_operator.shell.studies_client import StudiesAwayError
from shell_tests.fakes import NO_STUDIES, UNREACHABLE, Clock, FakeService, FakeStore

POD_UID = "uid-nav-1-0"


def review(uid=POD_UID, pod_name="nav-1-0", audience=names.PROGRESS_AUDIENCE, **changes):
    user = {
        "username": "system:serviceaccount:team:default",
        "extra": {
            "authentication.kubernetes.io/pod-name": [pod_name],
            "authentication.kubernetes.io/pod-uid": [uid],
        },
    }
    return {"authenticated": True, "audiences": [audience], "user": user, **changes}


def store(attempt=1, progress=None):
    run = {
        "kind": names.TRAINING_RUN,
        "metadata": {"name": "nav", "namespace": "team", "uid": UID},
        "spec": {"stallSeconds": 600},
        "status": {"attempt": attempt, "phase": "Running", **({"progress": progress} if progress else {})},
    }
    fake = FakeStore(run, {"kind": "Pod", **pod(0)}, {"kind": "Pod", **pod(1)})
    fake.review = review()
    return fake


def report(number=1, attempt=1, **progress):
    return {
        "attempt": attempt,
        "number": number,
        "progress": {"step": 512, "totalSteps": 4096, "percent": 12, "metrics": {"loss": 0.5}, **progress},
    }


def post(fake, *bodies, token="t0ken", service=NO_STUDIES):
    """Post bodies one after another; return (status, decoded or text) of each."""
    server = ProgressServer(fake, service, Pace(), lambda: NOW, Clock())

    async def story():
        answers = []
        async with TestClient(TestServer(server.application())) as client:
            for body in bodies:
                data = body if isinstance(body, bytes) else json.dumps(body)
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                answer = await client.post(names.PROGRESS_PATH, data=data, headers=headers)
                said = await answer.text()
                answers.append((answer.status, json.loads(said) if answer.status == 200 else said))
        return answers

    return asyncio.run(story())


def progress_of(fake):
    return fake.objects[names.TRAINING_RUN, "team", "nav"]["status"].get("progress")


def test_a_report_is_recorded_under_the_progress_servers_own_manager():
    fake = store()
    assert post(fake, report(7)) == [(200, {"acknowledged": 7, "nextSeconds": 10.0, "stop": False})]
    (applied,) = fake.applied
    assert applied[0] == Key("team", "nav") and applied[2] == names.MANAGER_PROGRESS
    assert set(applied[1]) == {"progress"}
    progress = progress_of(fake)
    assert (progress["step"], progress["number"], progress["attempt"]) == (512, 7, 1)
    assert progress["reportedAt"] == text(NOW), "the time is ours, not the pod's"


def test_a_pod_cannot_say_when_or_in_which_attempt_it_reported():
    fake = store()
    post(fake, report(1, reportedAt="2099-01-01T00:00:00Z") | {}, report(2))
    assert progress_of(fake)["reportedAt"] == text(NOW)


def test_a_report_that_was_recorded_already_is_acknowledged_and_not_written():
    fake = store(progress={"number": 9, "step": 1})
    assert [answer[1]["acknowledged"] for answer in post(fake, report(8), report(9), report(10))] == [9, 9, 10]
    assert len(fake.applied) == 1


def test_goodput_is_recorded_and_one_that_cannot_be_is_refused():
    fake = store()
    parts = {f"{part}Seconds": 1.0 for part in ("startUp", "recompute", "checkpointing", "waiting")}
    good = {"fraction": 0.96, "usefulSeconds": 96.0} | parts
    assert post(fake, report(goodput=good))[0][0] == 200
    assert progress_of(fake)["goodput"] == good
    for amiss in ({"fraction": 1.5}, {"waitingSeconds": -1.0}, {"usefulSeconds": 1e11}, {"surprise": 1.0}):
        assert post(fake, report(number=2, goodput=good | amiss))[0][0] == 400


REFUSED = [
    ("no token", {"token": ""}, {}, report(), 401),
    ("a token of another audience", {}, {"audience": "https://kubernetes.default.svc"}, report(), 401),
    ("a token that is not good", {}, {"authenticated": False}, report(), 401),
    ("a token of no pod", {}, {"pod_name": ""}, report(), 401),
    ("a token of a person", {}, {"user": {"username": "admin"}}, report(), 401),
    ("a pod that is gone", {}, {"uid": "another"}, report(), 403),
    ("a pod of node 1", {}, {"pod_name": "nav-1-1", "uid": "uid-nav-1-1"}, report(), 403),
    ("an attempt that is not the pod's", {}, {}, report(attempt=2), 409),
    ("not JSON", {}, {}, b"hello", 400),
    ("NaN", {}, {}, b'{"attempt": 1, "number": 1, "progress": {"step": NaN}}', 400),
    ("infinity by another name", {}, {}, b'{"attempt":1,"number":1,"progress":{"step":1,"totalSteps":2,"percent":0,"stepsPerSecond":1e999}}', 400),
    ("an unknown field", {}, {}, report(surprise=1), 400),
    ("a negative step", {}, {}, report(step=-1), 400),
    ("a metric's name with spaces", {}, {}, report(metrics={"a b": 1.0}), 400),
    ("too many metrics", {}, {}, report(metrics={f"m{n}": 1.0 for n in range(65)}), 400),
    ("deep nesting", {}, {}, b"[" * 60_000, 400),
    ("more than 64 KiB", {}, {}, b" " * (names.PROGRESS_MAX_BYTES + 1), 413),
]  # fmt: skip


@pytest.mark.parametrize(("what", "call", "reviewed", "body", "status"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused(what, call, reviewed, body, status):
    fake = store()
    fake.review = review(**reviewed)
    ((answered, _),) = post(fake, body, **call)
    assert answered == status
    assert fake.applied == []


def test_a_refusal_names_the_field():
    ((_, said),) = post(store(), report(step=-1))
    assert said == "progress.step: found -1: give a value of at least 0"


def test_a_superseded_attempt_is_told_so():
    ((status, said),) = post(store(attempt=2), report())
    assert status == 409 and "attempt 1 is superseded: the present one is 2" in said


def test_a_pod_without_an_owner_of_ours_is_refused():
    fake = store()
    fake.objects["Pod", "team", "nav-1-0"]["metadata"]["ownerReferences"][0]["kind"] = "Job"
    assert post(fake, report())[0][0] == 403


def test_a_run_made_anew_under_the_same_name_gets_nothing_of_the_old_one():
    fake = store()
    fake.objects[names.TRAINING_RUN, "team", "nav"]["metadata"]["uid"] = "another"
    assert post(fake, report())[0][0] == 404
    assert fake.applied == []


def test_a_token_is_reviewed_once_a_minute():
    fake, clock = store(), Clock()
    server = ProgressServer(fake, NO_STUDIES, Pace(), lambda: NOW, clock)

    async def story():
        reviews = []
        async with TestClient(TestServer(server.application())) as client:
            for wait in (0, 30, 29, 1):
                clock.forward(wait)
                body = json.dumps(report())
                await client.post(names.PROGRESS_PATH, data=body, headers={"Authorization": "Bearer t"})
                reviews.append(fake.calls.count(("post", "TokenReview")))
        return reviews

    assert asyncio.run(story()) == [1, 1, 1, 2]


def send(server, tokens):
    """Post one report with each token; return the statuses."""

    async def story():
        statuses = []
        async with TestClient(TestServer(server.application())) as client:
            for token in tokens:
                headers = {"Authorization": f"Bearer {token}"}
                answer = await client.post(names.PROGRESS_PATH, data=json.dumps(report()), headers=headers)
                statuses.append(answer.status)
        return statuses

    return asyncio.run(story())


def test_an_address_cannot_make_us_ask_for_reviews_without_end():
    fake, clock = store(), Clock()
    fake.review = review(authenticated=False)
    server = ProgressServer(fake, NO_STUDIES, Pace(), lambda: NOW, clock)
    burst = int(REVIEW_BURST)
    assert send(server, [f"junk {n}" for n in range(burst + 5)]) == [401] * burst + [429] * 5
    assert fake.calls.count(("post", "TokenReview")) == burst
    assert send(server, ["junk 0"]) == [401], "what is known needs no review"
    clock.forward(1)
    assert send(server, [f"more {n}" for n in range(3)]) == [401] * int(REVIEWS_PER_SECOND) + [429]


def test_rubbish_takes_no_good_tokens_place():
    fake, clock = store(), Clock()
    server = ProgressServer(fake, NO_STUDIES, Pace(), lambda: NOW, clock)
    assert send(server, ["good"]) == [200]
    for n in range(MAX_REJECTED + 50):
        server._remember(f"junk {n}", None)
    assert len(server._rejected) == MAX_REJECTED
    fake.calls.clear()
    assert send(server, ["good"]) == [200] and ("post", "TokenReview") not in fake.calls


def test_a_token_that_is_no_longer_good_is_refused_after_a_minute():
    fake, clock = store(), Clock()
    server = ProgressServer(fake, NO_STUDIES, Pace(), lambda: NOW, clock)
    assert send(server, ["t"]) == [200]
    fake.review = review(authenticated=False)
    clock.forward(60)
    assert send(server, ["t", "t"]) == [401, 401]


def test_only_so_many_reviews_are_under_way_at_once():
    fake, running, most = store(), 0, 0
    server = ProgressServer(fake, NO_STUDIES, Pace(), lambda: NOW, Clock())

    async def post_slowly(kind, namespace, document):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        fake.calls.append(("post", kind))
        return {"status": fake.review}

    fake.post = post_slowly

    async def story():
        tokens = [f"t{n % 40}" for n in range(80)]
        await asyncio.gather(*(server._authenticate(f"Bearer {t}", f"10.0.0.{n}") for n, t in enumerate(tokens)))

    asyncio.run(story())
    assert most == REVIEWS_AT_ONCE
    assert fake.calls.count(("post", "TokenReview")) < 80, "most of them were known when their turn came"


def test_a_pod_that_reports_too_often_is_slowed_down():
    fake = store()
    statuses = [answer[0] for answer in post(fake, *[report(n) for n in range(1, 9)])]
    assert statuses == [200] * int(BURST) + [429] * (8 - int(BURST))


def test_an_api_server_that_is_away_is_no_fault_of_the_report():
    fake = store()
    fake.failures = [UNREACHABLE]
    assert post(fake, report(1), report(1)) == [
        (503, "the API server does not answer; send it again"),
        (200, {"acknowledged": 1, "nextSeconds": 10.0, "stop": False}),
    ]


def test_the_interval_grows_with_the_number_of_runs_and_forgets_those_that_fell_silent():
    clock = Clock()
    server = ProgressServer(store(), NO_STUDIES, Pace(seconds=10, rate=20), lambda: NOW, clock)
    server._active = {f"run-{n}": clock() for n in range(1000)}
    assert server.next_seconds(stall_seconds=600) == 50.0
    clock.forward(601)
    assert server.next_seconds(stall_seconds=600) == 10.0


def test_the_interval_is_never_what_would_be_taken_for_a_stall():
    clock = Clock()
    server = ProgressServer(store(), NO_STUDIES, Pace(seconds=10, rate=20), lambda: NOW, clock)
    server._active = {f"run-{n}": clock() for n in range(10_000)}
    assert server.next_seconds(stall_seconds=30) == 15.0


def test_caches_are_bounded():
    cache = {str(n): n for n in range(MAX_CACHED)}
    _bound(cache, MAX_CACHED)
    assert len(cache) == MAX_CACHED - 1 and "0" not in cache


def trial_store():
    fake = store()
    metadata = fake.objects[names.TRAINING_RUN, "team", "nav"]["metadata"]
    metadata["labels"] = {names.LABEL_TRIAL: "3", names.LABEL_SEED_INDEX: "1"}
    metadata["ownerReferences"] = [{"kind": names.HPO_STUDY, "name": "search", "uid": "s", "controller": True}]
    return fake


def test_a_trials_evaluations_go_to_the_service_and_its_verdict_to_the_trial():
    service = FakeService(stop=True)
    evaluations = [{"index": 1, "step": 512, "metrics": {"evaluation/success_rate": 0.25}}]
    answers = post(trial_store(), report(1), report(2, evaluations=evaluations), service=service)
    assert [said["stop"] for _, said in answers] == [False, True]
    ((key, said),) = service.reports
    assert key == ("team", "search", "s") and (said.number, said.seed_index, said.ended) == (3, 1, False)
    assert [(point.index, point.step) for point in said.evaluations] == [(1, 512)]


def test_a_service_that_is_away_costs_a_trial_no_report():
    fake, service = trial_store(), FakeService()
    service.failures = [StudiesAwayError("connection refused")]
    ((status, said),) = post(fake, report(1, evaluations=[{"index": 1, "step": 1, "metrics": {}}]), service=service)
    assert (status, said["stop"], said["acknowledged"]) == (200, False, 1)
    assert progress_of(fake)["evaluations"][0]["index"] == 1
