import json
from pathlib import Path

import pytest
import yaml
from core_tests.makers import REPORTING, UID, make_run
from headway_api import load, names
from headway_operator.core import pod_security, pods
from hypothesis import given, settings
from specs import valid_runs

GOLDEN = Path(__file__).parent / "golden"
GPU_TEMPLATE = {
    "labels": {"team": "nav", "zone": "a"},
    "annotations": {"example.com/note": "hi"},
    "resources": {"requests": {"cpu": 2}, "limits": {"memory": "8Gi"}},
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}],
    "env": [
        {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "key"}}},
        {"name": "SPELL", "value": "$(HEADWAY_UID)"},
    ],
    "envFrom": [{"configMapRef": {"name": "proxy"}}],
    "volumes": [{"name": "maps", "configMap": {"name": "maps"}}],
    "volumeMounts": [{"name": "maps", "mountPath": "/data/maps", "readOnly": True}],
    "priorityClassName": "research",
    "imagePullSecrets": [{"name": "registry"}],
}


def cases():
    small = make_run(nodes=1, checkpoint={})
    large = make_run(nodes=2, gpusPerNode=2, podTemplate=GPU_TEMPLATE)
    return {
        "service.yaml": pods.build_service(small),
        "config_map.yaml": pods.build_config_map(small, REPORTING),
        "pod_small.yaml": pods.build_pod(small, 1, 0, REPORTING),
        "pod_gpus.yaml": pods.build_pod(large, 3, 1, REPORTING),
    }


@pytest.mark.parametrize("name", cases())
def test_builders_give_the_golden_manifests(name):
    """To accept a change: python tests/core_tests/test_pods.py."""
    assert yaml.safe_load((GOLDEN / name).read_text()) == cases()[name]


def container(run, attempt=1, node=0):
    return pods.build_pod(run, attempt, node, REPORTING)["spec"]["containers"][0]


def test_gpus_bring_limits_toleration_and_shared_memory():
    run = make_run(nodes=2, gpusPerNode=2, gpuResource="nvidia.com/mig-1g.5gb")
    spec = pods.build_pod(run, 1, 0, REPORTING)["spec"]
    assert spec["containers"][0]["resources"] == {
        "requests": {"nvidia.com/mig-1g.5gb": "2"},
        "limits": {"nvidia.com/mig-1g.5gb": "2"},
    }
    assert {"key": "nvidia.com/mig-1g.5gb", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert {"name": "headway-shm", "emptyDir": {"medium": "Memory"}} in spec["volumes"]
    environment = {e["name"]: e["value"] for e in spec["containers"][0]["env"]}
    assert int(environment["PET_NNODES"]) * int(environment["PET_NPROC_PER_NODE"]) == 4


def test_without_gpus_there_is_neither():
    spec = pods.build_pod(make_run(), 1, 0, REPORTING)["spec"]
    assert "headway-shm" not in {v["name"] for v in spec["volumes"]}
    assert spec["containers"][0]["resources"] == {}


def test_the_trainer_reads_back_the_run_that_the_config_map_holds():
    run = make_run(podTemplate=GPU_TEMPLATE)
    document = json.loads(pods.build_config_map(run, REPORTING)["data"][names.FILE_SPEC])
    assert load.validate(document).spec == run.spec
    assert document["metadata"] == {"name": "nav", "namespace": "team", "uid": UID}


def test_variables_of_users_are_not_expanded_into_ours():
    env = container(make_run(podTemplate=GPU_TEMPLATE))["env"]
    assert {"name": "SPELL", "value": "$$(HEADWAY_UID)"} in env


def test_a_toleration_of_the_user_takes_the_place_of_ours():
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    tolerations = pods.build_pod(make_run(podTemplate={"tolerations": [own]}), 1, 0, REPORTING)["spec"]["tolerations"]
    assert [t["tolerationSeconds"] for t in tolerations if t["key"] == own["key"]] == [5]


def test_the_longest_names_stay_under_63_characters():
    run = make_run()
    run = run.model_copy(update={"metadata": run.metadata.model_copy(update={"name": "a" * 40})})
    assert len(pods.pod_name(run, 999_999, 63)) <= 63


def test_the_master_has_another_name_in_each_attempt():
    run = make_run()
    assert pods.master_address(run, 1) == "nav-1-0.nav.team.svc"
    assert pods.master_address(run, 2) == "nav-2-0.nav.team.svc"


@settings(max_examples=60)
@given(valid_runs())
def test_every_valid_run_gives_pods_that_pass_the_security_check(document):
    run = load.validate(document)
    for node in (0, run.spec.nodes - 1):
        assert pod_security.violations(pods.build_pod(run, 1, node, REPORTING)) == []


if __name__ == "__main__":
    for file, manifest in cases().items():
        (GOLDEN / file).write_text(yaml.safe_dump(manifest, sort_keys=False, width=120))
