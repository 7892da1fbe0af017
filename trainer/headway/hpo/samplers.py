"""Samplers: each asked once, for one trial, with a seed of that trial's own, so that nothing depends on which process
asks or when it was started. What a sampler knows, it knows from the storage."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from headway_api import optimizer_spec as spec
from headway_api.hpo_study import HPOStudySpec, OptunaEngine
from headway_api.search_space import grid, points
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial
from scipy.stats import qmc

from headway.hpo.space import to_optuna


def trial_seed(study: HPOStudySpec, number: int, attempt: int = 0) -> int:
    """Seed of the sampler of trial `number`; `attempt` counts points that were rejected."""
    text = f"{study.seed}/sample/{number}/{attempt}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def make_sampler(study: HPOStudySpec, number: int, attempt: int = 0) -> BaseSampler:
    """Return the sampler that chooses trial `number`."""
    engine = study.engine.optuna or study.engine.ray_tune
    assert engine is not None  # validated: one of them is set
    kind = (engine.sampler if isinstance(engine, OptunaEngine) else engine.searcher).chosen()[1]
    return _MAKERS[type(kind)](kind, study, number, trial_seed(study, number, attempt))


def _tpe(kind: spec.Tpe, study: HPOStudySpec, _number: int, seed: int) -> BaseSampler:
    # Parameters that matter together are modelled together; Optuna calls that experimental.
    is_conditional = any(parameter.when for parameter in study.parameters)
    return TPESampler(n_startup_trials=kind.startup_trials, seed=seed, multivariate=True, group=is_conditional)


class ReplayedCmaEs(CmaEsSampler):
    """CMA-ES whose state is made again from the trials.

    Optuna keeps it pickled in trials' attributes, and unpickles what it finds there, whoever wrote it. Here nothing is
    kept but the generation that each trial was drawn from: generations that are complete are told again, in order.
    """

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> None:
        self._completed = completed_trials

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        return {}

    def _init_optimizer(self, trans: Any, direction: Any) -> Any:
        optimizer = super()._init_optimizer(trans, direction)
        sign = 1.0 if direction.name == "MINIMIZE" else -1.0
        while True:
            drawn = self._get_solution_trials(self._completed, optimizer.generation)[: optimizer.population_size]
            if len(drawn) < optimizer.population_size:
                return optimizer
            optimizer.tell([(trans.transform(trial.params), sign * float(trial.value or 0.0)) for trial in drawn])


class PointSampler(BaseSampler):
    """Chooses a point that is known beforehand; a parameter at a time, since some matter only with some values."""

    def __init__(self, values: dict[str, Any]) -> None:
        """`values`: by path, in Optuna's words."""
        self._values = values

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: nothing is modelled."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """None."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the point's value."""
        return self._values[param_name]


def _grid(_kind: spec.Grid, study: HPOStudySpec, number: int, _seed: int) -> BaseSampler:
    """The grid's points in an order drawn from the study's seed."""
    size = int(points(study.parameters))
    index = int(np.random.default_rng(trial_seed(study, 0)).permutation(size)[number % size])
    point = next(itertools.islice(grid(study.parameters), index, None))
    return PointSampler({p.path: to_optuna(p, point[p.path]) for p in study.parameters if p.path in point})


class SobolSampler(RandomSampler):
    """Point `number` of a scrambled Sobol sequence over all parameters, each mapped onto its range or list."""

    def __init__(self, paths: list[str], number: int, scramble: int, seed: int) -> None:
        """`paths`: all parameters in order, also those that do not matter everywhere."""
        super().__init__(seed=seed)
        sequence = qmc.Sobol(len(paths), scramble=True, rng=scramble)
        if number > 0:  # SciPy cannot skip nothing
            sequence.fast_forward(number)
        self._unit = dict(zip(paths, sequence.random(1)[0].tolist(), strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value at the point's coordinate in [0, 1)."""
        return at(param_distribution, self._unit[param_name])


def at(found: Any, share: float) -> Any:
    """Return the value that lies at `share` in [0, 1) of a distribution's range or list."""
    if hasattr(found, "choices"):
        return found.choices[int(share * len(found.choices))]
    low, high = float(found.low), float(found.high)
    step = found.step if found.step is not None else 0.0
    if step and not found.log:
        count = round((high - low) / step) + 1
        value = low + step * int(share * count)
    elif found.log:
        spare = (
            0.5 if isinstance(found.low, int) else 0.0
        )  # whole numbers are rounded: their ends get as much as others
        value = float(np.exp(np.log(low - spare) + share * (np.log(high + spare) - np.log(low - spare))))
    else:
        value = low + share * (high - low)
    value = min(max(value, low), high)
    return round(value) if isinstance(found.low, int) else value


def _qmc(_kind: spec.Qmc, study: HPOStudySpec, number: int, seed: int) -> BaseSampler:
    return SobolSampler([p.path for p in study.parameters], number, trial_seed(study, 0), seed)


def _bayes_opt(kind: spec.BayesOpt, study: HPOStudySpec, _number: int, seed: int) -> BaseSampler:
    from headway.hpo.raytune.bayes import BayesOptSampler  # Ray is there only where its engine is used

    return BayesOptSampler(study, kind.startup_trials, seed)


_MAKERS: dict[type, Callable[[Any, HPOStudySpec, int, int], BaseSampler]] = {
    spec.Tpe: _tpe,
    spec.Gp: lambda kind, _study, _number, seed: GPSampler(n_startup_trials=kind.startup_trials, seed=seed),
    spec.CmaEs: lambda kind, _study, _number, seed: ReplayedCmaEs(n_startup_trials=kind.startup_trials, seed=seed),
    spec.NsgaII: lambda kind, _study, _number, seed: NSGAIISampler(population_size=kind.population, seed=seed),
    spec.NsgaIII: lambda kind, _study, _number, seed: NSGAIIISampler(population_size=kind.population, seed=seed),
    spec.Qmc: _qmc,
    spec.Random: lambda _kind, _study, _number, seed: RandomSampler(seed=seed),
    spec.Grid: _grid,
    spec.BayesOpt: _bayes_opt,
}
