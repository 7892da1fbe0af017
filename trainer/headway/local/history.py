"""Which stages a run has passed, when, and how well: read from metrics.jsonl, the one record that survives restarts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headway_api.curriculum_spec import Curriculum

from headway.units import count, percent, short_duration


@dataclass(frozen=True)
class StagePassed:
    """One stage that is behind the run."""

    number: int  # of the stage, from 1
    name: str
    at_step: int  # environment step of the update that passed its gate
    steps: int  # spent in it
    seconds: float  # of training, over all attempts
    success_rate: float | None  # None where the environment tells no success


def stages_passed(rows: Iterable[dict[str, float]], stages: Sequence[str], all_passed: bool) -> list[StagePassed]:
    """Return the stages that `rows` of metrics.jsonl show as passed; the last one counts once `all_passed`.

    A row's `curriculum/stage` (from 1) is the stage that its update was made in, so the last row of a stage passed it.
    Of a demotion, the stage that the run was led back to has to be passed again.
    """
    passed: list[StagePassed] = []
    step, began, seconds, last = 0, 0, 0.0, None
    for row in rows:
        if last is not None and row["curriculum/stage"] != last["curriculum/stage"]:
            passed.append(_passed(last, stages, began, seconds))
            passed = [stage for stage in passed if stage.number < row["curriculum/stage"]]
            began, seconds = step, 0.0
        rate = row.get("time/steps_per_s") or 0.0
        seconds += (row["step"] - step) / rate if rate else 0.0
        step, last = int(row["step"]), row
    if all_passed and last is not None:
        passed.append(_passed(last, stages, began, seconds))
    return passed


def _passed(row: dict[str, float], stages: Sequence[str], began: int, seconds: float) -> StagePassed:
    number, step = int(row["curriculum/stage"]), int(row["step"])
    rate = row.get("curriculum/gate_success_rate")
    return StagePassed(number, stages[number - 1], step, step - began, seconds, rate)


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the whole rows of metrics.jsonl that say which stage they are of; none without the file."""
    rows: list[dict[str, float]] = []
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if "curriculum/stage" in row:
                    rows.append(row)
    return rows


def stage_line(stage: StagePassed, curriculum: Curriculum) -> str:
    """Say that a stage has been passed, or that its time was up."""
    stages = len(curriculum.stages)
    how = "ended" if curriculum.schedule.steps and stage.number < stages else "passed"
    success = "" if stage.success_rate is None else f" with {percent(stage.success_rate)} success"
    return (
        f"stage {stage.number}/{stages} {stage.name} {how}{success}: "
        f"{count(stage.steps)} steps, {short_duration(stage.seconds)}"
    )
