"""The delivered manifests against a real API server, which checks every field of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from integration_tests.control_plane import ControlPlane, find_binaries

pytestmark = pytest.mark.integration
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane):
    binary = find_binaries() / "kubectl"

    def run(*arguments: str) -> str:
        command = [binary, "--kubeconfig", control_plane.kubeconfig, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_install_yaml_and_the_samples_are_accepted_to_the_last_field(kubectl):
    def apply(path: Path) -> str:
        return kubectl("apply", "--validate=strict", "--warnings-as-errors", "-f", str(path))

    said = apply(MANIFESTS / "install.yaml")
    assert "deployment.apps/headway-operator created" in said
    kubectl("wait", "--for=condition=Established", "crd/trainingruns.headway.dev", "--timeout=30s")
    samples = MANIFESTS / "samples"
    apply(samples / "namespace.yaml")
    runs = [path for path in sorted(samples.glob("*.yaml")) if path.name != "namespace.yaml"]
    assert len(runs) >= 3
    for path in runs:
        assert "created" in apply(path), path


def test_what_the_cluster_keeps_of_install_yaml_is_what_the_file_says(kubectl):
    assert kubectl("diff", "-f", str(MANIFESTS / "install.yaml")) == ""
