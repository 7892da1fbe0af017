"""Reaches into kind's nodes, which are containers of this machine's Docker engine: signals to processes, lost nodes."""

from __future__ import annotations

import subprocess

from kubernetes.client import V1Pod


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def first_process(pod: V1Pod) -> int:
    """Return the PID, on the pod's node, of the first process of its container."""
    container = pod.status.container_statuses[0].container_id.removeprefix("containerd://")
    # Process 1 of its own PID namespace, among the processes of the container's cgroup.
    script = (
        f"for p in $(grep -ls {container} /proc/[0-9]*/cgroup | cut -d/ -f3); do "
        "awk -v p=$p '/^NSpid:/ && NF > 2 && $NF == 1 {print p}' /proc/$p/status 2>/dev/null; done"
    )
    found = docker("exec", pod.spec.node_name, "sh", "-c", script).split()
    assert len(found) == 1, f"processes 1 of {pod.metadata.name}: {found}"
    return int(found[0])


def signal(pod: V1Pod, name: str) -> None:
    """Send the first process of the pod's container a signal from outside, where even process 1 cannot ignore KILL."""
    docker("exec", pod.spec.node_name, "kill", f"-{name}", str(first_process(pod)))


def kill_node(name: str) -> None:
    docker("kill", name)


def start_node(name: str) -> None:
    docker("start", name)


def gateway() -> str:
    """Return this machine's address in the network of kind's nodes: what a pod reaches it by."""
    subnets = docker(
        "network", "inspect", "kind", "--format", "{{ range .IPAM.Config }}{{ println .Gateway }}{{ end }}"
    )
    return next(address for address in subnets.split() if ":" not in address)
