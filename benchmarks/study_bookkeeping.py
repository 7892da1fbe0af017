"""What keeping the books costs: 1,000 trials of one second on 16 workers, through the study service.

    python benchmarks/study_bookkeeping.py [--trials 1000] [--workers 16] [--storage URL] [--sampler random] [--keep]

A worker asks, waits for a second, reports one evaluation and tells, over TLS with a token, as the operator does; then
it takes the next. `value` is the time of all over trials / workers seconds. Ray Tune's own test of the same
(`tune_tests/scalability_tests`) accepts 1.28. Workers are coroutines of one process; the service is another.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import ssl
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import kept
from headway.hpo.bench.callers import make_spec
from headway.hpo.bench.servers import NAMESPACE, OPERATOR, Endpoint, endpoints, processor_seconds
from headway_api import names
from headway_api.hpo_study import METRICS

SECONDS = 1.0  # of a trial
RESULTS = kept.RESULTS / "study_bookkeeping.jsonl"


async def study(endpoint: Endpoint, trials: int, workers: int, sampler: str) -> tuple[float, dict[str, int]]:
    """Run it; return its seconds and what the service counts."""
    spec = make_spec(trials).to_wire()
    spec["engine"] = {"optuna": {"sampler": {sampler: {}}, "pruner": {"none": {}}}}
    path = f"https://localhost:{endpoint.port}{names.STUDIES_PATH}/{NAMESPACE}/bookkeeping-{sampler}/uid"
    context = ssl.create_default_context(cafile=str(endpoint.ca))
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    numbers = iter(range(trials))
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=context)) as session:

        async def call(method: str, name: str, body: dict[str, Any]) -> Any:
            async with session.request(method, path + name, json=body) as answer:
                if answer.status != 200:
                    raise RuntimeError(f"{name}: {answer.status}: {await answer.text()}")
                return await answer.json()

        async def work() -> None:
            for number in numbers:
                await call("POST", "/ask", {"number": number})
                await asyncio.sleep(SECONDS)
                point = {"index": 1, "step": 1000, "metrics": {METRICS["successRate"]: number / 1e6}}
                await call("POST", "/report", {"number": number, "seedIndex": 0, "evaluations": [point], "ended": True})
                await call("POST", "/tell", {"number": number, "outcome": "complete", "steps": 1000})

        await call("PUT", "", {"spec": spec})
        begin = time.monotonic()
        await asyncio.gather(*(work() for _ in range(workers)))
        took = time.monotonic() - begin
        counts: dict[str, int] = (await call("PUT", "", {"spec": spec}))["trials"]
        return took, counts


def main() -> None:
    """Measure and print; `--keep` writes the line to results/, in the place of one of the same parameters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--storage", default="", help="PostgreSQL's URL (default: SQLite in a new folder)")
    parser.add_argument("--sampler", choices=("random", "tpe"), default="random")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = stack.enter_context(endpoints(options.storage or f"sqlite:///{folder}/studies.db", folder))
        (endpoint,) = (e for e in served if e.way == "service" and e.ca is not None)
        before = processor_seconds(endpoint.pid)
        took, counts = asyncio.run(study(endpoint, options.trials, options.workers, options.sampler))
        server_ms = 1000 * (processor_seconds(endpoint.pid) - before) / options.trials
    if counts["complete"] != options.trials or counts["running"]:
        raise SystemExit(f"found {counts}: all {options.trials} trials should be complete")
    ideal = SECONDS * options.trials / options.workers
    params = {"trials": options.trials, "workers": options.workers, "seconds": SECONDS}
    params |= {"storage": endpoint.database, "sampler": options.sampler}
    line = {
        "name": "study_bookkeeping", "value": round(took / ideal, 3), "unit": "of the ideal time", "params": params,
        "seconds": round(took, 1), "server_ms": round(server_ms, 1), "revision": kept.revision(), **kept.machine(),
    }  # fmt: skip
    print(line)
    if options.keep:
        others = [found for found in kept.read(RESULTS) if found["params"] != params]
        kept.write(RESULTS, itertools.chain(others, [line]))


if __name__ == "__main__":
    main()
