"""A node dies under a run and does not come back."""

from __future__ import annotations

import kindnodes
import pytest
from harness import wait_until
from runs import finite_run

pytestmark = [pytest.mark.disruptive, pytest.mark.kind]


def test_a_run_that_loses_a_node_finishes_on_the_other(team):
    name = team.apply(finite_run("survivor", nodes=2))
    pods = team.await_running(name, 2)
    assert len({pod.spec.node_name for pod in pods}) == 2
    wait_until("a checkpoint", lambda: team.checkpoints(name), 180)
    lost = pods[0].spec.node_name  # with rank 0 and the rendezvous

    kindnodes.kill_node(lost)
    try:
        finished = team.await_condition(name, "Finished", 420)
        assert finished["reason"] == "Succeeded", team.status(name)
        status = team.status(name)
        assert status["restarts"]["counted"] == 0 and status["restarts"]["uncounted"] >= 1
        ended = wait_until("both pods closed", lambda: team.ended_well(name, 2), 30)
        assert lost not in {pod.spec.node_name for pod in ended}
        assert team.checkpoints(name)[-1]["complete"] is True
    finally:
        kindnodes.start_node(lost)
        team.cluster.kubectl("wait", f"node/{lost}", "--for=condition=Ready", "--timeout=120s")
