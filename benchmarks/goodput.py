"""Goodput of a run that is killed again and again: what it reports, beside a stopwatch outside; and at 30 minutes.

    python benchmarks/goodput.py configs/default.yaml --minutes 20 --kill-every 120 --keep

`headway run` trains; one of its ranks gets SIGKILL at random times, `--kill-every` seconds apart in the mean; the same
command goes on each time; at the end Ctrl-C. The stopwatch knows nothing of the books: it watches when rows come and go
in metrics.jsonl and when a checkpoint is being written. Of each attempt's first update it cannot see the beginning and
takes the median of the others.

From what was measured (start-up of a restarted run, all of `headway run` included, a checkpoint's cost, the time that a
kill takes to be noticed) the second line computes the goodput with a failure every 30 minutes, each of which loses half
an interval between checkpoints. One JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import kept
import yaml

ROOT = Path(__file__).resolve().parents[1]
POLL_S = 0.01
FAILURE_EVERY_S = 1800.0
RANK = b"headway.rank"


@dataclass
class Stopwatch:
    """Sees a run from outside: seconds of each update that is still in metrics.jsonl, None where they are unknown."""

    out: Path
    updates: dict[int, float | None] = field(default_factory=dict)  # by step
    launches: list[float] = field(default_factory=list)
    first_rows: list[float] = field(default_factory=list)  # of each attempt that made one
    _inode: int = 0
    _read: int = 0
    _last_row: float | None = None  # of this attempt
    _saved: float = 0.0  # seconds of saving since then
    _looked: float = 0.0

    def launch(self, now: float) -> None:
        """Note that an attempt begins."""
        self.launches.append(now)
        self._last_row, self._saved, self._looked = None, 0.0, now

    def look(self, now: float) -> None:
        """Take in what has changed since the last look."""
        if any(self.out.glob("checkpoints/*/*/.step-*.partial")):
            self._saved += now - self._looked
        self._looked = now
        path = self.out / "metrics.jsonl"
        if not path.exists():
            return
        if path.stat().st_ino != self._inode:  # cut back to a checkpoint: what is not in it any more is lost
            self._inode, self._read = path.stat().st_ino, 0
            there = {row["step"] for row in self._new_rows(path)}
            self.updates = {step: seconds for step, seconds in self.updates.items() if step in there}
            for step in sorted(there - self.updates.keys()):
                self._row(step, now)
        for row in self._new_rows(path):
            self._row(row["step"], now)

    def _row(self, step: int, now: float) -> None:
        if self._last_row is None:
            self.first_rows.append(now - self.launches[-1])
            self.updates[step] = None
        else:
            self.updates[step] = now - self._last_row - self._saved
        self._last_row, self._saved = now, 0.0

    def _new_rows(self, path: Path) -> list[dict[str, Any]]:
        with path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def has_rows(self) -> bool:
        """Say whether the present attempt has made an update."""
        return self._last_row is not None

    @property
    def update_s(self) -> float:
        """Median seconds of an update."""
        return statistics.median(s for s in self.updates.values() if s is not None)

    @property
    def useful_s(self) -> float:
        """Seconds of the updates that are left."""
        return sum(self.update_s if seconds is None else seconds for seconds in self.updates.values())


def ranks_of(pid: int) -> list[int]:
    """Return the ranks among a process's descendants (Linux)."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it has ended

    def descends(child: int) -> bool:
        while child in parents and child != pid:
            child = parents[child]
        return child == pid

    return [child for child in parents if descends(child) and RANK in _command(child)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def train_and_kill(options: argparse.Namespace, out: Path) -> tuple[Stopwatch, list[float]]:
    """Train for so many minutes; return what the stopwatch saw and the seconds from each kill to the next launch."""
    watch, delays, draws = Stopwatch(out), [], random.Random(options.seed)
    command = [sys.executable, "-m", "headway", "run", options.spec, "--plain", "--out", str(out)]
    for change in changes(options):
        command += ["--set", change]
    until = time.monotonic() + 60 * options.minutes
    while True:
        now = time.monotonic()
        watch.launch(now)
        with (out.parent / "said").open("ab") as said:
            process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        killed_at = follow(process, watch, now + draws.expovariate(1 / options.kill_every), until)
        if killed_at is None:
            return watch, delays
        delays.append(time.monotonic() - killed_at)


def follow(process: subprocess.Popen[bytes], watch: Stopwatch, kill_at: float, until: float) -> float | None:
    """Watch an attempt to its end. Returns when it was killed; None if it saved and left because the time was up.

    The last attempt makes an update at least: goodput is reported with one.
    """
    killed_at: float | None = None
    asked = False
    while process.poll() is None:
        now = time.monotonic()
        watch.look(now)
        if killed_at is None and kill_at <= now < until and (ranks := ranks_of(process.pid)):
            os.kill(ranks[0], signal.SIGKILL)
            killed_at = now
        elif killed_at is None and now >= until and watch.has_rows and not asked:
            process.send_signal(signal.SIGINT)
            asked = True
        time.sleep(POLL_S)
    watch.look(time.monotonic())
    if killed_at is None and process.returncode != 128 + signal.SIGINT:
        said = (watch.out.parent / "said").read_text()[-2000:]
        raise SystemExit(f"headway run ended with {process.returncode}: {said}")
    return killed_at


def changes(options: argparse.Namespace) -> list[str]:
    """Return what is changed in the spec: it trains until it is told to leave."""
    lasting = ["train.totalSteps=1000000000000", "train.curriculum.stopAfterLastGate=false"]
    return [*lasting, f"checkpoint.everySeconds={options.every}", *options.set]


def checkpoint_s(metrics: Path) -> float:
    """Return the mean seconds that a checkpoint has cost, from the rows between which they were booked."""
    booked = [json.loads(line)["time/goodput_checkpointing_s"] for line in metrics.read_text().splitlines()]
    costs = [later - earlier for earlier, later in pairwise(booked) if later > earlier]
    return statistics.mean(costs) if costs else 0.0


def goodput_at(failure_every_s: float, start_up_s: float, delay_s: float, every_s: float, save_s: float) -> float:
    """Return the goodput with a failure every so many seconds, from the parts that each costs.

    After a failure come delay and start-up; the rest is training, of which a share goes into saving; half of what is
    trained between two checkpoints is lost.
    """
    training = (failure_every_s - delay_s - start_up_s) * every_s / (every_s + save_s)
    return (training - every_s / 2) / failure_every_s


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return both lines."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        began = time.monotonic()
        watch, delays = train_and_kill(options, out)
        wall = time.monotonic() - began
        progress = yaml.safe_load((out / "trainingrun.yaml").read_text())["status"]["progress"]
        save_s = checkpoint_s(out / "metrics.jsonl")
    told = progress["goodput"]
    outside = watch.useful_s / wall
    start_up = statistics.mean(watch.first_rows[1:] or watch.first_rows) - watch.update_s
    delay = statistics.mean(delays) if delays else 0.0
    params = {"spec": options.spec, "set": options.set, "checkpoint_every_s": options.every, **kept.machine()}
    checked = {
        "name": "goodput_with_kills", "value": told["fraction"], "unit": "share",
        "params": params | {"minutes": options.minutes, "kill_every_s": options.kill_every, "seed": options.seed},
        "by_stopwatch": round(outside, 4), "difference": round(told["fraction"] - outside, 4),
        "kills": len(delays), "reported": told, "wall_s": round(wall, 1),
        "first_row_s": [round(seconds, 1) for seconds in watch.first_rows], "update_s": round(watch.update_s, 3),
        "revision": kept.revision(),
    }  # fmt: skip
    computed = {
        "name": "goodput_computed",
        "value": round(goodput_at(FAILURE_EVERY_S, start_up, delay, options.every, save_s), 4), "unit": "share",
        "params": params | {"failure_every_s": FAILURE_EVERY_S}, "start_up_s": round(start_up, 2),
        "restart_delay_s": round(delay, 2), "checkpoint_s": round(save_s, 4), "recompute_s": options.every / 2,
        "revision": kept.revision(),
    }  # fmt: skip
    return [checked, computed]


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long it trains, kills and restarts included")
    parser.add_argument("--kill-every", type=float, default=120.0, metavar="S", help="mean seconds to a kill")
    parser.add_argument("--every", type=int, default=60, metavar="S", help="seconds between two checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change a field of the spec")
    parser.add_argument("--keep", action="store_true", help="write the lines to benchmarks/results/")
    for line in measure(options := parser.parse_args()):
        print(json.dumps(line), flush=True)
        if options.keep:
            kept.append(kept.RESULTS / "goodput.jsonl", line)


if __name__ == "__main__":
    main()
