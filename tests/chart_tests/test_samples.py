from __future__ import annotations

import pytest
import yaml
from headway_api.load import load_run

from .conftest import ROOT

SAMPLES = ROOT / "manifests" / "samples"
RUNS = sorted(path for path in SAMPLES.glob("*.yaml") if "kind: TrainingRun" in path.read_text())


def test_there_are_runs_among_the_samples():
    assert {path.name for path in RUNS} >= {"nav-ppo-two-nodes.yaml", "nav-ppo-gpu.yaml"}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_sample_is_valid_and_lives_beside_its_storage(path):
    run = load_run(path)
    assert run.metadata.name == path.stem
    namespace = yaml.safe_load((SAMPLES / "namespace.yaml").read_text())
    claim = yaml.safe_load((SAMPLES / "storage.yaml").read_text())
    assert run.metadata.namespace == namespace["metadata"]["name"] == claim["metadata"]["namespace"]
    assert run.spec.checkpoint.volume is not None
    assert run.spec.checkpoint.volume.claim_name == claim["metadata"]["name"]
    assert run.spec.nodes == 1 or "ReadWriteMany" in claim["spec"]["accessModes"]


def test_the_samples_namespace_enforces_restricted():
    labels = yaml.safe_load((SAMPLES / "namespace.yaml").read_text())["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
