"""GPUs as the scheduler sees them: an extended resource that is patched onto the nodes; behind it there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from harness import Team, wait_until
from runs import endless_run

RESOURCE = "nvidia.com/gpu"
TAINT = f"{RESOURCE}=present:NoSchedule"


@pytest.fixture
def two_gpu_nodes(team: Team) -> Iterator[list[str]]:
    """Two workers with four GPUs each, tainted as GPU nodes are."""
    workers = team.cluster.workers()[:2]
    patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "4"}]
    for node in workers:
        team.kubectl("patch", "node", node, "--subresource=status", "--type=json", "--patch", json.dumps(patch))
        team.kubectl("taint", "node", node, TAINT, "--overwrite")
    for node in workers:
        wait_until(f"{node} offers GPUs", lambda n=node: offers(team, n) == "4", 60)
    yield workers
    remove = [{"op": "remove", "path": "/status/capacity/nvidia.com~1gpu"}]
    for node in workers:
        team.kubectl("taint", "node", node, f"{TAINT}-")
        team.kubectl("patch", "node", node, "--subresource=status", "--type=json", "--patch", json.dumps(remove))


def offers(team: Team, node: str) -> str | None:
    return (team.cluster.core.read_node(node).status.allocatable or {}).get(RESOURCE)


@pytest.mark.disruptive
@pytest.mark.kind
def test_two_nodes_with_two_gpus_each_are_four_ranks_and_five_gpus_wait_with_a_reason(team, two_gpu_nodes):
    too_many = team.apply(endless_run("greedy", gpusPerNode=5, processesPerNode=1))
    name = team.apply(endless_run("four-ranks", nodes=2, gpusPerNode=2))

    pods = team.await_running(name, 2)
    assert {pod.spec.node_name for pod in pods} == set(two_gpu_nodes)
    for pod in pods:
        container = pod.spec.containers[0]
        assert container.resources.limits[RESOURCE] == container.resources.requests[RESOURCE] == "2"
        assert any(t.key == RESOURCE and t.operator == "Exists" for t in pod.spec.tolerations)
        mounts = team.kubectl("exec", pod.metadata.name, "--", "grep", " /dev/shm ", "/proc/mounts")
        assert mounts.startswith("tmpfs /dev/shm tmpfs")
        (shm,) = [v for v in pod.spec.volumes if v.empty_dir and v.empty_dir.medium == "Memory"]
        assert [m.mount_path for m in container.volume_mounts if m.name == shm.name] == ["/dev/shm"]
    saved = wait_until("a checkpoint of four ranks", lambda: team.checkpoints(name), 240)
    assert saved[0]["worldSize"] == 4
    assert {f"rank-{rank}.safetensors" for rank in range(4)} <= set(saved[0]["files"])

    waiting = team.await_condition(too_many, "Reconciling", 60, lambda c: RESOURCE in c["message"])
    assert waiting["status"] == "True" and waiting["reason"] == "Unschedulable"
    assert [pod.status.phase for pod in team.pods(too_many)] == ["Pending"]
