"""A study that Ray Tune searches in a cluster: its Job, and what becomes of the study with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from core_tests.fake_study import UID, make_study
from core_tests.makers import NOW
from headway_api import names
from headway_api.hpo_study import BestTrial, HPOStudy, TrialCounts
from headway_api.load import validate_study
from headway_api.study_wire import StudySnapshot
from headway_operator.core import pod_security
from headway_operator.core.driver import Access, Driver, build_config_map, build_job, driver_problem, read_driver
from headway_operator.core.reconcile_study import Away, Driving, reconcile_study
from headway_operator.core.study_plan import StudyPlan
from specs import small_run

ACCESS = Access("https://headway-studies.headway-system.svc:8444", "PEM")
ENGINE = {"rayTune": {"scheduler": {"pbt": {}}, "searcher": {"random": {}}}}


def ray_study(**spec: Any) -> HPOStudy:
    run = small_run(evaluation={"everySteps": 1024})["spec"]
    run["train"]["curriculum"]["stopAfterLastGate"] = False
    run["checkpoint"] = {"volume": {"claimName": "team"}}
    run["failurePolicy"] = {"maxRestarts": 4}
    return make_study(**{"engine": ENGINE, "runTemplate": run, **spec})


def seen(complete: int = 0, running: int = 0, failed: int = 0) -> StudySnapshot:
    finished = {str(n): "complete" if n < complete else "failed" for n in range(complete + failed)}
    best = [BestTrial(number=0, run="", values={"successRate": 0.5}, parameters={RATE: 1e-3})] if complete else []
    counts = TrialCounts(total=4, complete=complete, running=running, failed=failed, pruned=0)
    return StudySnapshot(trials=counts, running=[], finished=finished, best=best)


RATE = "train.algo.ppo.learningRate"


def job(**status: Any) -> dict[str, Any]:
    return build_job(ray_study(), ACCESS) | {"status": status} | {
        "metadata": build_job(ray_study(), ACCESS)["metadata"] | {"uid": "job-1"}
    }  # fmt: skip


def plan(study: HPOStudy, raw: dict[str, Any] | None, snapshot: Any) -> StudyPlan:
    return reconcile_study(study, [], snapshot, NOW, Driving(read_driver(raw, UID), ACCESS))


def test_the_driver_is_one_job_that_runs_headway_study_with_a_token_for_this_study_alone() -> None:
    first = plan(ray_study(), None, None)
    assert first.open and not first.create  # the service first
    made = plan(ray_study(), None, seen())
    (wanted,) = made.create
    assert (wanted["kind"], wanted["metadata"]["name"]) == ("Job", "search-driver")
    assert wanted["metadata"]["ownerReferences"][0]["uid"] == UID
    pod = wanted["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][:3] == ["headway", "study", "/etc/headway/run/study.json"]
    assert container["command"][3:] == ["--out", f"/headway/studies/team/search-{UID[:8]}"]
    (token,) = pod["volumes"][1]["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == f"headway-study/{UID}"
    assert {v["name"]: v["value"] for v in container["env"]}[names.ENV_STUDIES_URL] == ACCESS.url
    assert wanted["spec"]["backoffLimit"] == 4
    assert pod_security.violations({"spec": pod}, f"headway-study/{UID}") == []
    (config_map,) = made.apply
    document = json.loads(config_map["data"]["study.json"])
    assert validate_study(document).spec == ray_study().spec
    assert config_map["data"]["ca.crt"] == "PEM"
    assert made.status is not None and made.status.phase == "Pending"


@pytest.mark.parametrize(
    ("status", "suspend", "snapshot", "phase", "words"),
    [
        ({"active": 1}, False, seen(running=2), "Running", "0 of 4 trials are finished"),
        ({}, False, seen(running=2), "Pending", "the driver starts"),
        ({"active": 1}, False, seen(complete=4), "Running", "4 of 4"),  # until it has said its last word
        ({"conditions": [{"type": "Complete", "status": "True"}]}, False, seen(complete=4), "Succeeded", "4 complete"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, False, seen(complete=2), "Succeeded", "2 of 4"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, False, seen(failed=4), "Failed", "4 failed"),
        (
            {"conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit 2"}]},
            False, seen(), "Failed", "the driver has failed: PodFailurePolicy: exit 2; see kubectl logs",
        ),
        ({"terminating": 1}, True, seen(), "Suspended", "suspended"),
    ],
)  # fmt: skip
def test_the_study_is_as_its_job_and_the_storage_say(status, suspend, snapshot, phase, words) -> None:  # type: ignore[no-untyped-def]
    found = plan(ray_study(suspend=suspend), job(**status), snapshot)
    assert found.status is not None
    ready = found.status.condition(names.READY)
    assert (found.status.phase, found.create) == (phase, ())
    assert ready is not None and words in ready.message
    assert found.status.is_true(names.FINISHED) == (phase in ("Succeeded", "Failed"))


def test_each_trial_that_runs_has_gpus_of_its_own() -> None:
    run = ray_study().spec.run_template.to_wire() | {"gpusPerNode": 2}
    study = ray_study(runTemplate=run, budget={"trials": 4, "parallel": 3})
    pod = build_job(study, ACCESS)["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "6"}
    assert build_config_map(study, ACCESS)["data"]["study.json"].count('"gpusPerNode": 2') == 1


def test_suspending_patches_the_very_job_and_going_on_too() -> None:
    (patch,) = plan(ray_study(suspend=True), job(active=1), seen()).patch
    assert patch["spec"] == {"suspend": True}
    assert patch["metadata"] == {"name": "search-driver", "namespace": "team", "uid": "job-1"}
    asleep = job()
    asleep["spec"]["suspend"] = True
    rested = plan(ray_study(suspend=True), asleep, seen())
    assert rested.patch == () and rested.status is not None and rested.status.phase == "Suspended"
    (patch,) = plan(ray_study(), asleep, seen()).patch
    assert patch["spec"] == {"suspend": False}


def test_a_service_that_is_away_leaves_the_driver_alone() -> None:
    found = plan(ray_study(), job(active=1), Away("connection refused"))
    assert (found.create, found.patch, found.delete) == ((), (), ())


def test_a_namesakes_job_is_not_ours() -> None:
    raw = job(active=1)
    raw["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert read_driver(raw, UID) is None
    assert read_driver(None, UID) is None
    assert read_driver(job(active=1), UID) == Driver("job-1", "active", "", True, False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"checkpoint": {}}, "checkpoint.volume: missing"),
        ({"nodes": 2}, "nodes: found 2"),
    ],
)
def test_what_a_driver_cannot_do_is_refused_by_name(change: dict, says: str) -> None:
    run = ray_study().spec.run_template.to_wire() | change
    found = plan(ray_study(runTemplate=run), None, None)
    assert found.status is not None and not found.open
    condition = found.status.condition(names.SPEC_VALID)
    assert condition is not None and condition.status == "False" and says in condition.message


def test_another_ray_cluster_is_for_the_command_line() -> None:
    engine = {"rayTune": {"address": "ray-head:6379"}}
    assert "rayTune.address: found 'ray-head:6379'" in driver_problem(ray_study(engine=engine).spec)


def test_the_config_map_is_a_function_of_the_study_and_whom_to_trust() -> None:
    assert build_config_map(ray_study(), ACCESS) == build_config_map(ray_study(), ACCESS)
    assert build_config_map(ray_study(), Access(ACCESS.url, "NEW"))["data"]["ca.crt"] == "NEW"
