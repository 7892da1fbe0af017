"""The chart's life: an upgrade keeps what the operator wrote, an uninstall keeps the runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import SYSTEM, wait_until
from runs import impostor_run

pytestmark = pytest.mark.disruptive
CHART = str(Path(__file__).resolve().parents[2] / "charts" / "headway")


def test_an_upgrade_keeps_the_certificates_and_an_uninstall_keeps_the_runs(team):
    cluster = team.cluster
    name = team.apply(impostor_run("kept"))
    pods = {pod.metadata.uid for pod in team.await_running(name, 1)}

    def secret() -> dict[str, str]:
        return cluster.core.read_namespaced_secret("headway-operator-tls", SYSTEM).data or {}

    before = wait_until("the leader fills the Secret", secret, 60)
    cluster.helm("upgrade", "headway", CHART, "--reuse-values", "--set", "podLabels.upgraded=yes", "--wait")
    assert secret() == before

    cluster.helm("uninstall", "headway", "--wait")
    assert cluster.kubectl("get", "crd", "trainingruns.headway.dev", "-o", "name").stdout
    assert team.run(name)["metadata"]["name"] == name
    assert {pod.metadata.uid for pod in team.pods(name)} == pods
    leftovers = cluster.kubectl(
        "get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/instance=headway", "-o", "name"
    )
    assert leftovers.stdout == ""

    repository, tag = os.environ["E2E_OPERATOR"].rsplit(":", 1)
    options = ["--set", f"image.repository={repository},image.tag={tag}", "--wait", "--timeout", "4m"]
    cluster.helm("install", "headway", CHART, *options)
    team.patch(name, {"suspend": True})
    team.await_condition(name, "Suspended", 90)
