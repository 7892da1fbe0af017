"""What goes wrong is said in a condition, in words that name the cause."""

from __future__ import annotations

from harness import add_claim, add_volume
from runs import endless_run, impostor_run, short_run


def names_image(condition):
    return "no-such-image" in condition["message"]


def test_a_bad_image_is_named_while_the_run_waits_for_it(team):
    name = team.apply(impostor_run("bad-image", image="registry.invalid/no-such-image:1"))
    found = team.await_condition(name, "Reconciling", 120, names_image)
    assert found["status"] == "True"
    assert team.condition(name, "Ready")["status"] == "False"
    assert names_image(team.condition(name, "Ready"))


def test_a_missing_claim_is_named_and_the_run_starts_once_it_is_there(team):
    name = team.apply(impostor_run("no-claim", checkpoint={"volume": {"claimName": "forgotten"}}))
    found = team.await_condition(name, "Reconciling", 90, lambda c: "forgotten" in c["message"])
    assert found["status"] == "True"
    add_volume(team.cluster, team.namespace, "forgotten")
    add_claim(team.cluster, team.namespace, "forgotten")
    team.await_condition(name, "Ready", 90)


OUT_OF_RANGE = {
    "nodes": ({"nodes": 0}, ["spec.nodes", "0", "greater than or equal to 1"]),
    "stallSeconds": ({"stallSeconds": 5}, ["spec.stallSeconds", "5", "greater than or equal to 10"]),
    "misspelt": ({"nodez": 2}, ["spec.nodez", "unknown field"]),
    "no storage": ({"nodes": 2, "checkpoint": {}}, ["checkpoint.volume.claimName", "nodes above 1"]),
}


def test_an_out_of_range_field_is_refused_with_its_name_value_and_bound(team):
    for change, words in OUT_OF_RANGE.values():
        said = team.refusal(impostor_run("refused", **change))
        assert all(word in said for word in words), said


def test_what_cannot_change_after_creation_is_refused_and_what_can_is_taken(team):
    document = impostor_run("fixed")
    name = team.apply(document)
    document["spec"]["train"]["seed"] = 4
    assert "train is fixed once the run exists" in team.refusal(document)
    document["spec"]["train"]["seed"] = 3
    document["spec"]["suspend"] = True
    team.apply(document)
    team.await_condition(name, "Suspended", 60)


def test_a_crash_loop_ends_after_max_restarts_with_the_last_words_in_the_condition(team):
    name = team.apply(impostor_run("crashes", "crash", failurePolicy={"maxRestarts": 2, "backoffSeconds": 1}))
    failed = team.await_condition(name, "Failed", 120)
    assert failed["reason"] == "MaxRestartsExceeded"
    assert "division by zero" in failed["message"]
    status = team.status(name)
    assert (status["attempt"], status["restarts"]["counted"], status["restarts"]["uncounted"]) == (3, 2, 0)
    assert team.condition(name, "Stalled")["status"] == "True"
    # the logs of the last two attempts are still to be had
    assert {pod.metadata.labels["headway.dev/attempt"] for pod in team.pods(name)} == {"2", "3"}


def test_a_trainer_out_of_memory_is_called_that(team):
    document = short_run("oom", failurePolicy={"maxRestarts": 0})
    document["spec"]["podTemplate"]["resources"] = {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}
    name = team.apply(document)
    failed = team.await_condition(name, "Failed", 180)
    assert "OutOfMemory" in failed["message"] and "64Mi" in failed["message"]


def test_a_map_that_is_not_there_fails_the_run_at_once_and_is_named(team):
    document = short_run("no-map")
    levels = {"world": {"map": {"yaml": "/headway/maps/nowhere.yaml"}}}
    document["spec"]["train"]["curriculum"]["stages"][0]["levels"] = levels
    name = team.apply(document)
    failed = team.await_condition(name, "Failed", 180)
    assert failed["reason"] == "PermanentError"
    assert "/headway/maps/nowhere.yaml" in failed["message"]
    assert team.status(name)["attempt"] == 1


def test_a_claim_for_one_node_is_refused_for_a_run_of_two(team):
    add_claim(team.cluster, team.namespace, "single", mode="ReadWriteOnce")
    name = team.apply(impostor_run("rwo", nodes=2, checkpoint={"volume": {"claimName": "single"}}))
    found = team.await_condition(name, "SpecValid", 60, lambda c: c["status"] == "False")
    assert "single" in found["message"] and "ReadWriteMany" in found["message"]
    assert team.pods(name) == []


def test_a_pod_that_the_api_server_refuses_is_said_with_its_words(team):
    template = {"priorityClassName": "no-such-class"}
    name = team.apply(impostor_run("refused-pod", podTemplate=template))
    found = team.await_condition(name, "Ready", 60, lambda c: "no-such-class" in c["message"])
    assert found["status"] == "False"


def test_a_deadline_ends_the_run_and_its_pods(team):
    name = team.apply(endless_run("late", activeDeadlineSeconds=5))
    failed = team.await_condition(name, "Failed", 90)
    assert failed["reason"] == "DeadlineExceeded"
