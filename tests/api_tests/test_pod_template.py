"""The allow-list of what a run may say about its pods."""

import pytest
from headway_api import names
from headway_api.pod_template import EnvVar, PodTemplate
from pydantic import ValidationError


def template(**fields: object) -> PodTemplate:
    return PodTemplate.model_validate(fields, by_alias=True, by_name=False)


@pytest.mark.parametrize(
    "name",
    ["PET_NNODES", "MASTER_ADDR", "RANK", "HEADWAY_UID", "LD_PRELOAD", "PYTHONPATH", "TORCHELASTIC_RUN_ID", "PATH"],
)
def test_variables_that_steer_the_gang_or_the_interpreter_are_refused(name: str) -> None:
    assert names.is_reserved_env(name)
    with pytest.raises(ValidationError, match="name is reserved"):
        EnvVar.model_validate({"name": name, "value": "1"}, by_alias=True)


def test_an_ordinary_variable_is_taken() -> None:
    assert EnvVar.model_validate({"name": "WANDB_MODE", "value": "offline"}).value == "offline"


@pytest.mark.parametrize(
    "fields",
    [
        {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
        {"serviceAccountName": "admin"},
        {"hostNetwork": True},
        {"securityContext": {"privileged": True}},
        {"containers": []},
        {"initContainers": []},
        {"nodeName": "a"},
        {"tolerations": [{"operator": "Exists"}]},
        {"tolerations": [{"key": "gpu", "operator": "Exists", "value": "yes"}]},
        {"tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]},
        {"priorityClassName": "system-node-critical"},
        {"labels": {"headway.dev/run": "other"}},
        {"volumes": [{"name": "headway-spec", "emptyDir": {}}]},
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/usr/lib"}]},
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/data/../etc"}]},
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "//etc"}]},
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/./etc"}]},
        {"annotations": {"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}},
        {"volumeMounts": [{"name": "missing", "mountPath": "/data"}]},
        {"resources": {"requests": {"cpu": "lots"}}},
        {"resources": {"requests": {"cpu": -1}}},
        {"resources": {"requests": {"cpu": 0.5}}},
    ],
)
def test_what_reaches_beyond_the_run_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        template(**fields)


@pytest.mark.parametrize("quantity", ["2", 2, "500m", "4Gi", "1e3", "0.5", "100M"])
def test_quantities_are_written_as_in_a_pod(quantity: object) -> None:
    assert template(resources={"requests": {"cpu": quantity}}).resources.requests["cpu"] == str(quantity)


def test_a_path_that_only_begins_like_a_system_path_is_free() -> None:
    mount = {"name": "a", "mountPath": "/etcetera"}
    assert template(volumes=[{"name": "a", "emptyDir": {}}], volumeMounts=[mount]).volume_mounts[0].read_only is False
