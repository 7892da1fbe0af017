"""`headway bench study`: trials a second through the study service, beside Optuna's own ways to a storage."""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from headway.errors import UserError
from headway.extras import require

if TYPE_CHECKING:
    from headway.hpo.bench.rates import Rate


def bench_study(options: Namespace, console: Console) -> int:
    """Print the rates. Raises UserError for what cannot be measured."""
    _check(options)
    require("hpo")
    from headway.hpo.bench.rates import rates
    from headway.hpo.bench.servers import endpoints

    as_json = options.json or not console.is_terminal
    found: list[Rate] = []
    with tempfile.TemporaryDirectory() as scratch:
        urls = [f"sqlite:///{scratch}/studies.db", *([options.postgresql] if options.postgresql else [])]
        for index, url in enumerate(urls):
            folder = Path(scratch) / str(index)
            folder.mkdir()
            with endpoints(url, folder) as served:
                for rate in rates(served, options.workers, options.trials, options.repeats):
                    found.append(rate)
                    if as_json:
                        print(json.dumps(_line(rate, options)), flush=True)
    for line in _costs(found, options) if as_json else ():
        print(json.dumps(line), flush=True)
    if not as_json:
        console.print(_table(found, options.workers))
    return 0


def _check(options: Namespace) -> None:
    """Raise UserError."""
    if not 1 <= options.trials <= 10_000:
        raise UserError(f"--trials: found {options.trials}: give a number from 1 to 10000")
    if not 1 <= options.repeats <= 100:
        raise UserError(f"--repeats: found {options.repeats}: give a number from 1 to 100")
    for number in options.workers:
        if not 1 <= number <= min(64, options.trials):
            raise UserError(f"--workers: found {number}: give numbers from 1 to 64, none above --trials")
    if options.postgresql and not options.postgresql.startswith("postgres"):
        raise UserError(f"--postgresql: found {options.postgresql!r}: give postgresql://USER:PASSWORD@HOST/DATABASE")


def _params(rate: Rate, options: Namespace) -> dict[str, Any]:
    params = {"way": rate.endpoint.way, "storage": rate.endpoint.database, "workers": rate.workers}
    return params | {"trials": options.trials, "repeats": options.repeats, "sampler": "random"}


def _line(rate: Rate, options: Namespace) -> dict[str, Any]:
    params = _params(rate, options) | {"tls_and_token": rate.endpoint.ca is not None}
    return {
        "name": "study_trials", "value": round(rate.trials_per_second, 1), "unit": "trials/s", "params": params,
        "server_ms": round(rate.server_ms, 2),
    }  # fmt: skip


def _costs(found: list[Rate], options: Namespace) -> list[dict[str, Any]]:
    """What TLS and token take of the service's rate, in percent, and add to its processor time."""
    service = [rate for rate in found if rate.endpoint.way == "service"]
    lines = []
    for secure in (rate for rate in service if rate.endpoint.ca is not None):
        key = secure.endpoint.database, secure.workers
        (plain,) = (r for r in service if r.endpoint.ca is None and (r.endpoint.database, r.workers) == key)
        value = 100 * (1 - secure.trials_per_second / plain.trials_per_second)
        processor = 100 * (secure.server_ms / max(plain.server_ms, 1e-3) - 1)
        lines.append(
            {
                "name": "study_tls_and_token_cost", "value": round(value, 1), "unit": "%",
                "params": _params(secure, options), "processor": round(processor, 1),
            }
        )  # fmt: skip
    return lines


def _table(found: list[Rate], workers: list[int]) -> Table:
    style: dict[str, Any] = {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0), "header_style": "dim"}
    table = Table(title="trials a second: ask, one report, tell", title_justify="left", title_style="bold", **style)
    for column in ("way", "storage", "TLS, token"):
        table.add_column(column)
    for number in workers:
        table.add_column(f"{number} worker{'s' if number > 1 else ''}", justify="right")
    for endpoint in dict.fromkeys(rate.endpoint for rate in found):
        values = [f"{rate.trials_per_second:.1f}" for rate in found if rate.endpoint == endpoint]
        table.add_row(endpoint.way, endpoint.database, "yes" if endpoint.ca else "no", *values)
    return table
