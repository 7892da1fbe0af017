"""What a study has come to, as its status and its best run's ConfigMap say it."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import yaml
from headway_api import names, trials
from headway_api.hpo_study import HPOStudy
from headway_api.study_wire import StudySnapshot
from headway_api.trials import run_document, run_name

from headway_operator.core import conditions, times
from headway_operator.core.plan import Manifest
from headway_operator.core.study_ownership import ownership
from headway_operator.core.study_plan import StudyPlan, TrialRun
from headway_operator.core.study_status import enter, status_of

LOOK_SECONDS = 30.0


def finish(study: HPOStudy, runs: list[TrialRun], seen: StudySnapshot, ending: str, now: datetime) -> StudyPlan:
    """The study has ended well, or failed: no trial is complete, or too many have failed."""
    budget, counts = study.spec.budget, seen.trials
    is_failed = counts.complete == 0 or (budget.failed is not None and counts.failed >= budget.failed)
    message = ending or f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed"
    state: conditions.State
    state, reason = ("failed", names.REASON_FAILED) if is_failed else ("succeeded", names.REASON_SUCCEEDED)
    changes = figures(study, runs, seen, now) | {"completion_time": times.to_text(now), "eta_seconds": 0, "eta": "0s"}
    return enter(study, state, reason, message, now, **changes).with_(apply=best_config_map(study, seen))


def figures(study: HPOStudy, runs: list[TrialRun], seen: StudySnapshot, now: datetime) -> dict[str, Any]:
    """Return the keys of the status that say how far the study is."""
    total, counts = study.spec.budget.trials, seen.trials
    seeds = study.spec.seeds_per_trial
    best = [b.model_copy(update={"run": run_name(study.metadata.name, b.number, seeds - 1, seeds)}) for b in seen.best]
    found: dict[str, Any] = {
        "trials": counts.model_copy(update={"total": total}),
        "finished": f"{counts.finished}/{total}",
        "best": best,
        "best_value": ", ".join(f"{v:.4g}" for v in best[0].values.values()) if best else "",
        "steps": steps(runs, seen),
        "runs": sorted(run.name for run in runs if not run.is_over and str(run.number) not in seen.finished),
        "start_time": status_of(study).start_time or times.to_text(now),
    }
    if seen.seconds > 0:
        found["eta_seconds"] = math.ceil(seen.seconds * max(0, total - counts.finished) / study.spec.budget.parallel)
        found["eta"] = times.duration(found["eta_seconds"])
    return found


def steps(runs: list[TrialRun], seen: StudySnapshot) -> int:
    """Return the environment steps of all trials."""
    return seen.steps + sum(run.steps for run in runs if str(run.number) not in seen.finished)


def best_config_map(study: HPOStudy, seen: StudySnapshot) -> tuple[Manifest, ...]:
    """The best trial's run as YAML that `kubectl apply` and `headway run` take as it is."""
    if not seen.best:
        return ()
    best, name = seen.best[0], f"{study.metadata.name}-best"
    document = run_document(study.spec, trials.tuned_name(study.metadata.name), best.parameters, best.number, 0)
    text = f"# Trial {best.number} of the study {study.metadata.name}.\n"
    text += yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    metadata = {"name": name, "namespace": study.metadata.namespace, **ownership(study)}
    return ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"trainingrun.yaml": text}},)


def next_look(study: HPOStudy, now: datetime) -> float:
    """Return after how many seconds time alone may change something."""
    began, seconds = times.from_text(status_of(study).start_time), study.spec.budget.seconds
    if began is None or seconds is None:
        return LOOK_SECONDS
    return min(LOOK_SECONDS, max(1.0, seconds - (now - began).total_seconds()))
