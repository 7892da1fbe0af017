"""What a study with the engine Ray Tune cannot do, refused by name: Ray itself would leave it out, or bend it."""

from __future__ import annotations

from typing import Any

from headway_api.base import Rule


def _searches_even_floats(study: Any) -> bool:
    """BayesOptSearch takes a logarithmic range for an even one and drops steps; other kinds it does not know."""
    ray = study.engine.ray_tune
    if ray is None or ray.searcher.bayes_opt is None:
        return True
    return all(
        p.float_ is not None and not p.float_.log and p.float_.step is None and p.when is None for p in study.parameters
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
)
