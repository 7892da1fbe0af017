import asyncio

from aiohttp import ClientSession
from headway_operator.shell import health as healths
from headway_operator.shell.health import Health
from integration_tests.control_plane import free_ports
from shell_tests.fakes import Clock


def make(clock, ticked=None, serving=True):
    return Health(300, lambda: clock() if ticked is None else ticked, lambda: serving, clock)


def test_a_follower_is_well_while_it_tries_for_the_lease():
    clock = Clock()
    health = make(clock, ticked=clock())
    clock.forward(60)
    assert health.problem() == ""
    clock.forward(1)
    assert health.problem() == "the lease was last tried 61 s ago"


def test_a_leader_is_unwell_when_no_resync_completes():
    clock = Clock()
    health = make(clock)
    health.resynced_at = clock()
    clock.forward(300)
    assert health.problem() == ""
    clock.forward(1)
    assert health.problem() == "the last resync completed 301 s ago"


def answers(health):
    (port,) = free_ports(1)

    async def story():
        runner = await healths.serve(health, port)
        found = {}
        async with ClientSession() as session:
            for path in ("/healthz", "/readyz", "/metrics"):
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    found[path] = (answer.status, await answer.text())
        await runner.cleanup()
        return found

    return asyncio.run(story())


def test_what_the_probes_answer():
    found = answers(make(Clock()))
    assert found["/healthz"] == (200, "ok") and found["/readyz"] == (200, "ok")
    assert found["/metrics"][0] == 200 and "headway_queue_depth" in found["/metrics"][1]


def test_what_the_probes_answer_when_something_is_wrong():
    clock = Clock()
    health = make(clock, ticked=clock() - 100, serving=False)
    found = answers(health)
    assert found["/healthz"] == (500, "the lease was last tried 100 s ago")
    assert found["/readyz"] == (503, "no certificate yet")
