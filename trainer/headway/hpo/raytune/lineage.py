"""A population's lineage: after each generation, whose checkpoint every trial goes on from, and with which values.

OUT/lineage.jsonl has a line for each trial and generation, all lines of a generation or none: it is replaced as a whole
before anybody goes on. So after a kill at any moment it says what is being trained, and what was trained can be trained
again by it.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from headway_api.base import Contract, Float, Int
from pydantic import Field, ValidationError

from headway.errors import UserError
from headway.local.folder import write_whole

FILE = "lineage.jsonl"
Values = dict[str, Any]  # by path


class Line(Contract):
    """How one trial goes on after one generation."""

    generation: Int = Field(ge=1, description="The one that has ended.")
    trial: Int = Field(ge=0, description="Who goes on.")
    parent: Int = Field(ge=0, description="From whose checkpoint; its own number: from where it is.")
    score: Float | None = Field(
        None, description="What the trial had reached: the objective, or its negative to minimise."
    )
    step: Int = Field(ge=0, description="Environment steps of the parent's checkpoint.")
    run: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Folder of the run that goes on, below trials/.")
    root: Int = Field(ge=0, description="The trial whose seed the run trains with.")
    old: dict[str, Any] = Field(description="The trial's values until now.")
    new: dict[str, Any] = Field(description="Its values from now on.")

    @property
    def is_branch(self) -> bool:
        """Whether it goes on from another trial's checkpoint."""
        return self.parent != self.trial


@dataclass(frozen=True)
class Member:
    """What a trial trains in a generation."""

    run: str  # folder below trials/
    root: int
    values: Values
    offset: int = 0  # evaluations before the run began
    is_branch: bool = False  # its run began from a checkpoint in branches/<run>/


def read(path: Path) -> list[list[Line]]:
    """Return the lines by generation; none without the file. Raises UserError for a file that is damaged."""
    lines = []
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            lines.append(Line.model_validate_json(line))
        except ValidationError as error:
            what = error.errors()[0]["msg"]
            raise UserError(f"{path}: line {number}: {what}: restore it, or give another --out") from None
    return [list(group) for _, group in groupby(lines, key=lambda line: line.generation)]


def write(path: Path, generations: list[list[Line]]) -> None:
    """Replace the file, whole at any moment."""
    write_whole(path, "".join(f"{json.dumps(line.to_wire())}\n" for lines in generations for line in lines))


def member_after(first: Member, trial: int, generations: list[list[Line]], interval: int) -> Member:
    """Return what the trial trains after these generations, each of `interval` evaluations."""
    member = first
    for lines in generations:
        for line in lines:
            if line.trial == trial and line.is_branch:
                member = Member(line.run, line.root, line.new, line.generation * interval, is_branch=True)
    return member


@dataclass(frozen=True)
class Part:
    """A part of the schedule that a trial's policy was trained by."""

    begin: int  # environment steps before it
    values: Values


def schedule(first: Mapping[int, Member], trial: int, generations: list[list[Line]]) -> tuple[int, list[Part]]:
    """Return whose seed the trial's policy was trained with, and its values from its first ancestor on."""
    parts: list[Part] = []
    at = trial
    for lines in reversed(generations):
        line = next((line for line in lines if line.trial == at), None)
        if line is not None and line.is_branch:
            parts.insert(0, Part(line.step, line.new))
            at = line.parent
    return first[at].root, [Part(0, first[at].values), *parts]


def quantiles(scores: Mapping[int, float], quantile: float) -> tuple[list[int], list[int]]:
    """Return who is replaced, and by whom: the worst and the best, of each `quantile` of all, rounded up.

    As in Ray's PopulationBasedTraining: never more than half of them; of equal scores the smaller number is better.
    """
    order = sorted(scores, key=lambda trial: (scores[trial], -trial))
    count = min(math.ceil(len(order) * quantile), len(order) // 2)
    return order[:count], order[len(order) - count :]


Explore = Callable[[int, int, random.Random], Values]  # trial, parent -> new values


def decide(
    members: Mapping[int, Member],
    scores: Mapping[int, float],
    steps: Mapping[int, int],
    generation: int,
    quantile: float,
    seed: int,
    explore: Explore,
) -> list[Line]:
    """Return how each of `members` goes on. `scores` are the higher the better; the same arguments, the same lines."""
    worst, best = quantiles(scores, quantile)
    lines = []
    for trial, member in sorted(members.items()):
        rng = random.Random(f"{seed}/{generation}/{trial}")
        parent = rng.choice(best) if trial in worst else trial
        is_branch = parent != trial
        reached = {"score": scores[trial]} if math.isfinite(scores[trial]) else {}
        lines.append(
            Line(
                **reached,
                generation=generation,
                trial=trial,
                parent=parent,
                step=steps[parent],
                run=branch_name(member.run, generation) if is_branch else member.run,
                root=members[parent].root,
                old=member.values,
                new=explore(trial, parent, rng) if is_branch else member.values,
            )
        )
    return lines


def branch_name(run: str, generation: int) -> str:
    """Return the folder of a branch: search-3 becomes search-3-g1, and that search-3-g4."""
    head, mark, last = run.rpartition("-g")
    return f"{head if mark and last.isdigit() else run}-g{generation}"
