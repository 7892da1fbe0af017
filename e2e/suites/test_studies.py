"""Studies on a real cluster: exactly as many trials as asked for, whoever is killed."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

import kindnodes
import pytest
import studies
import yaml
from harness import SYSTEM, Team, wait_until
from headway.hpo.service.serve import wait_for_storage
from headway_api import names
from trainer_tests.hpo_tests.databases import Postgres

STEPS = 72_000  # half a minute of two busy cores


def test_a_study_has_exactly_its_trials_and_its_best_run_trains(team):
    trials = studies.trials_wanted(6)
    name = team.apply(studies.study("search", trials, 4, STEPS, trialHistoryLimit=3))
    wait_until("four trials at a time", lambda: len(studies.children(team, name)) >= min(4, trials), 120)
    owners = [run["metadata"]["ownerReferences"] for run in studies.children(team, name)]
    assert all(owner["kind"] == names.HPO_STUDY and owner["controller"] for (owner,) in owners)

    status = studies.await_finished(team, name, 120 + 60 * trials)
    counts = status["trials"]
    assert counts["complete"] + counts["pruned"] + counts["failed"] == trials
    assert (counts.get("failed", 0), counts.get("running", 0)) == (0, 0)
    if trials >= 24:
        assert counts["pruned"] * 3 >= trials, counts
    assert studies.is_true(team, name, names.SUCCEEDED)
    best = status["best"][0]
    assert 0.0 < best["values"]["successRate"] <= 1.0 and "train.algo.ppo.learningRate" in best["parameters"]
    columns = team.kubectl("get", "hpostudy", name).splitlines()[1].split()
    assert f"{trials}/{trials}" in columns and "Succeeded" in columns
    # Finished runs beyond the history are gone; the storage has them all.
    wait_until("three runs left", lambda: len(studies.children(team, name)) == 3, 60)

    config_map = team.kubectl("get", "configmap", f"{name}-best", "-o", "json")
    run = yaml.safe_load(json.loads(config_map)["data"]["trainingrun.yaml"])
    run["spec"]["train"] |= {"totalSteps": 4096}
    team.await_condition(team.apply(run), "Succeeded", 180)
    print(json.dumps({"name": "study_on_kind", "trials": trials, "counts": counts, "best": best}))


@pytest.mark.kind
def test_a_population_is_trained_by_one_driver_that_is_killed_once(team):
    name = team.apply(studies.population("crowd", 2, 12_000))
    driver = f"{name}-driver"
    wait_until("its driver", lambda: _pods_of(team, driver), 120)
    wait_until("a trial that runs", lambda: studies.status(team, name).get("trials", {}).get("running"), 180)
    kindnodes.signal(_pods_of(team, driver)[0], "KILL")
    status = studies.await_finished(team, name, 600)
    assert status["trials"] == {"total": 2, "running": 0, "complete": 2, "pruned": 0, "failed": 0}, status
    assert studies.is_true(team, name, names.SUCCEEDED)
    assert not studies.children(team, name)  # its trials are processes of the driver
    best = team.kubectl("get", "configmap", f"{name}-best", "-o", "jsonpath={.data.trainingrun\\.yaml}")
    assert f"learningRate: {status['best'][0]['parameters'][f'{studies.PPO}.learningRate']}" in best
    (out,) = (team.storage / "studies" / team.namespace).glob(f"{name}-*")
    lines = [json.loads(line) for line in (out / "lineage.jsonl").read_text().splitlines()]
    assert [(line["generation"], line["trial"]) for line in lines] == [(1, 0), (1, 1), (2, 0), (2, 1)]


def _pods_of(team: Team, job: str) -> list[Any]:
    """The Job's pods that run."""
    found = team.cluster.core.list_namespaced_pod(team.namespace, label_selector=f"job-name={job}").items
    return [pod for pod in found if pod.status.phase == "Running"]


def test_a_deleted_study_takes_its_runs_along(team):
    name = team.apply(studies.study("gone", 4, 2, 10**8))
    wait_until("its runs", lambda: len(studies.children(team, name)) == 2, 90)
    team.kubectl("delete", "hpostudy", name)
    wait_until("no run left", lambda: studies.children(team, name) == [], 60)


def test_a_space_that_leads_nowhere_is_reported_within_five_seconds(team):
    parameters = [{"path": "train.algo.sac.learningRate", "float": {"low": 0.1, "high": 0.2}}]
    name = team.apply(studies.study("nowhere", 2, 1, 4096, parameters=parameters))
    wait_until("SpecValid False", lambda: _condition(team, name, names.SPEC_VALID).get("status") == "False", 5)
    assert "parameters[0]" in _condition(team, name, names.SPEC_VALID)["message"]


def _condition(team: Team, name: str, kind: str) -> dict:
    found = studies.status(team, name).get("conditions", [])
    return next((condition for condition in found if condition["type"] == kind), {})


@pytest.mark.kind
def test_a_dead_trial_without_restarts_has_failed_within_half_a_minute(team):
    document = studies.study("mortal", 1, 1, 10**8)
    document["spec"]["runTemplate"]["failurePolicy"] = {"maxRestarts": 0}
    name = team.apply(document)
    (pod,) = team.await_running(f"{name}-0", 1)
    kindnodes.signal(pod, "KILL")
    wait_until("told FAIL", lambda: studies.status(team, name)["trials"].get("failed") == 1, 30)
    status = studies.await_finished(team, name, 30)
    assert status["trials"]["failed"] == 1 and studies.is_true(team, name, names.FAILED)


@pytest.fixture
def postgres(cluster):
    """PostgreSQL on this machine, for the study service in the cluster; afterwards it has SQLite again."""
    server = Postgres(kindnodes.gateway())
    secret = {"metadata": {"name": "studies-database"}, "stringData": {"url": server.url}}
    cluster.core.create_namespaced_secret(SYSTEM, secret)
    _use_database(cluster, "studies-database")
    yield server
    _use_database(cluster, "")
    cluster.core.delete_namespaced_secret("studies-database", SYSTEM)
    server.stop()


def _use_database(cluster, secret: str) -> None:
    chosen = f"studies.postgresql.secretName={secret}"
    cluster.helm("upgrade", "headway", "charts/headway", "--reuse-values", "--set", chosen, "--wait", "--timeout", "4m")


@pytest.mark.kind
@pytest.mark.disruptive
def test_whoever_is_killed_every_trial_counts_once(team, postgres):
    """Every few seconds SIGKILL to a trial, the study service, its PostgreSQL or an operator."""
    trials, chance = studies.trials_wanted(6), random.Random(7)
    document = studies.study("chaos", trials, 4, 24_000, trialHistoryLimit=10_000)
    document["spec"]["engine"]["optuna"]["pruner"] = {"none": {}}
    document["spec"]["runTemplate"]["failurePolicy"] = {"maxRestarts": 100, "backoffSeconds": 1}
    name = team.apply(document)
    wait_until("its runs", lambda: studies.children(team, name), 120)
    kills = dict.fromkeys(["trial", "service", "postgresql", "operator"], 0)
    deadline = time.monotonic() + 300 + 60 * trials
    while not studies.is_true(team, name, names.FINISHED):
        assert time.monotonic() < deadline, studies.status(team, name)
        time.sleep(4 + 6 * chance.random())
        _end_backoff(team)
        victim = chance.choice(["trial", "trial", *kills])
        if victim == "postgresql":
            postgres.kill()
            postgres.start()
            kills[victim] += 1
        else:
            kills[victim] += _kill(team, victim, chance)
    counts = studies.status(team, name)["trials"]
    assert counts == {"total": trials, "running": 0, "complete": trials, "pruned": 0, "failed": 0}, (counts, kills)
    assert sum(kills.values()) >= 2, kills
    storage = wait_for_storage(postgres.url)
    (study,) = storage.get_all_studies()
    told = Counter(trial.state.name for trial in storage.get_all_trials(study._study_id))
    assert told == {"COMPLETE": trials}  # none lost, none doubled, none left running
    runs = studies.children(team, name)
    assert sorted(run["metadata"]["labels"][names.LABEL_TRIAL] for run in runs) == sorted(map(str, range(trials)))
    restarted = [run["metadata"]["name"] for run in runs if run["status"]["attempt"] > 1]
    for run in restarted:
        _assert_resumed(team, run)
    print(json.dumps({"name": "study_chaos_on_kind", "trials": trials, "kills": kills, "restarted": len(restarted)}))


def _end_backoff(team: Team) -> None:
    """Replace pods that the kubelet lets wait for minutes because they were killed so often."""
    for pod in team.cluster.core.list_namespaced_pod(SYSTEM).items:
        states = [status.state.waiting for status in pod.status.container_statuses or []]
        if any(waiting is not None and waiting.reason == "CrashLoopBackOff" for waiting in states):
            team.cluster.core.delete_namespaced_pod(pod.metadata.name, SYSTEM, grace_period_seconds=0)


def _kill(team: Team, victim: str, chance: random.Random) -> int:
    """SIGKILL one container's first process; returns how many were there to be killed."""
    core = team.cluster.core
    if victim == "trial":
        selector = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
        pods = core.list_namespaced_pod(team.namespace, label_selector=selector).items
    else:
        component = {"service": "studies", "operator": "operator"}[victim]
        pods = core.list_namespaced_pod(SYSTEM, label_selector=f"app.kubernetes.io/component={component}").items
    running = [pod for pod in pods if pod.status.container_statuses and pod.status.container_statuses[0].state.running]
    if not running:
        return 0
    try:
        kindnodes.signal(chance.choice(running), "KILL")
    except AssertionError:  # it has ended meanwhile
        return 0
    return 1


def _assert_resumed(team: Team, name: str) -> None:
    """Each later attempt went on from the newest whole checkpoint of those before it, and no step counts twice."""
    manifests = team.checkpoints(name)
    for attempt in sorted({manifest["attempt"] for manifest in manifests} - {1}):
        first = next(manifest for manifest in manifests if manifest["attempt"] == attempt)
        earlier = [m["step"] for m in manifests if m["attempt"] < attempt]
        began_at = int(first["parent"].split(".")[0].removeprefix("step-")) if first["parent"] else 0
        assert began_at >= max(earlier, default=0), (name, attempt, first["parent"], earlier)
    steps = [line["step"] for line in team.metrics(name)]
    assert steps == sorted(set(steps)), f"{name}: a step was recorded twice"
