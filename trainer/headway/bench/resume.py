"""Proof that a run which is killed anywhere goes on bit for bit: it is killed, again and again, and compared.

A run trains to its end without being disturbed. The same run is then killed with SIGKILL, a random rank at a random
moment of wall-clock time, whatever it is doing, and started again as the next attempt, until it comes to its end too.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import random
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headway_api.train_spec import TrainSpec

from headway.bench import gang
from headway.bench.gang import Rank
from headway.bench.resume_compare import first_difference
from headway.bench.resume_specs import UPDATES, Case
from headway.checkpoint.lineage import positions_under

UID: Final = "bench"
LONGEST_S: Final = 600.0  # that an attempt may take
GRACE_S: Final = 3.0
STACK_S: Final = 1.0  # that a rank may take to tell where it is: it is not always on a core
POLL_S: Final = 0.005
# What a killed rank was doing, by a function that it was in: the first of these that is found.
DOING: Final = (
    ("evaluation", "evaluate_if_due"),
    ("save", "save"),
    ("update", "_train|update"),
    ("collect", "collect"),
    ("begin", "begin|__init__"),
)


@dataclass
class Result:
    """How one case came out."""

    case: Case
    exact: bool = False
    reason: str = ""  # why not
    doing: list[str] = field(default_factory=list)  # what the killed ranks were doing


@dataclass
class Run:
    """One run in a folder of its own; each start of it is one more attempt."""

    spec: TrainSpec
    ranks: int
    out: Path
    device: str = "cpu"
    attempt: int = 0

    @property
    def root(self) -> Path:
        """Of its checkpoints."""
        return self.out / "checkpoints"

    def progress(self) -> float:
        """Share of the run that its newest checkpoint holds."""
        return max((place.step for place in positions_under(self.root)), default=0) / self.spec.total_steps

    def start(self, every_s: float = 0.0) -> list[Rank]:
        """Begin the next attempt, which saves every so many seconds; 0: after every update."""
        self.attempt += 1
        for rank in range(self.ranks):
            self.stack(rank).unlink(missing_ok=True)
        return gang.start(self.ranks, train_a_rank, self.spec.to_wire(), self.out, self.attempt, every_s, self.device)

    def finish(self) -> tuple[float, float]:
        """Go on to the end; return the seconds until this attempt's first checkpoint, and those between two of them.

        Raises RuntimeError if a rank fails.
        """
        began = time.monotonic()
        ranks, first = self.start(), 0.0
        while not first and any(rank.process.is_alive() for rank in ranks):
            time.sleep(POLL_S)
            if any(place.attempt == self.attempt for place in positions_under(self.root)):
                first = time.monotonic() - began
        for number, (code, output) in enumerate(gang.finish(ranks, LONGEST_S)):
            if code != 0:
                last = (output.strip().splitlines() or [""])[-1]
                raise RuntimeError(f"attempt {self.attempt}: rank {number} ended with code {code}: {last}")
        whole = time.monotonic() - began
        return first or whole, max(0.0, whole - first) / UPDATES

    def kill(self, victim: int, progress: float, lag_s: float, every_s: float) -> str:
        """Begin an attempt and kill rank `victim`, `lag_s` after the run has come so far; return what it was doing.

        Returns nothing if it had ended before.
        """
        ranks = self.start(every_s)
        while self.progress() < progress and ranks[victim].process.is_alive():
            time.sleep(POLL_S)
        ranks[victim].process.join(lag_s)
        doing = _doing(ranks[victim], self.stack(victim))
        ranks[victim].kill()
        for (
            rank
        ) in ranks:  # the others notice, or wait for one that never joined them, and are ended as a launcher does
            rank.process.join(GRACE_S)
            rank.kill()
        codes = [code for code, _ in gang.finish(ranks)]
        return doing if codes[victim] == -signal.SIGKILL else ""

    def stack(self, rank: int) -> Path:
        """Where a rank leaves its stack when it is asked for it."""
        return self.out / f"stack-{rank}"


def prove(case: Case, points: int, seed: int, folder: Path, device: str = "cpu") -> Result:
    """Train the case twice under `folder`, once with `points` kills, and compare."""
    spec, result = case.spec(device=device), Result(case)
    whole, killed = (Run(spec, case.ranks, folder / name, device) for name in ("whole", "killed"))
    draws = random.Random(f"{seed} {case.name}")
    try:
        times = whole.finish()
        for point in range(points):
            progress, lag_s = moment(draws, point, points, killed.progress(), *times)
            every_s = draws.choice((0.0, 1.5 * times[1]))
            if doing := killed.kill(draws.randrange(case.ranks), progress, lag_s, every_s):
                result.doing.append(doing)
        killed.finish()
        difference = first_difference(whole.out, killed.out, UID)
    except (RuntimeError, TimeoutError, ValueError) as error:
        result.reason = str(error)
        return result
    result.exact, result.reason = difference is None, str(difference or "")
    return result


def moment(
    draws: random.Random, point: int, points: int, progress: float, first_s: float, update_s: float
) -> tuple[float, float]:
    """When kill number `point` of `points` falls: after which share of the run is saved, and how many seconds later.

    Each falls into its part of the run, anywhere in an update, which takes `update_s`; where the run has come so far
    already, into the time until an attempt's first checkpoint, about `first_s`.
    """
    wanted = math.floor((point + draws.random()) / points * UPDATES) / UPDATES
    return wanted, draws.random() * (first_s if progress >= wanted else update_s)


def train_a_rank(wire: dict[str, Any], out: Path, attempt: int, every_s: float, device: str) -> None:
    """What one rank does: train as the launcher's ranks do, in the folder `out`."""
    from headway.run_context import RunContext
    from headway.train import train

    logging.basicConfig(level=logging.INFO)
    rank = int(os.environ["RANK"])
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"stack-{rank}").open("a") as stack:
        faulthandler.register(signal.SIGUSR1, stack)
        stack.write("\n")  # from now on the signal does not end the process
        stack.flush()
        run = RunContext(
            namespace="bench", name="resume", uid=UID, attempt=attempt, out=out, checkpoints=out / "checkpoints",
            checkpoint_every_s=every_s, keep=2, rank=rank, world_size=int(os.environ["WORLD_SIZE"]), threads=1,
            device=device,
        )  # fmt: skip
        train(TrainSpec.model_validate(wire), run, lambda: False, lambda snapshot: None)


def _doing(rank: Rank, stack: Path) -> str:
    """Ask a rank for its stack, and say what it is doing."""
    if rank.process.pid is None or not rank.process.is_alive() or not stack.exists() or not stack.stat().st_size:
        return "start"
    stack.write_text("\n")
    os.kill(rank.process.pid, signal.SIGUSR1)
    until = time.monotonic() + STACK_S
    while (text := stack.read_text()).count("\n") < 2 and time.monotonic() < until:
        time.sleep(POLL_S)
    return next((what for what, names in DOING if re.search(rf"line \d+ in ({names})$", text, re.MULTILINE)), "other")
