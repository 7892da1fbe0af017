"""`headway run`: reads the spec, trains it in a child process, and shows and records how it goes."""

from __future__ import annotations

import shlex
import signal
from dataclasses import dataclass
from pathlib import Path

import yaml
from headway_api import names
from headway_api.training_run import TrainingRun
from rich.console import Console
from rich.text import Text

from headway.extras import require
from headway.local import document
from headway.local.attempt import Attempt, End, Ended
from headway.local.folder import Folder
from headway.local.interrupts import Interrupts
from headway.local.screens import LiveScreen, PlainScreen
from headway.local.summary import places, print_summary
from headway.units import typed

EXIT_CTRL_C = 128 + signal.SIGINT


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    spec: Path
    sets: tuple[str, ...] = ()
    nodes: int | None = None
    processes: int | None = None
    out: Path | None = None
    resume: str | None = None
    accept_changes: bool = False
    budget_s: float | None = None
    dry_run: bool = False
    plain: bool = False

    def command(self, resume: str) -> str:
        """Return the command that goes on from where this one leaves; `resume`: never would not."""
        words = [typed("headway"), "run", str(self.spec)]
        words += [word for assignment in self.sets for word in ("--set", assignment)]
        words += ["--nodes", str(self.nodes)] if self.nodes is not None else []
        words += ["--processes", str(self.processes)] if self.processes is not None else []
        words += ["--out", str(self.out)] if self.out is not None else []
        resume = "auto" if resume == "never" else self.resume or ""
        words += ["--resume", resume] if resume else []
        words += ["--accept-changes"] if self.accept_changes else []
        return shlex.join(words)


def run(options: Options, console: Console) -> int:
    """Train, and return the exit code. Raises UserError or SpecError for what the user can mend."""
    given = document.read(options.spec, options.sets, options.resume, options.accept_changes)
    local = document.on_this_machine(given, options.nodes, options.processes)
    if options.dry_run:
        print(yaml.safe_dump(document.to_wire(given), sort_keys=False, allow_unicode=True), end="")
        return names.EXIT_OK
    folder = Folder(options.out or Path("runs") / given.metadata.name)
    folder.refuse_strangers(given.metadata.name)
    require("trainer")
    lock = folder.claim()
    ours = folder.adopt(local)
    _greet(console, options, given, ours, folder)
    plain = options.plain or not console.is_terminal
    with Interrupts(options.budget_s) as interrupts:
        attempt = Attempt(folder, ours, lock)
        with PlainScreen(console) if plain else LiveScreen(console) as screen:
            ended = attempt.follow(screen, interrupts)
    print_summary(console, folder, attempt.run, ended, options.command(ours.spec.checkpoint.resume))
    return _exit_code(ended, interrupts)


def _exit_code(ended: Ended, interrupts: Interrupts) -> int:
    """130 after Ctrl-C, as shells expect; 75 for a scheduler that is to start the run again; else the trainer's."""
    if ended.end is End.ABANDONED or (ended.end is End.SAVED and interrupts.ctrl_c):
        return EXIT_CTRL_C
    return ended.exit_code


def _greet(console: Console, options: Options, given: TrainingRun, ours: TrainingRun, folder: Folder) -> None:
    train = given.spec.train
    ranks = ours.spec.world_size
    stages = len(train.curriculum.stages)
    words = f"{stages} stage{'' if stages == 1 else 's'}"
    what = f"{train.algo.chosen()[0].upper()} · {words} · seed {train.seed}"
    what += f" · {ranks} ranks" if ranks > 1 else ""
    console.print(Text.assemble(("\n headway ", "bold"), given.metadata.name, (f"  {what}", "dim")), soft_wrap=True)
    rows = [("out", str(folder.path))]
    if ours.status is not None:
        never = ours.spec.checkpoint.resume == "never"
        rows.append(("attempt", f"{ours.status.attempt + 1}, " + ("beginning anew" if never else "going on")))
    console.print(places(*rows))
    if fields := document.cluster_fields(given):
        console.print(Text(f"   only a cluster uses: {', '.join(fields)}", "dim"), soft_wrap=True)
