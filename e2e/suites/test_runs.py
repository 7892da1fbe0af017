"""A run from `kubectl apply` to its end, as its owner sees it."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from harness import CLAIM, DIAGNOSTICS, FAILED, Cluster, Team, add_volume, keep_evidence, remove_team, wait_until
from runs import impostor_run

SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"
NAMESPACE = "headway-runs"


@pytest.fixture
def sample_team(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Team]:
    """The samples' own namespace and claim, made from their files."""
    cluster.kubectl("apply", "-f", str(SAMPLES / "namespace.yaml"))
    add_volume(cluster, NAMESPACE, CLAIM)
    cluster.kubectl("apply", "-f", str(SAMPLES / "storage.yaml"))
    yield Team(cluster, NAMESPACE)
    if request.node.stash.get(FAILED, False):
        keep_evidence(cluster, DIAGNOSTICS / "sample", NAMESPACE)
    remove_team(cluster, NAMESPACE)


def columns(team: Team, name: str) -> dict[str, str]:
    """Return the row of `kubectl get trun`, by column."""
    header, row = team.kubectl("get", "trun", name).splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", header)] + [None]
    cells = (row[a:b].strip() for a, b in itertools.pairwise(starts))
    return dict(zip(header.split(), cells, strict=True))


def wait_in_the_background(team: Team, name: str) -> subprocess.Popen[str]:
    command = ["kubectl", "--kubeconfig", str(team.cluster.kubeconfig), "-n", team.namespace, "wait"]
    command += [f"trainingrun/{name}", "--for=condition=Finished", "--timeout=10m"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_sample_of_two_pods_on_two_nodes_succeeds_and_shows_its_progress_on_the_way(sample_team):
    team = sample_team
    sample = yaml.safe_load((SAMPLES / "nav-ppo-two-nodes.yaml").read_text())
    sample["spec"]["image"] = os.environ["E2E_TRAINER"]
    name = team.apply(sample)
    waiting = wait_in_the_background(team, name)

    pods = team.await_running(name, 2)
    assert len({pod.spec.node_name for pod in pods}) == 2

    rows: list[dict[str, str]] = []

    def finished() -> bool:
        row = columns(team, name)
        if not rows or row != rows[-1]:
            rows.append(row)
        return team.condition(name, "Finished")["status"] == "True"

    wait_until(f"{name} finished", finished, 600, every=1)
    assert team.condition(name, "Succeeded")["status"] == "True", team.condition(name, "Failed")["message"]
    assert waiting.wait(timeout=30) == 0, waiting.communicate()

    running = [row for row in rows if row["PHASE"] == "Running" and row["PROGRESS"]]
    percents = [int(row["PROGRESS"]) for row in running]
    assert percents == sorted(percents) and len(set(percents)) >= 3, rows
    assert {row["STAGE"] for row in running} == {"empty", "sparse"}, rows
    assert len({row["SUCCESS"] for row in running if row["SUCCESS"].endswith("%")}) >= 2, rows
    assert len({row["ETA"] for row in running if row["ETA"]}) >= 2, rows
    assert rows[-1]["PHASE"] == "Succeeded" and rows[-1]["ATTEMPT"] == "1", rows[-1]

    assert "episodes/reward" in team.status(name)["progress"]["metrics"]
    wait_until("both pods closed", lambda: team.ended_well(name, 2), 30)
    if team.cluster.shared:
        assert team.checkpoints(name)[-1]["complete"] is True


def test_kubectl_wait_for_finished_returns_when_a_run_fails(team):
    name = team.apply(impostor_run("fails", "crash", failurePolicy={"maxRestarts": 0}))
    assert wait_in_the_background(team, name).wait(timeout=120) == 0
    assert team.condition(name, "Failed")["status"] == "True"
    assert team.condition(name, "Finished")["reason"] == "Failed"


def test_an_unchanged_run_applied_again_after_its_end_starts_nothing(team):
    document = impostor_run("once", "crash", failurePolicy={"maxRestarts": 0})
    name = team.apply(document)
    team.await_condition(name, "Finished", 120)
    before = {pod.metadata.uid for pod in team.pods(name)}
    team.apply(document)
    team.kubectl("annotate", "trainingrun", name, "example.org/touched=yes")
    subprocess.run(["sleep", "20"], check=True)  # longer than a resync
    assert {pod.metadata.uid for pod in team.pods(name)} == before
    assert team.status(name)["attempt"] == 1
