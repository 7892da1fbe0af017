"""Fixtures of the end-to-end suite. run.sh makes the images, the cluster and the operator, and says where they are."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import DIAGNOSTICS, FAILED, Cluster, Team, keep_evidence, make_team, remove_team
from kubernetes import config


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "disruptive: kills operators or nodes; runs alone, after the others")
    config.addinivalue_line("markers", "kind: reaches into the nodes by docker; left out where the cluster is not kind")


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    kubeconfig = os.environ.get("E2E_KUBECONFIG")
    assert kubeconfig, "run the suite by e2e/run.sh (make e2e): it makes the cluster and names it in E2E_KUBECONFIG"
    shared = os.environ.get("E2E_SHARED")
    return Cluster(
        kubeconfig=Path(kubeconfig),
        api=config.new_client_from_config(kubeconfig),
        kind=os.environ.get("E2E_KIND", ""),
        shared=Path(shared) if shared else None,
    )


@pytest.fixture(autouse=True)
def _needs_kind(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("kind") and not os.environ.get("E2E_KIND"):
        pytest.skip("kills processes or nodes through docker: needs the kind cluster, not E2E_KUBECONFIG")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def team(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Team]:
    """A namespace of the test's own; what is in it is written to .e2e/diagnostics when the test fails."""
    namespace = f"e2e-{uuid.uuid4().hex[:8]}"
    yield make_team(cluster, namespace)
    if request.node.stash.get(FAILED, False):
        keep_evidence(cluster, DIAGNOSTICS / re.sub(r"\W+", "-", request.node.name), namespace)
    if not (os.environ.get("E2E_KEEP") and request.node.stash.get(FAILED, False)):
        remove_team(cluster, namespace)
