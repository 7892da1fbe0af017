"""What runs in a Ray actor: one trial's local run, whose evaluations are reported to Ray Tune as they come."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from headway_api import names
from headway_api.load import validate
from ray import tune

from headway.errors import UserError
from headway.hpo.local.trial import LocalTrial
from headway.local import child
from headway.local.attempt import End

TICK_S = 0.2
LEAVING_S = 120.0  # how long a run whose actor has gone may take to save


def train_trial(config: dict[str, Any]) -> None:
    """Run the trial `config` names to its end. The last report says how it ended."""
    child.WORKER_COMMAND = tuple(config["worker"])
    trial = _begin(config)
    reported = 0
    while True:
        ended = trial.ended  # before reading: what was written until then is read
        points = trial.evaluations()
        for found in points[reported:]:
            point = found.model_copy(update={"index": config["offset"] + found.index})
            # As text: Ray takes objects apart and names their fields anew.
            tune.report(
                {
                    "point": point.model_dump_json(),
                    "step": point.step,
                    "evaluation": point.index,
                    **_value(point.metrics, config),
                }
            )
        reported = len(points)
        if ended is None:
            time.sleep(TICK_S)
        elif ended.end is End.FAILED and _may_go_on(trial, ended.exit_code, config):
            trial.begin_again()
        else:
            outcome = _outcome(ended.end, trial.step, config["leave_at"])
            tune.report({"ended": outcome, "step": trial.step, "error": ended.error if outcome == "failed" else ""})
            return


def _outcome(end: End, step: int, leave_at: int) -> str:
    """Say how the actor's work has ended: the whole run, the part of it that was asked for, or not well."""
    if end is End.DONE:
        return "complete"
    return "saved" if end is End.SAVED and 0 < leave_at <= step else "failed"


def _begin(config: dict[str, Any]) -> LocalTrial:
    """Start the run, once nobody holds its folder: an earlier actor's run may still be saving."""
    deadline = time.monotonic() + LEAVING_S
    while True:
        try:
            return LocalTrial(
                config["number"], 0, validate(config["document"]), Path(config["folder"]), config["leave_at"]
            )
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(TICK_S)


def _value(metrics: dict[str, float], config: dict[str, Any]) -> dict[str, float]:
    metric = config["metric"]
    return {"value": metrics[metric]} if metric in metrics else {}


def _may_go_on(trial: LocalTrial, exit_code: int, config: dict[str, Any]) -> bool:
    return exit_code != names.EXIT_BAD_INPUT and trial.restarts < config["restarts"]
