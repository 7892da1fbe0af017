"""Fixtures of the integration tests: a real API server for the session, a namespace of its own for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from integration_tests.control_plane import BinariesMissingError, ControlPlane, find_binaries, start
from kubernetes import client, config


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """kube-apiserver and etcd, started once. Without binaries: a failure in CI, elsewhere a skip that says how."""
    try:
        binaries = find_binaries()
    except BinariesMissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    plane = start(tmp_path_factory.mktemp("control-plane"), binaries)
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def api_client(control_plane: ControlPlane) -> Iterator[client.ApiClient]:
    """The official client, as the cluster's administrator."""
    with config.new_client_from_config(str(control_plane.kubeconfig)) as api:
        yield api


@pytest.fixture
def namespace(api_client: client.ApiClient) -> str:
    """A fresh namespace; it goes with the session, as nothing here would finish deleting it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    client.CoreV1Api(api_client).create_namespace({"metadata": {"name": name}})
    return name
