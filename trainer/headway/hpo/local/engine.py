"""The loop of a local study: takes in what runs have found, ends them, starts others, until the budget is used up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml
from headway_api import names
from headway_api.hpo_study import BestTrial, HPOStudy
from headway_api.load import validate
from headway_api.study_wire import StudySnapshot
from headway_api.trials import UnknownPathError, run_document, run_name, tuned_name
from pydantic import ValidationError

from headway.hpo.core import StudyCore
from headway.hpo.local.trial import LocalTrial
from headway.local.attempt import End, Ended
from headway.local.folder import Folder, write_whole
from headway.local.interrupts import Interrupts
from headway.view import View

TICK_S = 0.2  # between rounds


class ShownTrial(Protocol):
    """What a screen shows of a trial that runs."""

    number: int
    seed_index: int
    pruned: bool
    view: View | None

    @property
    def step(self) -> int:
        """Environment steps so far, as last reported."""
        ...


@dataclass(frozen=True)
class Moment:
    """What a screen shows."""

    snapshot: StudySnapshot
    running: list[ShownTrial]
    seconds: float  # since this command was started
    leaving: bool


class Engine:
    """Runs trials of one study in folders below `out`, `parallel` at a time."""

    def __init__(self, study: HPOStudy, core: StudyCore, out: Path) -> None:
        self.study, self.core, self._out = study, core, out
        self._spec = study.spec
        self._running: dict[int, LocalTrial] = {}
        self._began = time.monotonic()
        self._ending = ""  # why nothing more is started; what runs is stopped
        self._leaving = False
        self._best: BestTrial | None = None
        self.best_note = ""  # comment lines in best.yaml
        self.said: list[str] = []  # what has happened, for the screen to take away
        self.snapshot = core.snapshot()
        self._first_asked = self.snapshot.began or time.time()

    def moment(self) -> Moment:
        """Return the present moment."""
        return Moment(self.snapshot, self._in_progress(), time.monotonic() - self._began, self._leaving)

    def is_over(self, interrupts: Interrupts) -> bool:
        """Do one round; say whether all is finished, or saved and left."""
        if interrupts.asked_to_leave and not self._leaving:
            self._leaving = True
            for trial in self._running.values():
                trial.save_and_leave()
        if interrupts.ctrl_c > 1:
            for trial in self._running.values():
                trial.abandon()
        for trial in list(self._running.values()):
            self._look_after(trial)
        self.snapshot = self.core.snapshot()
        self._keep_best()
        self._keep_to_budget()
        if not self._leaving and not self._ending:
            self._start_more()
        return not self._running

    def _in_progress(self) -> list[ShownTrial]:
        """Trials that run, by number."""
        return sorted(self._running.values(), key=lambda trial: trial.number)

    @property
    def is_finished(self) -> bool:
        """Whether no trial is left to be run."""
        counts = self.snapshot.trials
        return bool(self._ending) or counts.finished >= counts.total

    @property
    def failure(self) -> str:
        """Why the study has failed; empty if it has not."""
        limit = self._spec.budget.failed
        failed = self.snapshot.trials.failed
        return f"{failed} trials have failed (budget.failed)" if limit is not None and failed >= limit else ""

    # --- one trial ----------------------------------------------------------------------------------------------
    def _look_after(self, trial: LocalTrial) -> None:
        ended = trial.ended
        is_over = ended is not None and ended.end is End.DONE
        is_to_stop = self.core.report(trial.number, trial.seed_index, trial.evaluations(), is_over)
        if ended is not None:
            self._conclude(trial, ended, is_to_stop)
        elif is_to_stop and not trial.pruned:
            trial.pruned = True
            trial.save_and_leave()

    def _conclude(self, trial: LocalTrial, ended: Ended, is_to_stop: bool) -> None:
        """Take a run that has ended out, or start it again."""
        restarts = self._spec.run_template.failure_policy.max_restarts
        is_last_seed = trial.seed_index + 1 == self._spec.seeds_per_trial
        if ended.end is End.DONE and (is_last_seed or is_to_stop):
            self._tell(trial, "complete" if is_last_seed else "pruned")
        elif ended.end is End.DONE:
            del self._running[trial.number]
            self._start(trial.number, trial.seed_index + 1)
        elif ended.end is End.SAVED and (trial.pruned or self._ending):
            self._tell(trial, "pruned", self._ending)
        elif ended.end in (End.SAVED, End.ABANDONED):
            del self._running[trial.number]  # to be gone on with by the same command
        elif ended.exit_code == names.EXIT_BAD_INPUT or trial.restarts >= restarts:
            self._tell(trial, "failed", ended.error)
        elif not self._leaving:
            self.said.append(f"trial {trial.number} died ({ended.error}): it goes on from its checkpoint")
            trial.begin_again()
        else:
            del self._running[trial.number]

    def _tell(self, trial: LocalTrial, outcome: str, reason: str = "") -> None:
        steps = trial.step + sum(steps_in(self._folder(trial.number, seed)) for seed in range(trial.seed_index))
        del self._running[trial.number]
        self.core.tell(trial.number, outcome, steps, reason)  # type: ignore[arg-type]
        self.said.append(self._words(trial.number, outcome, reason))

    def _words(self, number: int, outcome: str, reason: str) -> str:
        values = ", ".join(f"{value:.4g}" for value in self.core.values_of(number))
        return " ".join(filter(None, [f"trial {number} {outcome}", values])) + (f": {reason}" if reason else "")

    # --- others -------------------------------------------------------------------------------------------------
    def _start_more(self) -> None:
        """Go on with trials that nobody runs, then ask for new ones."""
        for row in self.snapshot.running:
            if row.number not in self._running and len(self._running) < self._spec.budget.parallel:
                self._start(row.number, row.seeds_done)
        taken = {int(number) for number in self.snapshot.finished} | {row.number for row in self.snapshot.running}
        for number in range(self._spec.budget.trials):
            if len(self._running) >= self._spec.budget.parallel:
                return
            if number not in taken and number not in self._running:
                self._start(number, 0)

    def _start(self, number: int, seed_index: int) -> None:
        """Start the run of a seed; a point that makes no run has failed at once."""
        values = self.core.ask(number)
        seed_index = min(seed_index, self._spec.seeds_per_trial - 1)
        folder = self._folder(number, seed_index)
        try:
            document = run_document(self._spec, folder.name, values, number, seed_index)
        except (ValidationError, UnknownPathError) as error:
            reason = str(error).replace("\n", " ")[:500]
            self.core.tell(number, "failed", 0, reason)
            self.said.append(f"trial {number} failed: {reason}")
            return
        self._running[number] = LocalTrial(number, seed_index, validate(document), folder)

    def _folder(self, number: int, seed_index: int) -> Path:
        name = run_name(self.study.metadata.name, number, seed_index, self._spec.seeds_per_trial)
        return self._out / "trials" / name

    def _keep_to_budget(self) -> None:
        """Stop everything once time or steps are used up, or too many trials have failed."""
        if self._ending:
            return
        budget = self._spec.budget
        seconds = time.time() - self._first_asked
        steps = self.snapshot.steps + sum(trial.step for trial in self._in_progress())
        if budget.seconds is not None and seconds >= budget.seconds:
            self._ending = f"the study has taken {budget.seconds} s (budget.seconds)"
        elif budget.steps is not None and steps >= budget.steps:
            self._ending = f"the trials have made {budget.steps:,} steps (budget.steps)"
        elif self.failure:
            self._ending = self.failure
        if self._ending:
            self.said.append(f"{self._ending}: what runs is saved and ended")
            for trial in self._running.values():
                trial.save_and_leave()

    def _keep_best(self) -> None:
        """Write the best trial's run to best.yaml where it is another one than before."""
        best = next(iter(self.snapshot.best), None)
        if best is None or best == self._best:
            return
        self._best = best
        name = tuned_name(self.study.metadata.name)
        document = run_document(self._spec, name, best.parameters, best.number, 0)
        values = ", ".join(f"{metric} {value:.4g}" for metric, value in best.values.items())
        head = f"# Trial {best.number} of the study {self.study.metadata.name}: {values} on validation levels.\n"
        head += "# headway run best.yaml; kubectl apply -f best.yaml\n" + self.best_note
        write_whole(self._out / "best.yaml", head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def steps_in(folder: Path) -> int:
    """Environment steps of a run that has ended."""
    status = Folder(folder).read().status
    return status.progress.step if status is not None and status.progress is not None else 0
