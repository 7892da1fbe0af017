"""What a study with the engine Ray Tune cannot do, refused by name: Ray itself would leave it out, or bend it."""

from __future__ import annotations

from typing import Any

from headway_api.base import Rule
from headway_api.steering import STEERING


def _searches_even_floats(study: Any) -> bool:
    """BayesOptSearch takes a logarithmic range for an even one and drops steps; other kinds it does not know."""
    ray = study.engine.ray_tune
    if ray is None or ray.searcher.bayes_opt is None:
        return True
    return all(
        p.float_ is not None and not p.float_.log and p.float_.step is None and p.when is None for p in study.parameters
    )


def population(study: Any) -> Any:
    """The scheduler's settings where it trains a population."""
    ray = study.engine.ray_tune
    return None if ray is None else ray.scheduler.pbt or ray.scheduler.pb2


def _searches_numbers_evenly(study: Any) -> bool:
    """PB2 normalises by low and high alone, and cuts whole numbers off."""
    ray = study.engine.ray_tune
    if ray is None or ray.scheduler.pb2 is None:
        return True
    return all(p.float_ is not None and not p.float_.log and p.float_.step is None for p in study.parameters)


_HAS_POPULATION = (
    "has(self.engine.rayTune) && (has(self.engine.rayTune.scheduler.pbt) || has(self.engine.rayTune.scheduler.pb2))"
)

RAY_RULES = (
    Rule(
        "!has(self.engine.rayTune) || self.objectives.size() == 1",
        lambda m: m.engine.ray_tune is None or len(m.objectives) == 1,
        "rayTune knows one objective: give one, or choose engine.optuna",
        "engine",
    ),
    Rule(
        "!has(self.engine.rayTune) || self.seedsPerTrial == 1",
        lambda m: m.engine.ray_tune is None or m.seeds_per_trial == 1,
        "rayTune runs one seed a trial: set seedsPerTrial to 1, or choose engine.optuna",
        "engine",
    ),
    Rule(
        "!has(self.engine.rayTune) || !has(self.warmStart)",
        lambda m: m.engine.ray_tune is None or m.warm_start is None,
        "rayTune starts from no earlier study: leave warmStart out, or choose engine.optuna",
        "engine",
    ),
    Rule(
        "!has(self.engine.rayTune) || !has(self.engine.rayTune.searcher.bayesOpt) || "
        "self.parameters.all(p, has(p.float) && !p.float.log && !has(p.float.step) && !has(p.when))",
        _searches_even_floats,
        "rayTune.searcher.bayesOpt knows floats only, without log, step and when: choose random or optuna",
        "engine",
    ),
    Rule(
        f"!({_HAS_POPULATION}) || has(self.engine.rayTune.searcher.random)",
        lambda m: population(m) is None or m.engine.ray_tune.searcher.random is not None,
        "rayTune.scheduler.pbt and pb2 change what a searcher has chosen: choose searcher.random",
        "engine",
    ),
    Rule(
        f"!({_HAS_POPULATION}) || self.budget.trials >= 2",
        lambda m: population(m) is None or m.budget.trials >= 2,
        "rayTune.scheduler.pbt and pb2 want a population: give budget.trials of at least 2",
        "engine",
    ),
    Rule(
        f"!({_HAS_POPULATION}) || self.parameters.all(p, p.path in ["
        + ", ".join(f"'{path}'" for path in sorted(STEERING))
        + "] && !has(p.when))",
        lambda m: population(m) is None or all(p.path in STEERING and p.when is None for p in m.parameters),
        "rayTune.scheduler.pbt and pb2 change values while a run learns: only the rates and weights of train.algo "
        "and train.env.nav.reward can be, and without when",
        "parameters",
    ),
    Rule(
        "!has(self.engine.rayTune) || !has(self.engine.rayTune.scheduler.pb2) || "
        "self.parameters.all(p, has(p.float) && !p.float.log && !has(p.float.step))",
        _searches_numbers_evenly,
        "rayTune.scheduler.pb2 knows floats only, without log and step: choose pbt",
        "parameters",
    ),
)
