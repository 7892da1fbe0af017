"""New values for a trial that takes over another's checkpoint: near that one's, or where a model expects most.

PBT's rule is that of Jaderberg et al. 2017 as Ray's PopulationBasedTraining has it, with two differences: a value never
leaves its range, and the draws are a function of the study's seed. PB2's process is Ray's.
"""

from __future__ import annotations

import math
import random
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from headway_api.search_space import Choices, FloatRange, IntRange, Parameter

from headway.hpo.raytune.lineage import Line, Values

FACTORS = (0.8, 1.2)


def perturbed(parameters: Sequence[Parameter], values: Values, resample: float, rng: random.Random) -> Values:
    """Return each value a fifth lower or higher, or a neighbour among choices; with probability `resample` any."""
    return {
        p.path: drawn(p.domain, rng) if rng.random() < resample else neighbour(p.domain, values[p.path], rng)
        for p in parameters
    }


def drawn(domain: FloatRange | IntRange | Choices, rng: random.Random) -> Any:
    """Return any value of the domain."""
    if isinstance(domain, Choices):
        return rng.choice(domain.choices)
    if domain.log:
        return fitted(domain, math.exp(rng.uniform(math.log(domain.low), math.log(domain.high))))
    return fitted(domain, rng.uniform(domain.low, domain.high))


def neighbour(domain: FloatRange | IntRange | Choices, value: Any, rng: random.Random) -> Any:
    """Return a value near `value`."""
    if isinstance(domain, Choices):
        index = domain.choices.index(value) + rng.choice((-1, 1))
        return domain.choices[min(max(index, 0), len(domain.choices) - 1)]
    return fitted(domain, value * rng.choice(FACTORS))


def fitted(domain: FloatRange | IntRange, value: float) -> float | int:
    """Return the nearest value that the domain has."""
    inside = min(max(value, domain.low), domain.high)
    if domain.step is None:
        return inside
    steps = min(round((inside - domain.low) / domain.step), math.floor((domain.high - domain.low) / domain.step + 1e-9))
    return domain.low + steps * domain.step


class Bandit:
    """PB2 (Parker-Holder et al. 2020) over one generation: each choice knows those before it."""

    def __init__(
        self, parameters: Sequence[Parameter], generations: Sequence[Sequence[Line]], scores: Mapping[int, float],
        members: Mapping[int, Values], seed: int,
    ) -> None:  # fmt: skip
        """`scores` and `members` are of the generation that has ended, `generations` the lineage before it."""
        self._bounds = {p.path: (p.domain.low, p.domain.high) for p in parameters if isinstance(p.domain, FloatRange)}
        self._generation = len(generations) + 1
        self._seed = seed
        rows = [row for lines in generations for row in _rows(lines)]
        self._rows = rows + [_row(trial, self._generation, members[trial], scores[trial]) for trial in sorted(members)]
        self._chosen: list[list[float]] = []

    def explore(self, trial: int, parent: int, values: Values) -> Values:
        """Return where the reward is expected to grow most; the parent's values before there is anything to tell."""
        import numpy as np
        import pandas as pd
        from ray.tune.schedulers import pb2

        np.random.seed(zlib.crc32(f"{self._seed}/{self._generation}/{trial}".encode()))  # Ray's search starts anywhere
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a length scale at its bound, SciPy's plans: nothing that a user can mend
            found, _ = pb2._explore(
                pd.DataFrame(self._rows),
                self._bounds,
                np.array(self._chosen) if self._chosen else None,
                str(parent),  # type: ignore[arg-type]  # names of trials, as they are in the rows
                str(trial),  # type: ignore[arg-type]
                {path: float(values[path]) for path in self._bounds},  # type: ignore[misc]
            )
        new = {path: min(max(float(found[path]), low), high) for path, (low, high) in self._bounds.items()}
        self._chosen.append(list(new.values()))
        return new


def _rows(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """A generation as Ray's PB2 keeps it: what each reached, and where branches begin: at their parent's reward."""
    scores = {line.trial: line.score for line in lines}
    rows = [_row(line.trial, line.generation, line.old, line.score) for line in lines]
    return rows + [_row(x.trial, x.generation, x.new, scores[x.parent]) for x in lines if x.is_branch]


def _row(trial: int, generation: int, values: Values, score: float | None) -> dict[str, Any]:
    return {"Trial": str(trial), "Time": generation, **values, "Reward": score}
