"""A run that is killed, suspended, resumed, deleted: what is in the cluster afterwards."""

from __future__ import annotations

import time

import kindnodes
import pytest
from harness import Document, wait_until
from runs import endless_run, impostor_run

EVERY_SECONDS = 5  # checkpoint.everySeconds of the tests' runs
SLACK_SECONDS = 4  # an update is a fraction of a second; a loaded machine is not


def step_of(directory: str) -> int:
    """step-000123456.a2 -> 123456"""
    return int(directory.split(".")[0].removeprefix("step-"))


def beyond(manifests: list[Document], step: int) -> list[Document]:
    return [manifest for manifest in manifests if manifest["step"] > step]


@pytest.mark.kind
def test_a_run_whose_pod_is_killed_goes_on_from_its_last_checkpoint(team):
    name = team.apply(endless_run("killed", nodes=2))
    team.await_running(name, 2)
    wait_until("two checkpoints", lambda: len(team.checkpoints(name)) >= 2, 180)
    victim = team.running_pods(name)[1]

    kindnodes.signal(victim, "KILL")
    killed_at = time.time()
    before, kept = team.checkpoints(name)[-2:]
    trained_to = team.metrics(name)[-1]["step"]

    pods = team.await_running(name, 2, attempt=2)
    assert victim.metadata.uid not in {pod.metadata.uid for pod in pods}
    resumed = wait_until(
        "a checkpoint of attempt 2", lambda: [m for m in team.checkpoints(name) if m["attempt"] == 2], 180
    )[0]
    assert resumed["parent"].startswith("step-") and resumed["parent"].endswith(".a1")
    went_on_from = step_of(resumed["parent"])
    assert went_on_from >= kept["step"]
    # Lost: what was trained between the last checkpoint and the kill, at most one interval's worth.
    assert killed_at - kept["savedAt"] <= EVERY_SECONDS + SLACK_SECONDS
    speed = (kept["step"] - before["step"]) / (kept["savedAt"] - before["savedAt"])
    assert trained_to - went_on_from <= 2 * speed * (EVERY_SECONDS + SLACK_SECONDS)  # speed is not constant

    restarts = team.status(name)["restarts"]
    assert (restarts["counted"], restarts["uncounted"]) == (1, 0)
    assert team.status(name)["attempt"] == 2
    steps = [line["step"] for line in team.metrics(name)]
    assert steps == sorted(set(steps)), "metrics.jsonl was not cut back to the checkpoint"


def test_a_suspended_run_has_no_pods_and_goes_on_where_it_was(team):
    name = team.apply(endless_run("paused"))
    team.await_running(name, 1)
    before = team.await_step(name, beyond=0)["step"]

    team.patch(name, {"suspend": True})
    team.await_condition(name, "Suspended", 90)
    assert team.running_pods(name) == []
    assert team.condition(name, "Finished")["status"] == "False"
    saved = team.checkpoints(name)[-1] if team.cluster.shared else {"step": before}
    assert saved["step"] >= before  # SIGTERM saves: nothing that was reported is lost

    team.patch(name, {"suspend": False})
    started = team.await_running(name, 1)
    assert all(pod.metadata.uid == started[0].metadata.uid for pod in team.pods(name) if pod.status.phase == "Running")
    team.await_step(name, beyond=saved["step"])
    status = team.status(name)
    assert (status["restarts"]["counted"], status["restarts"]["uncounted"]) == (0, 0)
    if team.cluster.shared:
        later = wait_until("a later checkpoint", lambda: beyond(team.checkpoints(name), saved["step"]), 90)
        assert step_of(later[0]["parent"]) == saved["step"]


def test_pods_that_leave_with_exit_0_under_suspension_are_no_success(team):
    name = team.apply(impostor_run("polite", "leave-in-order", nodes=2))
    old = {pod.metadata.uid for pod in team.await_running(name, 2)}
    team.patch(name, {"suspend": True})
    team.await_condition(name, "Suspended", 90)
    assert team.running_pods(name) == []
    for kind in ("Succeeded", "Failed", "Finished"):
        assert team.condition(name, kind)["status"] == "False"
    team.patch(name, {"suspend": False})
    new = {pod.metadata.uid for pod in team.await_running(name, 2)}
    assert not new & old


def test_pods_that_leave_with_exit_0_without_a_word_are_no_success_either(team):
    name = team.apply(impostor_run("silent", "leave-in-order", failurePolicy={"maxRestarts": 0}))
    (pod,) = team.await_running(name, 1)
    team.kubectl("delete", "pod", pod.metadata.name, "--wait=false")
    wait_until("another attempt, or the end", lambda: team.status(name)["attempt"] > 1 or ended(team, name), 90)
    assert team.condition(name, "Succeeded")["status"] == "False"


def ended(team, name) -> bool:
    return team.condition(name, "Finished")["status"] == "True"


def test_deleting_a_run_removes_every_child(team):
    name = team.apply(impostor_run("gone", nodes=2, terminationGracePeriodSeconds=2))
    team.await_running(name, 2)
    kinds = "pods,services,configmaps"
    selector = f"headway.dev/run={name}"
    assert len(team.kubectl("get", kinds, "-l", selector, "-o", "name").split()) == 4
    team.kubectl("delete", "trainingrun", name)
    wait_until("no child left", lambda: team.kubectl("get", kinds, "-l", selector, "-o", "name") == "", 60)


def test_a_run_made_again_under_its_name_begins_anew(team):
    first = team.apply(impostor_run("again", terminationGracePeriodSeconds=2))
    old = team.await_running(first, 1)
    team.kubectl("delete", "trainingrun", first)
    team.apply(impostor_run("again", terminationGracePeriodSeconds=2))
    ours = lambda: [pod for pod in team.running_pods(first) if pod.metadata.uid != old[0].metadata.uid]  # noqa: E731
    new = wait_until("the new run's pod", ours, 90)
    uid = team.run(first)["metadata"]["uid"]
    assert [p.metadata.labels["headway.dev/run-uid"] for p in new] == [uid]
    assert team.status(first)["attempt"] == 1


def test_finished_pods_go_after_their_time_and_the_run_stays(team):
    name = team.apply(impostor_run("tidy", "crash", failurePolicy={"maxRestarts": 0}, ttlSecondsAfterFinished=5))
    team.await_condition(name, "Finished", 90)
    wait_until("its pods gone", lambda: team.pods(name) == [], 90)
    assert team.condition(name, "Finished")["status"] == "True"
