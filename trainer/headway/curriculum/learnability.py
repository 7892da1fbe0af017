"""Levels that are neither mastered nor hopeless, remembered and played again: sampling by p(1 - p).

A level of success rate p teaches most where p(1 - p), the variance of its outcome, is large (Rutherford et al. 2024,
"No regrets", arXiv 2408.15099; Tzannetos et al. 2023, arXiv 2304.12877). They play thousands of levels beside training
to estimate p; here the episodes of training itself are the estimate. Fresh episodes name candidates, remembered levels
are played again by their weight, and a level that has been played `attempts` times and turned out nearly always won or
nearly always lost gives way to a fresh one.

Everything is a whole number and every order is fixed, so every rank and any split over ranks has the same table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from headway_api.curriculum_spec import Learnability
from numpy.typing import NDArray
from torch import Tensor

from headway import randomness
from headway.envs.protocol import EpisodeEnds
from headway.parallel import Group

Ints = NDArray[np.int64]

ONE = 1 << 16  # weights are whole multiples of 1 / ONE: those of 65,536 levels add up inside 31 bits
NEARLY_DECIDED = ONE // 8  # half of the largest p(1 - p): below it a level is nearly always won, or lost
EPISODE, INDEX, SLOT, SUCCESS = range(4)  # columns of outcomes


@dataclass(frozen=True)
class Table:
    """The remembered levels, M places. A place with no attempts is free."""

    level: Ints  # [M, 2] (episode, global environment index), as EpisodeEnds.level
    attempts: Ints  # [M]
    successes: Ints  # [M]

    @staticmethod
    def empty(places: int) -> Table:
        """Return a table of free places."""
        return Table(np.zeros((places, 2), np.int64), np.zeros(places, np.int64), np.zeros(places, np.int64))

    def weights(self) -> Ints:
        """p(1 - p) of each level by Laplace's estimate p = (s + 1) / (n + 2), in 1 / ONE; 0 at free places; [M]."""
        won, lost = self.successes + 1, self.attempts - self.successes + 1
        return np.where(self.attempts > 0, won * lost * ONE // (self.attempts + 2) ** 2, 0)


def score(table: Table, outcomes: Ints, attempts: int) -> Table:
    """Count `outcomes` [K, 4] of remembered levels.

    A place may have gone to another level while its old one was still being played: that outcome is nobody's, as is
    one of a place that is not there, which only a forged checkpoint has. Old outcomes fade, because the policy changes:
    at twice `attempts` a record shrinks to `attempts` of the same rate.
    """
    outcomes = outcomes[outcomes[:, SLOT] < len(table.attempts)]
    slot = outcomes[:, SLOT]
    own = (table.level[slot] == outcomes[:, : INDEX + 1]).all(1) & (table.attempts[slot] > 0)
    tried, won = table.attempts.copy(), table.successes.copy()
    np.add.at(tried, slot[own], 1)
    np.add.at(won, slot[own], outcomes[own, SUCCESS])
    long = tried >= 2 * attempts
    shrunk = (2 * won * attempts + tried) // np.maximum(2 * tried, 1)  # rounded to the nearest
    return Table(table.level, np.where(long, attempts, tried), np.where(long, shrunk, won))


def admit(table: Table, fresh: Ints, attempts: int, seed: int) -> tuple[Table, int]:
    """Let levels of `fresh` outcomes [K, 4] enter: free places first, then those of the least learnable decided ones.

    Where they are more than there is room for, levels with the rarer outcome go first: where most are won, one that
    was lost is likelier to be learnable. Among equals a draw of the level's name decides, so that neither short
    episodes nor low numbers are favoured. Returns the table and how many entered.
    """
    weights = table.weights()
    leaving = (table.attempts == 0) | ((table.attempts >= attempts) & (weights < NEARLY_DECIDED))
    places = np.nonzero(leaving)[0]
    places = places[np.argsort(weights[places], kind="stable")]  # free places weigh nothing
    won = fresh[:, SUCCESS]
    common = won == (2 * won.sum() >= len(won))
    order = np.lexsort((fresh[:, INDEX], fresh[:, EPISODE], _draws(fresh, seed), common))
    entering = fresh[order[: len(places)]]
    places = places[: len(entering)]
    level, tried, successes = table.level.copy(), table.attempts.copy(), table.successes.copy()
    level[places], tried[places], successes[places] = entering[:, : INDEX + 1], 1, entering[:, SUCCESS]
    return Table(level, tried, successes), len(entering)


def _draws(levels: Ints, seed: int) -> Ints:
    """Random whole numbers that belong to the levels' names, [K]."""
    episode, index = (torch.from_numpy(levels[:, column].copy()) for column in (EPISODE, INDEX))
    zero = torch.zeros(1, dtype=torch.int64)
    return randomness.philox((index, episode, zero, zero), (seed, randomness.STREAM_LEVELS))[0].numpy()


class LevelMemory:
    """The table of one run, the same on every rank, and this rank's outcomes since it last changed."""

    def __init__(self, spec: Learnability, total_envs: int, seed: int) -> None:
        self.spec = spec
        self.total_envs = total_envs
        self.seed = seed
        self.begin(stage=0)

    def begin(self, stage: int) -> None:
        """Forget all: the levels of another stage have other names."""
        self.stage = stage
        self.table = Table.empty(self.spec.levels)
        self._outcomes: list[Tensor] = []

    def add(self, ends: EpisodeEnds) -> None:
        """Take in one step's ends of episodes of the stage, fresh or remembered."""
        rows = (ends.ended & (ends.stage == self.stage)).nonzero().squeeze(-1)
        if len(rows):
            facts = ends.level[rows], ends.slot[rows, None], ends.success[rows, None].long()
            self._outcomes.append(torch.cat(facts, dim=1).cpu())

    def learn(self, group: Group) -> dict[str, float]:
        """Bring all ranks' outcomes together and change the table; return metrics. All ranks call it."""
        return self.take_in(group.gather(self.tell()))

    def tell(self) -> bytes:
        """Return this rank's outcomes since the last time."""
        own = torch.cat(self._outcomes).numpy() if self._outcomes else np.zeros((0, 4), np.int64)
        self._outcomes = []
        return own.astype("<i8").tobytes()

    def take_in(self, messages: Sequence[bytes]) -> dict[str, float]:
        """Change the table by what all ranks told; return metrics."""
        outcomes = np.frombuffer(b"".join(messages), "<i8").reshape(-1, 4).astype(np.int64)
        fresh = outcomes[:, SLOT] < 0
        again = outcomes[~fresh]
        table = score(self.table, again, self.spec.attempts)
        self.table, entered = admit(table, outcomes[fresh], self.spec.attempts, self.seed)
        rate = {"learnability/success_rate": float(again[:, SUCCESS].mean())} if len(again) else {}
        return {
            "learnability/levels": float(self.levels),
            "learnability/mean": self.mean,
            "learnability/entered": float(entered),
            "learnability/episodes": float(len(again)),
            **rate,
        }

    @property
    def levels(self) -> int:
        """How many levels are remembered."""
        return int((self.table.attempts > 0).sum())

    @property
    def mean(self) -> float:
        """Mean p(1 - p) of the remembered levels; 0 without one."""
        return int(self.table.weights().sum()) / (ONE * self.levels) if self.levels else 0.0

    def for_env(self) -> tuple[Tensor, Tensor, float]:
        """Arguments of `VectorEnv.remember_levels`."""
        return torch.from_numpy(self.table.level), torch.from_numpy(self.table.weights()), self.spec.share

    def get_state(self) -> dict[str, Tensor]:
        """The table, equal on all ranks. After `learn` there is nothing else."""
        table = self.table
        names = {"level": table.level, "attempts": table.attempts, "successes": table.successes}
        return {name: torch.from_numpy(array.copy()) for name, array in names.items()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `get_state` was called, after `begin`. Raises ValueError for what no run leaves behind."""
        for name, tensor in self.get_state().items():
            if name not in state or state[name].shape != tensor.shape or state[name].dtype != tensor.dtype:
                raise ValueError(f"the remembered levels' {name!r} is missing or of another shape or type")
        level, attempts, successes = (state[name].numpy().copy() for name in ("level", "attempts", "successes"))
        if (attempts < 0).any() or (attempts >= 2 * self.spec.attempts).any():
            raise ValueError("a remembered level has a number of attempts that none can have")
        if (successes < 0).any() or (successes > attempts).any():
            raise ValueError("a remembered level has more successes than attempts, or fewer than none")
        if (level < 0).any() or (level[:, INDEX] >= self.total_envs).any():
            raise ValueError("a remembered level has a name that no level has")
        self.table = Table(level, attempts, successes)
