"""What checkpoints cost and what they save, with a replay of a million transitions: SAC on navigation, `headway run`.

    python benchmarks/checkpoint_cost.py [--capacity 1000000] [--seconds 200] [--repeats 5] [--work DIR] [--keep]

First a run fills its replay, without learning. Then, `--repeats` times, it goes on with a checkpoint every minute and
with none, for `--seconds` each, and is ended, once by SIGTERM and once by SIGKILL of all its processes:

    sigterm_to_saved     seconds from the signal to the end of the process; updates_lost: those that it does not hold
    kill_to_first_step   seconds from the kill, over a restart at once, to the first row of a new update
    every_minute_cost    per cent of throughput, by the steps and times of the rows themselves

Prints one JSON object a line, medians with all values. With --keep it writes them to benchmarks/results/. The figures
mean something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import kept
import yaml

NAME = "checkpoint_cost"
NEVER_S = 86400
WARM_ROWS = 2  # after each start: kernels are loaded, memory is touched
WAIT_S = 1800.0

Row = dict[str, float]


def document(capacity: int, envs: int, update_steps: int) -> dict[str, Any]:
    """Return the run: it acts at random until its replay is full, and learns from then on."""
    algo = {"batchSize": 256, "learningStarts": capacity, "updateSteps": update_steps, "replay": {"capacity": capacity}}
    stage = {"name": "sparse", "levels": {"world": {"clutter": {"sizeMeters": 10.0, "fill": 0.06}}}}
    train = {
        "totalSteps": 10**10, "numEnvs": envs, "env": {"nav": {}}, "algo": {"sac": algo},
        "network": {"mlp": {"hidden": [128, 128]}}, "curriculum": {"stages": [stage], "stopAfterLastGate": False},
    }  # fmt: skip
    run = {"apiVersion": "headway.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "cost"}}
    return run | {"spec": {"train": train}}


class Run:
    """The run in its folder, one process at a time."""

    def __init__(self, work: Path, spec: dict[str, Any]) -> None:
        self.out, self.file = work / "out", work / "run.yaml"
        self.file.write_text(yaml.safe_dump(spec))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, every_s: int) -> None:
        """Go on, or begin."""
        command = [sys.executable, "-m", "headway", "run", str(self.file), "--out", str(self.out), "--plain"]
        command += ["--set", f"checkpoint.everySeconds={every_s}"]
        with (self.out.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def rows(self) -> list[Row]:
        """Whole lines of metrics.jsonl."""
        path = self.out / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def newest(self) -> int:
        """Step of the newest checkpoint; 0 without."""
        return max((int(path.name[5:].split(".")[0]) for path in self.out.glob("checkpoints/*/*/step-*")), default=0)

    def wait_until(self, condition: Callable[[list[Row]], bool]) -> list[Row]:
        """Wait for rows; raises RuntimeError where the process ends, or nothing comes."""
        end = time.monotonic() + WAIT_S
        while not condition(rows := self.rows()):
            if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the run has ended or stands still: {self.out.parent / 'log'}")
            time.sleep(0.02)
        return rows

    def first_new_row(self, step: int) -> None:
        """Wait for an update after `step`, made since the start: rows after the checkpoint are cut first."""
        began = time.time()
        metrics = self.out / "metrics.jsonl"
        self.wait_until(lambda rows: metrics.stat().st_mtime > began and bool(rows) and rows[-1]["step"] > step)

    def terminate(self) -> tuple[float, int]:
        """Return the seconds from SIGTERM to the end of the process, and the updates that were made and not saved."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(WAIT_S)
        seconds, saved = time.monotonic() - began, self.newest()
        return seconds, sum(row["step"] > saved for row in self.rows())

    def kill(self) -> None:
        """SIGKILL for every process of the run, at once."""
        assert self.process is not None
        family = descendants(self.process.pid)
        for pid in (self.process.pid, *family):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


def descendants(pid: int) -> list[int]:
    """Processes below `pid`."""
    children = [int(p) for path in Path(f"/proc/{pid}/task").glob("*/children") for p in path.read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def throughput(rows: list[Row]) -> float:
    """Steps a second over all of these rows; each tells the rate since the one before."""
    steps = [after["step"] - before["step"] for before, after in pairwise(rows)]
    seconds = [step / row["time/steps_per_s"] for step, row in zip(steps, rows[1:], strict=True)]
    return sum(steps) / sum(seconds)


def trained_for(run: Run, every_s: int, seconds: float) -> float:
    """Go on for so long; return the throughput. The process still runs."""
    before = run.newest()
    run.start(every_s)
    warm = len(run.wait_until(lambda rows: sum(row["step"] > before for row in rows) >= WARM_ROWS))
    end = time.monotonic() + seconds
    rows = run.wait_until(lambda rows: time.monotonic() > end and len(rows) >= warm + 2)
    return throughput(rows[warm - 1 :])


def one_repeat(run: Run, options: argparse.Namespace, found: dict[str, list[float]]) -> None:
    """Add one value of each figure to `found`."""
    with_s = trained_for(run, options.every, options.seconds)
    seconds, lost = run.terminate()
    found["sigterm_to_saved"].append(seconds)
    found["updates_lost"].append(lost)
    without = trained_for(run, NEVER_S, options.seconds)
    run.terminate()
    found["every_minute_cost"].append(100.0 * (1.0 - with_s / without))
    found["steps_per_s"].append(without)
    step = run.newest()
    run.start(options.every)
    run.wait_until(lambda rows: sum(row["step"] > step for row in rows) >= WARM_ROWS)
    run.kill()
    began, step = time.monotonic(), run.newest()
    run.start(options.every)
    run.first_new_row(step)
    found["kill_to_first_step"].append(time.monotonic() - began)
    run.terminate()


def lines(found: dict[str, list[float]], run: Run, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One line a figure."""
    files = (path for path in run.out.rglob("*.safetensors") if "segments" in path.parts)
    params = {"capacity": options.capacity, "envs": options.envs, "updateSteps": options.update_steps}
    params |= {"everySeconds": options.every, "seconds": options.seconds, "repeats": options.repeats}
    params |= {"replay_bytes": sum(path.stat().st_size for path in files), "algo": "sac", "device": "cpu"}
    about = {"params": params | kept.machine(), "revision": kept.revision()}
    units = {"sigterm_to_saved": "s", "updates_lost": "updates", "kill_to_first_step": "s", "every_minute_cost": "%"}
    units |= {"steps_per_s": "steps/s"}
    return [
        {"name": name, "value": round(statistics.median(values), 2), "unit": units[name]}
        | {"all": [round(value, 2) for value in values]} | about
        for name, values in found.items()
    ]  # fmt: skip


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=int, default=1_000_000)
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--update-steps", type=int, default=8192)
    parser.add_argument("--every", type=int, default=60, help="seconds between two checkpoints")
    parser.add_argument("--seconds", type=float, default=200.0, help="of each turn: some checkpoints must fall into it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, help="an empty folder on the disk that is to be measured")
    parser.add_argument("--keep", action="store_true", help=f"write the lines to benchmarks/results/{NAME}.jsonl")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        run = Run(Path(folder), document(options.capacity, options.envs, options.update_steps))
        run.start(NEVER_S)
        run.wait_until(lambda rows: bool(rows) and rows[-1]["step"] > options.capacity + options.update_steps)
        run.terminate()
        names = ("sigterm_to_saved", "updates_lost", "kill_to_first_step", "every_minute_cost", "steps_per_s")
        found: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(options.repeats):
            one_repeat(run, options, found)
        result = lines(found, run, options)
    for line in result:
        print(json.dumps(line))
    if options.keep:
        kept.write(kept.RESULTS / f"{NAME}.jsonl", result)


if __name__ == "__main__":
    main()
