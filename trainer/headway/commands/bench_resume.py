"""`headway bench resume`: proof on this machine that a run which is killed anywhere goes on bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from argparse import Namespace
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

import headway
from headway.commands.bench import check_gpu
from headway.errors import UserError
from headway.extras import require
from headway.launch.threads import numba_cache, thread_environment

if TYPE_CHECKING:
    from headway.bench.resume import Result
    from headway.bench.resume_specs import Case

MOST_RANKS, MOST_POINTS = 4, 1000
Line = dict[str, Any]


def bench_resume(options: Namespace, console: Console) -> int:
    """Print one JSON object for each case and one for all; return 1 if any is not exact, else 0."""
    cases = _chosen(options)
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    require("trainer")
    check_gpu(options.device)
    os.environ.update(thread_environment(os.environ, max(options.ranks), 1) | numba_cache(os.environ))
    from headway.bench.resume import prove

    code, known = code_hash(), _read(options.results)
    lines = []
    for case in cases:
        params = _params(case, options)
        line = next((line for line in known if _is_done(line, params, code)), None)
        if line is None:
            with console.status(case.name), tempfile.TemporaryDirectory(prefix="headway-") as folder:
                line = _line(prove(case, options.points, options.seed, Path(folder), options.device), params, code)
            _append(options.results, line)
        lines.append(line)
        print(json.dumps(line), flush=True)
    exact = sum(line["value"] for line in lines)
    print(json.dumps({"name": "resume_exact_all", "value": exact, "unit": f"of {len(lines)}", "code": code}))
    return 0 if exact == len(lines) else 1


def code_hash() -> str:
    """Return a short hash of all our code and of torch's version: what has been shown holds for them, and no others."""
    package = Path(headway.__file__).parent
    api = package.parents[1] / "operator" / "headway_api"  # in a checkout; beside it where they are installed
    found = hashlib.sha256(version("torch").encode())
    for root in (package, api if api.is_dir() else package.parent / "headway_api"):
        for path in sorted(root.rglob("*.py")):
            found.update(f"{path.relative_to(root.parent)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _chosen(options: Namespace) -> list[Case]:
    """The cases that are asked for. Raises UserError for what there is not."""
    from headway.bench.resume_specs import cases

    bounds = {"ranks": (1, MOST_RANKS), "points": (1, MOST_POINTS), "seed": (0, 2**31 - 1)}
    for name, (least, most) in bounds.items():
        given = getattr(options, name)
        for value in given if isinstance(given, list) else [given]:
            if not least <= value <= most:
                raise UserError(f"--{name}: found {value}: give a number from {least} to {most}")
    everything = cases(tuple(dict.fromkeys(options.ranks)))
    for wanted in options.only or []:
        if not any(case.matches(wanted) for case in everything):
            raise UserError(f"--only: found {wanted!r}: give names such as sac, per or sac/per/2: see --list")
    return [case for case in everything if not options.only or any(map(case.matches, options.only))]


def _params(case: Case, options: Namespace) -> Line:
    where = {"algo": case.algo, "strategy": case.strategy, "ranks": case.ranks}
    return where | {"points": options.points, "seed": options.seed, "device": options.device}


def _is_done(line: Line, params: Line, code: str) -> bool:
    """Say whether a line tells that this has been shown for this code; what failed is run again."""
    return bool(line["value"]) and line["code"] == code and params.items() <= line["params"].items()


def _line(result: Result, params: Line, code: str) -> Line:
    line = {"name": "resume_exact", "value": int(result.exact), "unit": "bool"}
    line |= {"params": params | {"kills": len(result.doing)}, "killed_in": dict(Counter(result.doing)), "code": code}
    return line | ({"differs": result.reason} if result.reason else {})


def _read(path: Path | None) -> list[Line]:
    """Lines of a file of results, if there is one. Raises UserError for one that is none."""
    if path is None or not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"--results {path}: cannot be read: {error}: give another file") from None


def _append(path: Path | None, line: Line) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
