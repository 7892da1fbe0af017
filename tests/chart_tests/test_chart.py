from __future__ import annotations

import dataclasses
import json
import subprocess
from typing import Any

import pytest
import yaml
from headway_api import names
from headway_operator.shell.settings import Settings, read_settings

from .conftest import CHART, ROOT

Objects = list[dict[str, Any]]

EVERYTHING_ON: dict[str, Any] = {
    "networkPolicy.enabled": True,
    "serviceMonitor.enabled": True,
    "namespace.create": True,
    "watchNamespaces": ["team-a", "team-b"],
    "settings": {"logLevel": "DEBUG", "workers": 4, "resyncSeconds": 2.5},
    "podLabels": {"team": "robots"},
    "nodeSelector": {"disk": "ssd"},
    "studies.dashboard.enabled": True,
}


def one(objects: Objects, kind: str, name: str = "headway-operator") -> dict[str, Any]:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def operator_container(objects: Objects) -> dict[str, Any]:
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container


def environment(objects: Objects) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "pod-field") for entry in operator_container(objects)["env"]}


def test_lint_finds_nothing(helm):
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_rendering_twice_gives_the_same_text(template):
    assert template(EVERYTHING_ON).stdout == template(EVERYTHING_ON).stdout != ""


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 2},
        {"image": {"name": "x"}},
        {"replicas": "two"},
        {"settings": {"logLevel": "LOUD"}},
        {"settings": {"leaseSecond": 3}},
        {"watchNamespaces": ["Team_A"]},
        {"image.digest": "sha256:short"},
        {"networkPolicy": {"enabled": "yes"}},
    ],
)
def test_a_value_that_the_schema_does_not_know_is_refused(template, values):
    done = template(values)
    assert done.returncode != 0
    assert "schema" in done.stderr


def test_every_object_of_the_schema_is_closed_or_a_free_map():
    open_objects = []

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and node.get("additionalProperties") is not False:
                open_objects.append(path)
            if node.get("type") and path and "description" not in node and not path.endswith(("items", "Properties")):
                open_objects.append(f"{path}: no description")
            for key, value in node.items():
                if key == "properties":
                    for name, child in value.items():
                        walk(child, f"{path}.{name}")
                elif key in ("items", "additionalProperties"):
                    walk(value, f"{path}.{key}")

    walk(json.loads((CHART / "values.schema.json").read_text()), "")
    assert open_objects == []


def test_the_schema_knows_every_default():
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(yaml.safe_load((CHART / "values.yaml").read_text())) | {"global"} == set(schema)


def test_settings_of_the_chart_are_settings_of_the_operator(render):
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    by_chart = {"operator_namespace", "operator_pod", "watch_namespaces", "lease_name", "secret_name", "service_name"}
    by_chart |= {"studies_url", "studies_secret_name"}
    fixed = {"progress_port", "metrics_port", "kubeconfig", "studies_token_file", "studies_ca_file"}
    free = {field.name for field in dataclasses.fields(Settings)} - by_chart - fixed
    assert {"".join(f"_{c.lower()}" if c.isupper() else c for c in name) for name in schema} == free


def test_the_operator_reads_what_the_chart_sets(render):
    values = {"logLevel": "WARNING", "workers": 3, "resyncSeconds": 7.5, "certificateDays": 30}
    settings = read_settings(environment(render({"settings": values, "watchNamespaces": ["a", "b"]})))
    assert (settings.log_level, settings.workers, settings.resync_seconds) == ("WARNING", 3, 7.5)
    assert settings.certificate_days == 30
    assert settings.namespaces == ("a", "b")


def test_without_values_names_and_ports_are_the_operators_defaults(render):
    objects = render()
    settings = read_settings(environment(objects))
    default = Settings()
    assert settings.lease_name == default.lease_name
    assert settings.service_name == default.service_name == one(objects, "Service")["metadata"]["name"]
    assert settings.secret_name == default.secret_name
    assert one(objects, "Secret", default.secret_name)
    ports = {port["name"]: port["containerPort"] for port in operator_container(objects)["ports"]}
    assert ports == {"progress": names.PROGRESS_PORT, "metrics": names.METRICS_PORT}
    service = {port["name"]: (port["port"], port["targetPort"]) for port in one(objects, "Service")["spec"]["ports"]}
    assert service["progress"] == (names.PROGRESS_PORT, "progress")


def test_two_releases_share_no_name(render):
    def cluster_wide(release: str) -> set[tuple[str, str]]:
        return {
            (o["kind"], o["metadata"]["name"]) for o in render(release=release) if o["kind"].startswith("ClusterRole")
        }

    assert cluster_wide("headway").isdisjoint(cluster_wide("other"))


def test_a_very_long_release_name_still_gives_valid_names(render):
    for document in render(release="r" * 53):
        assert len(document["metadata"]["name"]) <= 63


@pytest.mark.parametrize("name", ["headway-operator", "headway-studies"])
def test_each_pod_passes_restricted(render, name):
    pod = one(render(EVERYTHING_ON), "Deployment", name)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    harmless = {"emptyDir", "projected", "secret", "persistentVolumeClaim"}
    assert all(set(volume) - {"name"} <= harmless for volume in pod["volumes"])


def test_the_user_of_the_pod_is_the_user_of_the_image(render):
    (user,) = [
        line.split()[1] for line in (ROOT / "Dockerfile.operator").read_text().splitlines() if line.startswith("USER")
    ]
    pod = one(render(), "Deployment")["spec"]["template"]["spec"]
    assert user.split(":")[0] == str(pod["securityContext"]["runAsUser"])


def test_the_trainers_image_runs_as_the_user_of_the_contract(render):
    assert f"\nUSER {names.TRAINER_UID}:" in (ROOT / "Dockerfile.trainer").read_text()
    studies = one(render(), "Deployment", "headway-studies")["spec"]["template"]["spec"]  # runs that image too
    assert studies["securityContext"]["runAsUser"] == names.TRAINER_UID


@pytest.mark.parametrize("name", ["headway-operator-tls", "headway-studies-tls"])
def test_secrets_are_made_without_data_so_that_an_upgrade_leaves_them_alone(render, name):
    secret = one(render(), "Secret", name)
    assert not {"data", "stringData"} & set(secret)


def test_a_digest_wins_over_the_tag_and_the_tag_over_the_version(render):
    digest = "sha256:" + "a" * 64
    assert operator_container(render())["image"] == "headway-operator:0.1.0"
    assert operator_container(render({"image.tag": "x"}))["image"] == "headway-operator:x"
    assert (
        operator_container(render({"image.tag": "x", "image.digest": digest}))["image"] == f"headway-operator@{digest}"
    )


def test_no_disruption_budget_blocks_the_drain_of_a_single_replica(render):
    kinds = lambda replicas: {o["kind"] for o in render({"replicas": replicas})}  # noqa: E731
    assert "PodDisruptionBudget" in kinds(2)
    assert "PodDisruptionBudget" not in kinds(1)


def test_crds_are_kept_and_can_be_left_out(render):
    crds = [o for o in render() if o["kind"] == "CustomResourceDefinition"]
    assert {crd["spec"]["names"]["kind"] for crd in crds} == {names.TRAINING_RUN, names.HPO_STUDY}
    assert all(crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for crd in crds)
    assert not [o for o in render({"crds.enabled": False}) if o["kind"] == "CustomResourceDefinition"]


def test_every_namespaced_object_names_the_releases_namespace(render):
    cluster = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    for document in render(EVERYTHING_ON):
        if document["kind"] not in cluster:
            assert document["metadata"]["namespace"] in ("headway-system", "team-a", "team-b"), document["kind"]


def test_install_yaml_is_the_charts_rendering(helm):
    done = subprocess.run([ROOT / "manifests" / "render.sh", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- the study service --------------------------------------------------------------------------------------------


def studies_container(objects: Objects, name: str = "studies") -> dict[str, Any]:
    containers = one(objects, "Deployment", "headway-studies")["spec"]["template"]["spec"]["containers"]
    (container,) = [c for c in containers if c["name"] == name]
    return container


def test_the_operator_calls_the_study_service_by_a_name_of_its_service_and_with_a_token_for_it_alone(render):
    objects = render()
    settings = read_settings(environment(objects))
    service = one(objects, "Service", "headway-studies")
    assert settings.studies_names[0] == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert settings.studies_url.endswith(f":{names.STUDIES_PORT}")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    listening = {port["name"]: port["containerPort"] for port in studies_container(objects)["ports"]}
    assert ports == listening == {"https": names.STUDIES_PORT, "grpc": names.STORAGE_PORT}
    arguments = studies_container(objects)["args"]
    assert {f"--listen=0.0.0.0:{names.STUDIES_PORT}", f"--grpc-listen=0.0.0.0:{names.STORAGE_PORT}"} <= set(arguments)
    assert one(objects, "Secret", settings.studies_secret_name)
    volumes = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    (token,) = [volume["projected"]["sources"] for volume in volumes if "projected" in volume]
    assert [source["serviceAccountToken"]["audience"] for source in token] == [names.STUDIES_AUDIENCE]


def test_the_study_service_lets_the_operators_account_in(render):
    objects = render({"serviceAccount.name": "robot"})
    account = one(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    assert f"--operator-account=headway-system/{account}" in studies_container(objects)["args"]


def test_studies_are_kept_on_a_volume_or_in_postgresql_whose_url_is_never_an_argument(render):
    sqlite = render()
    assert one(sqlite, "PersistentVolumeClaim", "headway-studies")["metadata"]["annotations"]["helm.sh/resource-policy"]
    assert {"name": "HEADWAY_STUDIES_STORAGE", "value": "sqlite:////data/studies.db"} in studies_container(sqlite)[
        "env"
    ]
    postgresql = render({"studies.postgresql.secretName": "database"})
    assert not [o for o in postgresql if o["kind"] == "PersistentVolumeClaim"]
    reference = {"secretKeyRef": {"name": "database", "key": "url"}}
    assert {"name": "HEADWAY_STUDIES_STORAGE", "valueFrom": reference} in studies_container(postgresql)["env"]
    assert not any("HEADWAY_STUDIES_STORAGE" in argument for argument in studies_container(postgresql)["args"])


def test_a_claim_of_ones_own_is_taken(render):
    objects = render({"studies.volume.existingClaim": "mine"})
    assert not [o for o in objects if o["kind"] == "PersistentVolumeClaim"]
    volumes = one(objects, "Deployment", "headway-studies")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_the_dashboard_listens_on_the_pods_loopback_only(render):
    dashboard = studies_container(render({"studies.dashboard.enabled": True}), "dashboard")
    assert "--listen=127.0.0.1:8080" in dashboard["args"]
    assert "ports" not in dashboard


def test_without_studies_nothing_of_them_is_there(template):
    text = template({"studies.enabled": False, "crds.enabled": False}).stdout
    assert "headway-studies" not in text and "STUDIES" not in text
