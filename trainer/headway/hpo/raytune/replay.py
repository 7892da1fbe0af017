"""Training again by the schedule that a population has found: the lineage of one trial, without the others.

With the seed that the trial had, the end is the same to the last bit on the machine that trained it; with another
one it is what the schedule is worth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway_api.hpo_study import HPOStudy
from headway_api.load import validate
from headway_api.trials import run_document, run_name

from headway.checkpoint import MODEL
from headway.checkpoint.lineage import file_hash
from headway.errors import UserError
from headway.hpo.core import StudyCore
from headway.hpo.local.trial import LocalTrial
from headway.hpo.raytune.branches import newest_checkpoint
from headway.hpo.raytune.lineage import FILE, Member, Part, member_after, read, schedule
from headway.local.attempt import End

TICK_S = 0.2


@dataclass(frozen=True)
class Replay:
    """What is trained again, and where."""

    study: HPOStudy
    trial: int
    root: int  # the trial whose seed it had
    parts: list[Part]
    original: Path  # the trial's last run
    seed: int | None  # another than the trial's
    place: Path

    @classmethod
    def of(
        cls, study: HPOStudy, core: StudyCore, out: Path, trial: int | None, seed: int | None, place: Path | None
    ) -> Replay:
        """Read it from a study's folder; of the best trial if none is named. Raises UserError."""
        generations = read(out / FILE)
        if not generations:
            raise UserError(f"{out}: holds no {FILE}: only studies with pbt or pb2 have one")
        best = next((row.number for row in core.snapshot().best), None)
        number = trial if trial is not None else best
        if number is None:
            raise UserError(f"{out}: no trial is complete: finish the study first, or give --trial")
        if not 0 <= number < study.spec.budget.trials:
            raise UserError(f"--trial: found {number}: give one from 0 to {study.spec.budget.trials - 1}")
        first = {
            n: Member(run_name(study.metadata.name, n, 0, 1), n, core.ask(n)) for n in range(study.spec.budget.trials)
        }
        root, parts = schedule(first, number, generations)
        last = member_after(first[number], number, generations, 1)
        place = place or out / (f"replay-{number}" if seed is None else f"replay-{number}-seed-{seed}")
        return cls(study, number, root, parts, out / "trials" / last.run, seed, place)

    def train(self) -> Iterator[str]:
        """Train part after part, saying what each is. Raises UserError if one fails."""
        resume = ""
        for index, part in enumerate(self.parts):
            until = self.parts[index + 1].begin if index + 1 < len(self.parts) else 0
            what = ", ".join(f"{path.rpartition('.')[2]} {value:.4g}" for path, value in part.values.items())
            yield f"from step {part.begin:,} {f'to {until:,}' if until else 'to the end'}: {what}"
            folder = self.place / f"part-{index + 1}"
            self._run(self._document(part, folder.name, resume), folder, until)
            resume = str(newest_checkpoint(folder).directory.resolve())

    def policy(self) -> Path:
        """Return the last part's newest checkpoint."""
        return newest_checkpoint(self.place / f"part-{len(self.parts)}").directory

    def is_same(self) -> bool:
        """Say whether the weights are the trial's own, bit by bit."""
        return file_hash(self.policy() / MODEL) == file_hash(newest_checkpoint(self.original).directory / MODEL)

    def _document(self, part: Part, name: str, resume: str) -> dict[str, Any]:
        document = run_document(self.study.spec, name, part.values, self.root, 0)
        if self.seed is not None:
            document["spec"]["train"]["seed"] = self.seed
        if resume:
            document["spec"].setdefault("checkpoint", {})["resume"] = resume
        return document

    def _run(self, document: dict[str, Any], folder: Path, until: int) -> None:
        run = LocalTrial(self.trial, 0, validate(document), folder, until)
        while (ended := run.ended) is None:
            time.sleep(TICK_S)
        if ended.end not in (End.DONE, End.SAVED):
            raise UserError(f"{folder}: {ended.error}: see {folder / 'logs'}")
