"""`headway bench`: speeds of this machine, as a table for people and as one JSON object a line for programs."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from headway.errors import UserError
from headway.extras import require
from headway.launch.threads import THREAD_VARIABLES, available_cores, numba_cache, thread_environment
from headway.units import count, percent

if TYPE_CHECKING:
    from headway_api.train_spec import TrainSpec

Line = dict[str, Any]
MOST_ENVS = 65536


def bench_env(options: Namespace, console: Console) -> int:
    """Print the environment's steps a second. Raises UserError for what cannot be measured."""
    envs = _checked(options)
    require("trainer")
    check_gpu(options.device)
    if options.device != "cpu":
        require("cuda")  # what compiles the environment for one
    threads = options.threads or available_cores()
    chosen = dict.fromkeys(THREAD_VARIABLES, str(threads)) if options.threads else {}
    os.environ.update(thread_environment(os.environ, 1, threads) | chosen | numba_cache(os.environ))
    from headway.bench.tasks import bench_spec

    specs = [bench_spec(options.task, number) for number in envs]
    as_json = options.json or not console.is_terminal
    table = _table(options.task, threads)
    for spec in specs:
        lines = []
        for line in _measure(spec, options, threads, console):
            lines.append(line)
            if as_json:
                print(json.dumps(line), flush=True)
        table.add_row(count(spec.num_envs), *(count(line["value"]) for line in lines), percent(lines[-1]["env_share"]))
    if not as_json:
        console.print(table)
    return 0


def _checked(options: Namespace) -> list[int]:
    """Return the numbers of environments; a spec's own, said as 0, where none is given. Raises UserError."""
    for number in options.envs or []:
        if not 1 <= number <= MOST_ENVS:
            raise UserError(f"--envs: found {number}: give numbers from 1 to {MOST_ENVS}")
    if not 0.1 <= options.seconds <= 3600:
        raise UserError(f"--seconds: found {options.seconds:g}: give a time from 0.1 to 3600")
    if options.threads is not None and not 1 <= options.threads <= 1024:
        raise UserError(f"--threads: found {options.threads}: give a number from 1 to 1024")
    own_number = options.task.endswith((".yaml", ".yml", ".json"))
    return options.envs or [0 if own_number else 1024]


def _measure(spec: TrainSpec, options: Namespace, threads: int, console: Console) -> Iterator[Line]:
    """Yield one line each for the environment alone, with a policy that acts, and with one that learns."""
    from headway.bench.env import env_only, learning
    from headway.envs import registry

    beams = registry.make_vector_env(spec, 1).layout.beams
    task, seconds, device = Path(options.task).stem, options.seconds, options.device
    params = {"task": task, "beams": beams, "envs": spec.num_envs, "device": device, "threads": threads}
    learner = params | {"algo": spec.algo.chosen()[0], "network": spec.network.chosen()[0], "processes": 1}
    with console.status(f"{count(spec.num_envs)} environments: alone"):
        yield _line("env_steps", env_only(spec, threads, seconds, device), params)
    with console.status(f"{count(spec.num_envs)} environments: with a policy that learns"):
        found = learning(spec, threads, seconds, device)
    yield _line("env_inference_steps", found.with_inference, learner)
    yield _line("train_steps", found.with_training, learner) | {"env_share": round(found.env_share, 3)}


def check_gpu(device: str) -> None:
    """Raise UserError where a GPU is asked for and there is none."""
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(f"--device {device}: torch finds no GPU here: `headway info` says what it finds")


def _line(name: str, value: float, params: Line) -> Line:
    return {"name": name, "value": round(value), "unit": "steps/s", "params": params}


def _table(task: str, threads: int) -> Table:
    title = f"{task}: environment steps a second, {threads} thread{'s' if threads > 1 else ''}"
    style: Line = {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0), "header_style": "dim"}
    table = Table(title=title, title_justify="left", title_style="bold", **style)
    for column in ("environments", "alone", "with inference", "with training", "share of time in the environment"):
        table.add_column(column, justify="right")
    return table
