"""`headway bench train`: what more ranks bring on this machine, as whole runs train."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from headway.commands.bench import check_gpu
from headway.errors import UserError
from headway.extras import require
from headway.launch.threads import THREAD_VARIABLES, available_cores
from headway.units import count, percent

if TYPE_CHECKING:
    from headway.bench.train import Rate

MOST_RANKS = 64
ENVS = 512
MEANING = {
    "strong": "the same batch over all ranks, as processes of a run share it",
    "weak": "as many environments and as large a batch for each rank",
}


def bench_train(options: Namespace, console: Console) -> int:
    """Print steps a second by number of ranks. Raises UserError for what cannot be measured."""
    _check(options)
    require("trainer")
    check_gpu(options.device)
    from headway.bench.tasks import bench_spec, with_algo
    from headway.bench.train import grown, rates
    from headway.parallel import check_divisible

    spec = with_algo(bench_spec(options.task, options.envs or _envs(options.task)), options.algo)
    specs = [(n, grown(spec, n) if options.scaling == "weak" else spec) for n in options.processes]
    for processes, given in specs:
        check_divisible(given, processes)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    turns = f"{options.repeats} turns of {options.seconds:g} s"
    with console.status(f"training by {', '.join(map(str, options.processes))} ranks: {turns}"):
        found = rates(specs, options.seconds, options.repeats)
    if options.json or not console.is_terminal:
        for rate in found:
            print(json.dumps(_line(rate, options)), flush=True)
    else:
        console.print(_table(found, options))
    return 0


def _check(options: Namespace) -> None:
    """Raise UserError."""
    bounds = {"threads": (1, 1024), "repeats": (1, 100), "seconds": (0.1, 3600.0), "envs": (0, 65536)}
    for name, (least, most) in bounds.items():
        if not least <= getattr(options, name) <= most:
            raise UserError(f"--{name}: found {getattr(options, name):g}: give a number from {least:g} to {most:g}")
    for number in options.processes:
        if not 1 <= number <= MOST_RANKS:
            raise UserError(f"--processes: found {number}: give numbers from 1 to {MOST_RANKS}")


def _envs(task: str) -> int:
    """Environments where none are given: a file's own, said as 0."""
    return 0 if task.endswith((".yaml", ".yml", ".json")) else ENVS


def _line(rate: Rate, options: Namespace) -> dict[str, Any]:
    params = {
        "algo": rate.spec.algo.chosen()[0], "task": Path(options.task).stem, "device": options.device,
        "processes": rate.processes, "threads": options.threads, "envs": rate.spec.num_envs,
        "scaling": options.scaling, "cores": available_cores(),
    }  # fmt: skip
    line = {"name": "train_steps", "value": round(rate.steps_per_s), "unit": "steps/s", "params": params}
    return line | {"speedup": round(rate.speedup, 3), "efficiency": round(_efficiency(rate, options), 3)}


def _efficiency(rate: Rate, options: Namespace) -> float:
    """The speed-up for each rank: 1 where twice the ranks are twice as fast."""
    return float(rate.speedup * options.processes[0] / rate.processes)


def _table(found: list[Rate], options: Namespace) -> Table:
    algo, threads = found[0].spec.algo.chosen()[0].upper(), f"{options.threads} thread{'s'[: options.threads > 1]}"
    title = (
        f"{Path(options.task).stem}, {algo}, {threads} a rank, {options.scaling} scaling: {MEANING[options.scaling]}"
    )
    style: dict[str, Any] = {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0), "header_style": "dim"}
    table = Table(title=title, title_justify="left", title_style="bold", **style)
    for column in ("ranks", "environments", "steps/s", "speed-up", "efficiency"):
        table.add_column(column, justify="right")
    for rate in found:
        speedup, efficiency = f"{rate.speedup:.2f}", percent(_efficiency(rate, options))
        table.add_row(str(rate.processes), count(rate.spec.num_envs), count(rate.steps_per_s), speedup, efficiency)
    return table
