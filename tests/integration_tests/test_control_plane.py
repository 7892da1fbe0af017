"""The API server that the integration tests rest on is a real one: tokens, rights and CRDs behave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from integration_tests.control_plane import ControlPlane, find_binaries
from kubernetes import client, config

pytestmark = pytest.mark.integration

WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.test.headway.dev"},
    "spec": {
        "group": "test.headway.dev",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"low": {"type": "integer"}, "high": {"type": "integer"}},
                                "x-kubernetes-validations": [
                                    {"rule": "self.low <= self.high", "message": "low must not exceed high"}
                                ],
                            }
                        },
                    }
                },
            }
        ],
    },
}


def make_token(api_client: client.ApiClient, namespace: str, audience: str) -> str:
    core = client.CoreV1Api(api_client)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "trainer"}})
    request = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
    return core.create_namespaced_service_account_token("trainer", namespace, request).status.token


def review(api_client: client.ApiClient, token: str, audience: str) -> client.V1TokenReviewStatus:
    body = {"spec": {"token": token, "audiences": [audience]}}
    return client.AuthenticationV1Api(api_client).create_token_review(body).status


def test_the_api_server_answers_and_says_which_version_it_is(api_client: client.ApiClient) -> None:
    version = client.VersionApi(api_client).get_code()
    assert version.git_version.startswith("v1.")


def test_a_requested_token_is_reviewed_as_its_service_account(api_client: client.ApiClient, namespace: str) -> None:
    token = make_token(api_client, namespace, "headway-progress")
    status = review(api_client, token, "headway-progress")
    assert status.authenticated
    assert status.user.username == f"system:serviceaccount:{namespace}:trainer"


def test_a_token_for_another_audience_is_refused(api_client: client.ApiClient, namespace: str) -> None:
    token = make_token(api_client, namespace, "somebody-else")
    assert not review(api_client, token, "headway-progress").authenticated


def test_a_token_with_a_changed_signature_is_refused(api_client: client.ApiClient, namespace: str) -> None:
    token = make_token(api_client, namespace, "headway-progress")
    header, payload, signature = token.split(".")
    forged = ".".join([header, payload, signature[::-1]])
    assert not review(api_client, forged, "headway-progress").authenticated


def test_a_service_account_may_do_nothing_until_it_is_granted(
    control_plane: ControlPlane, api_client: client.ApiClient, namespace: str
) -> None:
    token = make_token(api_client, namespace, "https://kubernetes.default.svc")
    with config.new_client_from_config(str(control_plane.kubeconfig_with_token("trainer", token))) as mine:
        with pytest.raises(client.ApiException) as refusal:
            client.CoreV1Api(mine).list_namespaced_pod(namespace)
        assert refusal.value.status == 403
        rbac = client.RbacAuthorizationV1Api(api_client)
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
        rbac.create_namespaced_role(namespace, {"metadata": {"name": "reader"}, "rules": rules})
        binding = {
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "trainer", "namespace": namespace}],
        }
        rbac.create_namespaced_role_binding(namespace, binding)
        assert eventually_lists_pods(mine, namespace)


def eventually_lists_pods(mine: client.ApiClient, namespace: str) -> bool:
    """The authorizer reads roles from a watch: a grant holds a moment later."""
    for _ in range(50):
        try:
            return client.CoreV1Api(mine).list_namespaced_pod(namespace).items == []
        except client.ApiException as error:
            assert error.status == 403
            time.sleep(0.1)
    return False


def test_a_crd_is_served_and_its_cel_rule_is_enforced(api_client: client.ApiClient, namespace: str) -> None:
    client.ApiextensionsV1Api(api_client).create_custom_resource_definition(WIDGETS)
    wait_until_established(api_client, "widgets.test.headway.dev")
    widgets = client.CustomObjectsApi(api_client)

    def create(name: str, low: int, high: int) -> dict[str, object]:
        body = {
            "apiVersion": "test.headway.dev/v1",
            "kind": "Widget",
            "metadata": {"name": name},
            "spec": {"low": low, "high": high},
        }
        return widgets.create_namespaced_custom_object("test.headway.dev", "v1", namespace, "widgets", body)

    assert create("right", 1, 2)["spec"] == {"low": 1, "high": 2}
    with pytest.raises(client.ApiException, match="low must not exceed high") as refusal:
        create("wrong", 3, 2)
    assert refusal.value.status == 422


def wait_until_established(api_client: client.ApiClient, name: str) -> None:
    for _ in range(100):
        crd = client.ApiextensionsV1Api(api_client).read_custom_resource_definition(name)
        if any(each.type == "Established" and each.status == "True" for each in crd.status.conditions or []):
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} was not established in 10 s")


def test_the_servers_die_with_the_process_that_started_them(tmp_path: Path, control_plane: ControlPlane) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from integration_tests.control_plane import spawn\n"
        "print(spawn(pathlib.Path(sys.argv[1]), [sys.argv[2], '--data-dir', sys.argv[1] + '/etcd',"
        " '--listen-client-urls', 'unix://127.0.0.1:0', '--advertise-client-urls', 'unix://127.0.0.1:0',"
        " '--listen-peer-urls', 'unix://127.0.0.1:1']).pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path), str(find_binaries() / "etcd")]
    killed = subprocess.run(arguments, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert killed.returncode == -9, killed.stderr
    child = Path("/proc") / killed.stdout.strip()
    for _ in range(50):
        if not child.exists() or "\nState:\tZ" in (child / "status").read_text():
            return
        time.sleep(0.1)
    os.kill(int(child.name), signal.SIGKILL)
    raise AssertionError(f"etcd {child.name} outlived its parent")
