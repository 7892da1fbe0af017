"""What `headway run` says once it is over: what was reached, where it is, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from headway_api import names
from headway_api.training_run import TrainingRun
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from headway.local.attempt import End, Ended
from headway.local.folder import Folder
from headway.local.history import StagePassed, read_rows, stages_passed
from headway.units import count, percent, short_duration, shown, typed
from headway.view import goodput_words


def print_summary(console: Console, folder: Folder, run: TrainingRun, ended: Ended, go_on: str) -> None:
    """Print the end of an attempt; `go_on` is the command that continues the run."""
    for part in _parts(folder, run, ended, go_on):
        console.print(part, soft_wrap=isinstance(part, Text), highlight=False)


def _parts(folder: Folder, run: TrainingRun, ended: Ended, go_on: str) -> list[RenderableType]:
    name = run.metadata.name
    if ended.end is End.FAILED and ended.exit_code == names.EXIT_BAD_INPUT:
        return [Text.assemble(("error: ", "bold red"), ended.error)]
    if ended.end is End.FAILED:
        log = folder.log(run.status.attempt if run.status else 0)
        tail = Text(
            "\n".join(f"   {line}" for line in folder.last_lines(run.status.attempt if run.status else 0)), "dim"
        )
        return [
            Text.assemble(("\n ✗ ", "bold red"), (f"{name} failed: ", "bold"), ended.error),
            Text(f"\n the last lines of {shown(log)}:"), tail, places(("go on", go_on)),
        ]  # fmt: skip
    if ended.end is End.DONE:
        return [*_reached(folder, run, ended), *_goodput(run, ended), places(*_where(folder, run, ended))]
    if ended.end is End.PRUNED:
        where = "" if ended.step is None else f" at step {count(ended.step)}"
        headline = Text.assemble(("\n ● ", "bold yellow"), (f"{name} was stopped by its study{where}", "bold"))
        return [headline, *_goodput(run, ended), places(*_where(folder, run, ended))]
    lines = {
        End.SAVED: f"{name} was stopped before it trained"
        if ended.step is None
        else f"{name} is saved at step {count(ended.step)}",
        End.ABANDONED: f"{name} was left without saving{_since(run)}",
    }
    headline = Text.assemble(("\n ‖ ", "bold yellow"), (lines[ended.end], "bold"))
    return [headline, *_goodput(run, ended), places(("go on", go_on))]


def _reached(folder: Folder, run: TrainingRun, ended: Ended) -> list[RenderableType]:
    """Return the headline and the table of stages of a run that is complete."""
    curriculum = run.spec.train.curriculum
    progress = run.status.progress if run.status else None
    all_passed = bool(progress and progress.curriculum and progress.curriculum.passed)
    stages = stages_passed(read_rows(folder.metrics), [stage.name for stage in curriculum.stages], all_passed)
    step = ended.step if ended.step is not None else progress.step if progress else 0
    if curriculum.schedule.gates:
        reached = f"{len(stages)} of {len(curriculum.stages)} stages passed in {count(step)} steps"
    else:
        name = progress.curriculum.stage_name if progress and progress.curriculum else ""
        reached = f"the gate of {name} {'has passed' if all_passed else 'has not passed'} in {count(step)} steps"
    headline = f"{run.metadata.name} is complete" if ended.trained else f"{run.metadata.name} was complete already"
    mark = ("\n ✓ ", "bold green") if all_passed else ("\n ● ", "bold yellow")
    parts: list[RenderableType] = [Text.assemble(mark, (f"{headline}: ", "bold"), reached)]
    if not all_passed:
        more = f"   its totalSteps are used up; go on with --set train.totalSteps={2 * run.spec.train.total_steps}"
        parts.append(Text(more, "yellow"))
    return [*parts, Padding(stage_table(stages), (1, 0, 1, 3))] if stages else parts


def _goodput(run: TrainingRun, ended: Ended) -> list[RenderableType]:
    """Return the line that says what of the time was useful, if this attempt has trained."""
    goodput = run.status.progress.goodput if run.status and run.status.progress else None
    if goodput is None or not ended.trained:
        return []
    return [Text.assemble((f"   {'goodput':<11}", "dim"), goodput_words(goodput))]


def stage_table(stages: Sequence[StagePassed]) -> Table:
    """Return the stages that were passed, as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("stage")
    for column in ("success", "steps", "time"):
        table.add_column(column, justify="right")
    for stage in stages:
        success = "–" if stage.success_rate is None else percent(stage.success_rate)
        table.add_row(stage.name, success, count(stage.steps), short_duration(stage.seconds))
    return table


def _where(folder: Folder, run: TrainingRun, ended: Ended) -> list[tuple[str, str]]:
    found = [("checkpoint", shown(Path(ended.checkpoint)))] if ended.checkpoint else []
    found += [
        ("metrics", shown(folder.metrics)),
        ("evaluate", f"{typed('headway')} eval {shlex.quote(shown(folder.path))}"),
    ]
    if run.spec.train.trackers.tensorboard is not None:
        found.append(("curves", f"{typed('tensorboard')} --logdir {shlex.quote(shown(folder.path / 'tensorboard'))}"))
    return found


def places(*rows: tuple[str, str]) -> Group:
    """Return lines of a label and something to be copied: never wrapped or cut."""
    return Group(
        *(
            Text.assemble((f"   {label:<11}", "dim"), (value, "cyan"), overflow="ignore", no_wrap=True)
            for label, value in rows
        )
    )


def _since(run: TrainingRun) -> str:
    progress = run.status.progress if run.status else None
    if progress is None:
        return ""
    if progress.checkpoint is None:
        return "; there is no checkpoint yet"
    return f"; {count(progress.step - progress.checkpoint.step)} steps after its last checkpoint are lost"
