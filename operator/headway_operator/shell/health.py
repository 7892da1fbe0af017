"""/healthz says whether this process does its work, not whether it answers; /readyz whether it serves reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from headway_operator.shell import metrics
from headway_operator.shell.lease import steady_clock

LEASE_TICK_LIMIT_S = 60.0


@dataclass
class Health:
    """Signs of life, set by the parts of the operator."""

    resync_limit_s: float
    lease_ticked_at: Callable[[], float]
    is_serving: Callable[[], bool]
    clock: Callable[[], float] = steady_clock
    resynced_at: float | None = field(default=None)
    """When the leader's last resync completed, or when it began to lead; None on a follower."""

    def problem(self) -> str:
        """Return what is wrong; empty if nothing is."""
        now = self.clock()
        if now - self.lease_ticked_at() > LEASE_TICK_LIMIT_S:
            return f"the lease was last tried {now - self.lease_ticked_at():.0f} s ago"
        if self.resynced_at is not None and now - self.resynced_at > self.resync_limit_s:
            return f"the last resync completed {now - self.resynced_at:.0f} s ago"
        return ""


async def serve(health: Health, port: int) -> web.AppRunner:
    """Serve /healthz, /readyz and /metrics over plain HTTP. Call `cleanup()` on what is returned."""

    async def healthz(_: web.Request) -> web.Response:
        problem = health.problem()
        return web.Response(status=500 if problem else 200, text=problem or "ok")

    async def readyz(_: web.Request) -> web.Response:
        serving = health.is_serving()
        return web.Response(status=200 if serving else 503, text="ok" if serving else "no certificate yet")

    async def exposition(_: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=metrics.exposition(), headers=headers)

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
