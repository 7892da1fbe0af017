"""`headway bench replay`: what drawing a batch and setting its priorities takes on this machine."""

from __future__ import annotations

import json
import statistics
from argparse import Namespace
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from headway.commands.bench import check_gpu
from headway.errors import UserError
from headway.extras import require
from headway.units import count


def bench_replay(options: Namespace, console: Console) -> int:
    """Print the medians. Raises UserError for what cannot be measured."""
    _check(options)
    require("trainer")
    import torch

    from headway.bench.replay import Task, filled, microseconds, sample_update

    check_gpu(options.device)
    torch.set_num_threads(1)
    device = torch.device(options.device)
    task = Task(options.capacity, options.batch, n_steps=options.n_steps)
    as_json = options.json or not console.is_terminal
    table = Table("draws", "µs a batch", title=f"{count(task.capacity)} transitions, batch {task.batch}", box=None)
    for prioritized in (True, False):
        kind = replace(task, prioritized=prioritized)
        with console.status("prioritised" if prioritized else "uniform"):
            replay = filled(kind, device)
            value = statistics.median(microseconds(sample_update(replay, kind), options.seconds, device))
        if as_json:
            print(json.dumps(_line(value, kind.capacity, kind.batch, kind.n_steps, prioritized, options.device)))
        table.add_row("by priority, with its update" if prioritized else "uniform", f"{value:.0f}")
    if not as_json:
        console.print(table)
    return 0


def _line(value: float, capacity: int, batch: int, n_steps: int, prioritized: bool, device: str) -> dict[str, Any]:
    params = {"capacity": capacity, "batch": batch, "n_steps": n_steps, "prioritized": prioritized, "device": device}
    return {"name": "replay_sample_update", "value": round(value, 1), "unit": "us", "params": params | {"threads": 1}}


def _check(options: Namespace) -> None:
    bounds = {"capacity": (1024, 16_777_216), "batch": (1, 65536), "n_steps": (1, 100), "seconds": (0.1, 3600.0)}
    for name, (least, most) in bounds.items():
        value = getattr(options, name)
        if not least <= value <= most:
            raise UserError(f"--{name.replace('_', '-')}: found {value:g}: give a number from {least:g} to {most:g}")
    if options.batch > options.capacity:
        raise UserError(f"--batch: found {options.batch}: give at most the capacity, {options.capacity}")
