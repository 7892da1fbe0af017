"""Pruners. Optuna's steps are evaluations of a trial, counted from 1 (with several seeds, over all of them)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from headway_api import optimizer_spec as spec
from headway_api.hpo_study import HPOStudySpec
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)


def evaluations_per_run(study: HPOStudySpec) -> int:
    """How many evaluations a run has that makes all its steps; its last update is always scored."""
    train = study.run_template.train
    return math.ceil(train.total_steps / train.evaluation.every_steps)


def make_pruner(study: HPOStudySpec) -> BasePruner:
    """Return the study's pruner; none where Ray Tune decides who is stopped."""
    if study.engine.optuna is None:
        return NopPruner()
    kind = study.engine.optuna.pruner.chosen()[1]
    return _MAKERS[type(kind)](kind, study.seeds_per_trial * evaluations_per_run(study))


def _median(kind: spec.Median, _evaluations: int) -> BasePruner:
    median = MedianPruner(n_startup_trials=kind.startup_trials, n_warmup_steps=kind.warmup_evaluations)
    return _patient(kind.patient, median)


def _percentile(kind: spec.Percentile, _evaluations: int) -> BasePruner:
    percentile = PercentilePruner(
        kind.percentile, n_startup_trials=kind.startup_trials, n_warmup_steps=kind.warmup_evaluations
    )
    return _patient(kind.patient, percentile)


def _patient(kind: spec.Patient | None, wrapped: BasePruner | None) -> BasePruner:
    if kind is not None:
        return PatientPruner(wrapped, kind.patience, kind.min_delta)
    assert wrapped is not None
    return wrapped


def _halving(kind: spec.SuccessiveHalving, _evaluations: int) -> BasePruner:
    return SuccessiveHalvingPruner(min_resource=kind.min_evaluations, reduction_factor=kind.reduction_factor)


def _hyperband(kind: spec.Hyperband, evaluations: int) -> BasePruner:
    return HyperbandPruner(
        min_resource=min(kind.min_evaluations, evaluations),
        max_resource=evaluations,
        reduction_factor=kind.reduction_factor,
    )


def _threshold(kind: spec.Threshold, _evaluations: int) -> BasePruner:
    # An open side is beyond every metric: Optuna wants at least one of them.
    lower = -math.inf if kind.lower is None else kind.lower
    upper = math.inf if kind.upper is None else kind.upper
    return ThresholdPruner(lower=lower, upper=upper, n_warmup_steps=kind.warmup_evaluations)


_MAKERS: dict[type, Callable[[Any, int], BasePruner]] = {
    spec.NoPruner: lambda _kind, _evaluations: NopPruner(),
    spec.Median: _median,
    spec.Percentile: _percentile,
    spec.SuccessiveHalving: _halving,
    spec.Hyperband: _hyperband,
    spec.Wilcoxon: lambda kind, _evaluations: WilcoxonPruner(p_threshold=kind.p_threshold),
    spec.Patient: lambda kind, _evaluations: _patient(kind, None),
    spec.Threshold: _threshold,
}
