"""Ray's BayesOptSearch, asked for one trial: what it knows is told to it anew from the storage each time."""

from __future__ import annotations

from typing import Any

from headway_api.hpo_study import HPOStudySpec
from headway_api.search_space import FloatRange
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search.bayesopt import BayesOptSearch


class BayesOptSampler(RandomSampler):
    """Points at random first, then those of greatest upper confidence bound. Complete trials alone are known to it."""

    def __init__(self, spec: HPOStudySpec, startup_trials: int, seed: int) -> None:
        super().__init__(seed=seed)
        self._startup, self._seed = startup_trials, seed
        ranges = {p.path: p.domain for p in spec.parameters}
        self._bounds = {path: (r.low, r.high) for path, r in ranges.items() if isinstance(r, FloatRange)}
        self._mode = "max" if spec.objectives[0].direction == "maximize" else "min"

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all parameters, as far as complete trials have them."""
        return intersection_search_space(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point that Ray suggests; nothing, which means at random, before `startup_trials` are complete."""
        known = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(known) < self._startup:
            return {}
        search = BayesOptSearch(
            space=self._bounds,
            metric="value",
            mode=self._mode,
            points_to_evaluate=[{path: other.params[path] for path in self._bounds} for other in known],
            random_state=self._seed % 2**32,
            random_search_steps=0,
            skip_duplicate=False,  # points that were tried are refused by the study itself
            patience=len(known) + 1,
        )
        for other in known:
            search.suggest(str(other.number))
            search.on_trial_complete(str(other.number), {"value": other.value})
        return dict(search.suggest("next") or {})
