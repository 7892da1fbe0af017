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
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
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
LAST: Final = (UPDATES - 1) / UPDATES  # share of the run that is saved when its last update begins
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


@dataclass(frozen=True)
class Pace:
    """How long an undisturbed run takes, in seconds."""

    first_s: float  # until the first checkpoint
    update_s: float  # from one to the next, in the middle
    shortest_s: float

    @classmethod
    def of(cls, at: Sequence[float]) -> Pace:
        """From the times of its checkpoints, at least two."""
        gaps = [after - before for before, after in pairwise(at)]
        return cls(at[0], statistics.median(gaps), min(gaps))


@dataclass(frozen=True)
class Moment:
    """When a rank is killed."""

    progress: float  # once this share of the run is saved
    lag_s: float  # and so many seconds later
    tail_s: float  # or so many after the last update has begun, if that comes first


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

    def start(self) -> list[Rank]:
        """Begin the next attempt, which saves after every update."""
        self.attempt += 1
        for rank in range(self.ranks):
            self.stack(rank).unlink(missing_ok=True)
        return gang.start(self.ranks, train_a_rank, self.spec.to_wire(), self.out, self.attempt, self.device)

    def finish(self) -> list[float]:
        """Go on to the end; return when checkpoints came, in seconds. Raises RuntimeError if a rank fails."""
        began, progress = time.monotonic(), self.progress()
        at: list[float] = []
        ranks = self.start()
        while any(rank.process.is_alive() for rank in ranks) and time.monotonic() - began < LONGEST_S:
            time.sleep(POLL_S)
            if (now := self.progress()) > progress:
                progress = now
                at.append(time.monotonic() - began)
        for number, (code, output) in enumerate(gang.finish(ranks, GRACE_S)):
            if code != 0:
                last = (output.strip().splitlines() or [""])[-1]
                raise RuntimeError(f"attempt {self.attempt}: rank {number} ended with code {code}: {last}")
        return at

    def kill(self, victim: int, moment: Moment) -> str:
        """Begin an attempt and kill rank `victim`; return what it was doing, nothing if it had ended before."""
        ranks = self.start()
        self._await(ranks[victim], moment)
        doing = _doing(ranks[victim], self.stack(victim))
        ranks[victim].kill()
        # The others notice, or wait for one that never joined them; they are ended, as a launcher does.
        for rank in ranks:
            rank.process.join(GRACE_S)
            rank.kill()
        codes = [code for code, _ in gang.finish(ranks)]
        return doing if codes[victim] == -signal.SIGKILL else ""

    def _await(self, victim: Rank, moment: Moment) -> None:
        while victim.process.is_alive() and self.progress() < moment.progress:
            time.sleep(POLL_S)
        until = time.monotonic() + moment.lag_s
        while victim.process.is_alive() and time.monotonic() < until:
            if self.progress() >= LAST:  # faster than before: in its last update at the latest
                victim.process.join(moment.tail_s)
                return
            time.sleep(POLL_S)

    def stack(self, rank: int) -> Path:
        """Where a rank leaves its stack when it is asked for it."""
        return self.out / f"stack-{rank}"


def prove(case: Case, points: int, seed: int, folder: Path, device: str = "cpu") -> Result:
    """Train the case twice under `folder`, once with `points` kills, and compare."""
    spec, result = case.spec(device=device), Result(case)
    whole, killed = (Run(spec, case.ranks, folder / name, device) for name in ("whole", "killed"))
    draws = random.Random(f"{seed} {case.name}")
    try:
        pace = Pace.of(whole.finish())
        for point in range(points):
            at = moment(draws, point / points, 1 / points, killed.progress(), pace)
            if doing := killed.kill(draws.randrange(case.ranks), at):
                result.doing.append(doing)
        killed.finish()
        difference = first_difference(whole.out, killed.out, UID)
    except (RuntimeError, TimeoutError, ValueError) as error:
        result.reason = str(error)
        return result
    result.exact, result.reason = difference is None, str(difference or "")
    return result


def moment(draws: random.Random, first: float, width: float, progress: float, pace: Pace) -> Moment:
    """Draw when a kill falls: into the part of the run from `first` on, anywhere in an update.

    Where the run has come so far already, it falls into the time until an attempt's first checkpoint.
    """
    updates = min(math.floor((first + width * draws.random()) * UPDATES), UPDATES - 2)
    longest_s = pace.first_s if progress >= updates / UPDATES else pace.update_s
    return Moment(updates / UPDATES, draws.random() * longest_s, draws.random() * pace.shortest_s)


def train_a_rank(wire: dict[str, Any], out: Path, attempt: int, device: str) -> None:
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
            checkpoint_every_s=0.0, keep=2, rank=rank, world_size=int(os.environ["WORLD_SIZE"]), threads=1,
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
