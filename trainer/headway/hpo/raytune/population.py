"""Population-based training in generations: what Ray runs in each, and how the next one goes on.

Ray's own schedulers for it keep who is where in memory and in pickles; here the record and lineage.jsonl say it all,
and a generation is a round of Ray's loop, in which each trial trains on to the generation's last evaluation.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headway_api.hpo_study import HPOStudy
from headway_api.ray_rules import population
from headway_api.trials import run_document, run_name
from pydantic import ValidationError

from headway.hpo.core import StudyCore
from headway.hpo.pruners import evaluations_per_run
from headway.hpo.raytune import lineage
from headway.hpo.raytune.book import Book
from headway.hpo.raytune.branches import keep, newest_checkpoint
from headway.hpo.raytune.explore import Bandit, perturbed
from headway.hpo.raytune.lineage import Member, Values

BRANCHES = "branches"  # below OUT: the checkpoints that branches began from, as long as the study is kept


class PopulationBook(Book):
    """The trials of a study as a population. All train, generation by generation, until all are complete."""

    def __init__(self, study: HPOStudy, core: StudyCore, out: Path) -> None:
        super().__init__(study, core, out)
        self._settings = population(self._spec)
        self._interval: int = self._settings.interval_evaluations
        self._last = evaluations_per_run(self._spec)
        self._file = out / lineage.FILE
        self._generations = lineage.read(self._file)
        self._sign = 1 if self._spec.objectives[0].direction == "maximize" else -1
        self._asked: dict[int, Values] = {}
        self._waiting: list[int] = []  # who trains in this generation and is not handed out yet

    @property
    def generation(self) -> int:
        """The generation that is being trained, from 1."""
        return len(self._generations) + 1

    @property
    def until(self) -> int:
        """The last evaluation of this generation."""
        return min(self.generation * self._interval, self._last)

    def rounds(self) -> Iterator[int]:
        """Yield how many trials train in each generation; after each, decide how all go on."""
        while not self.leave.is_set() and (alive := self._alive()):
            for number in alive:
                self._core.change(number, self.member(number).values)  # again, if killed after the lineage was written
            self._waiting = [number for number in alive if not self._is_there(number)]
            if self._waiting:
                yield len(self._waiting)
            if not self.leave.is_set() and self.until < self._last:
                self._go_on()

    def next(self) -> dict[str, Any] | None:
        """Return what the next trial's actor is told; None once all of the generation are handed out."""
        while self._waiting:
            if config := self._begin(self._waiting.pop(0)):
                return config
        return None

    def folder(self, number: int) -> Path:
        """Where a trial's run is; a branch has a folder of its own."""
        return self._out / "trials" / self.member(number).run

    def member(self, number: int) -> Member:
        """Return what a trial trains in this generation."""
        values = self._asked.get(number) or self._core.ask(number)
        self._asked[number] = values
        first = Member(run_name(self._study.metadata.name, number, 0, 1), number, values)
        return lineage.member_after(first, number, self._generations, self._interval)

    def document(self, number: int) -> dict[str, Any]:
        """Return the run. A branch has the seed of the trial that its checkpoint descends from, as it must."""
        member = self.member(number)
        document = run_document(self._spec, member.run, member.values, member.root, 0)
        if member.is_branch:
            (begin,) = (self._out / BRANCHES / member.run).iterdir()
            document["spec"].setdefault("checkpoint", {})["resume"] = str(begin.resolve())
        return document

    def told(self, number: int) -> dict[str, Any]:
        """Return what an actor is told besides its run."""
        every = self._spec.run_template.train.evaluation.every_steps
        leave_at = self.until * every if self.until < self._last else 0
        return {"offset": self.member(number).offset, "leave_at": leave_at}

    # --- between generations ------------------------------------------------------------------------------------
    def _alive(self) -> list[int]:
        """Return the trials that have not ended."""
        finished = self._core.snapshot().finished
        return [number for number in range(self._spec.budget.trials) if str(number) not in finished]

    def _is_there(self, number: int) -> bool:
        """Whether a trial has made this generation's evaluations. In the last one it has to be told, too."""
        return self.until < self._last and self._known.get(number, 0) >= self.until

    def _go_on(self) -> None:
        """Decide whose checkpoint each goes on from, keep the checkpoints that branches begin from, write it down."""
        curves, alive = self._values_at(self.until), self._alive()
        scores = {number: curves.get(number, -math.inf) for number in alive}
        members = {number: self.member(number) for number in alive}
        found = {number: newest_checkpoint(self.folder(number)) for number in alive}
        steps = {number: at.manifest.step for number, at in found.items()}
        explore = self._explorer(members, scores)
        lines = lineage.decide(
            members, scores, steps, self.generation, self._settings.quantile, self._spec.seed, explore
        )
        for line in lines:
            if line.is_branch:
                keep(found[line.parent].directory, self._out / BRANCHES / line.run)
                self.said.append(
                    f"trial {line.trial} goes on from trial {line.parent} at step {line.step:,}: "
                    + ", ".join(f"{path.rpartition('.')[2]} {value:.3g}" for path, value in line.new.items())
                )
        lineage.write(self._file, [*self._generations, lines])
        best = max(alive, key=lambda number: (scores[number], -number))
        ended = f"generation {self.generation} of {math.ceil(self._last / self._interval)} has ended"
        self.said.append(f"{ended}: best {self._sign * scores[best]:.4g} (trial {best})")
        self._generations.append(lines)

    def _explorer(self, members: dict[int, Member], scores: dict[int, float]) -> lineage.Explore:
        """Return what chooses new values; those that make no run together are not taken."""
        parameters = self._spec.parameters
        values = {number: member.values for number, member in members.items()}
        bandit = Bandit(parameters, self._generations, scores, values, self._spec.seed)

        def explore(trial: int, parent: int, rng: random.Random) -> Values:
            if self._spec.engine.ray_tune is not None and self._spec.engine.ray_tune.scheduler.pbt is not None:
                new = perturbed(parameters, values[parent], self._settings.resample_probability, rng)
            else:
                new = bandit.explore(trial, parent, values[parent])
            try:
                run_document(self._spec, members[parent].run, new, members[parent].root, 0)
            except ValidationError:
                return values[parent]
            return new

        return explore

    def _values_at(self, evaluation: int) -> dict[int, float]:
        """Return the objective at an evaluation, the higher the better, of all trials that have it."""
        return {n: self._sign * curve[evaluation] for n, curve in self._core.curves().items() if evaluation in curve}
