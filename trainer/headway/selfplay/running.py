"""The self-play of a run that trains: who drives the other robots of which environment, counted and rated over ranks.

A thin shell around `league`, which decides, and `partners`, which act. It learns from the loop where episodes begin:
what the driver of the other robots is told by the environment are the trips of those robots, of which an episode has
many, and an episode is to have one driver.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
import torch
from headway_api.self_play_spec import SelfPlay
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway import randomness
from headway.algos.protocol import Algorithm
from headway.envs.protocol import EpisodeEnds, VectorEnv
from headway.errors import SpecError
from headway.parallel import Group
from headway.policy import load_initial_weights
from headway.selfplay import league
from headway.selfplay.league import POINT, PRESENT, RECORD, Ints, League
from headway.selfplay.partners import Partners, build_partner

log = logging.getLogger("headway")

NETWORK: Final = "network."  # of Algorithm.get_state: the policy
WEIGHTS: Final = "weights."
TABLE: Final = ("rating", "games", "wins")
MOST_RATING: Final = 2**53  # of a rating that can be reckoned with


class RunningSelfPlay:
    """N environments of this rank. All ranks call the same methods in the same order."""

    def __init__(
        self, spec: TrainSpec, env: VectorEnv, algorithm: Algorithm, group: Group, device: torch.device
    ) -> None:
        assert spec.self_play is not None
        self.spec: SelfPlay = spec.self_play
        self.seed, self.group, self.algorithm = spec.seed, group, algorithm
        self.league = League.empty(self.spec.pool.size if self.spec.pool else 1)
        self.partners = Partners(build_partner(spec, env, device), self.league.places, algorithm.policy())
        # In a stage without other robots nobody is met.
        shared = [stage.levels is not None and stage.levels.robots > 0 for stage in spec.curriculum.stages]
        self._is_shared = torch.tensor(shared)  # bool [S]
        self.env_index = torch.arange(env.num_envs) + group.rank * env.num_envs  # int64 [N] global
        self.episode = torch.zeros(env.num_envs, dtype=torch.int64)  # [N] number of the one under way
        self.opponent = torch.full((env.num_envs,), PRESENT)  # int64 [N] who drives the others in it
        self.counts = torch.zeros(self.league.places + 1, 2, dtype=torch.int64)  # episodes and wins of this update
        self._row = torch.from_numpy(self.league.row(self.opponent.numpy()))  # int64 [N] of the table: who that is

    def begin(self) -> None:
        """Begin a new run: no policy of its own has passed yet. Raises SpecError for a frozen one that does not fit."""
        if self.spec.frozen:
            self._enter_frozen(self.spec.frozen.policy)
        self._meet(torch.arange(len(self.opponent)))

    def __call__(self, features: Tensor, begins: Tensor) -> Tensor:
        """Drive the R other robots of all environments: actions for features [N * R, F]. See HasOthers.drive_others."""
        robots = len(features) // len(self._row)
        return self.partners.act(features, begins, self._row.repeat_interleave(robots).to(features.device))

    def add(self, ends: EpisodeEnds) -> None:
        """Take in one step's ends; where an episode ended another has begun, with a driver of its own."""
        rows = ends.ended.nonzero()[:, 0]
        if len(rows):
            self._count(rows, ends)
            self.episode[rows] += 1
            self._meet(rows)

    def advance(self, steps_before: int, step: int) -> dict[str, float]:
        """Rate all ranks' episodes after an update that led to environment step `step`, let the policy enter if due.

        Returns metrics of the update.
        """
        counts = self.group.sum_(self.counts.clone()).numpy()
        self.counts.zero_()
        self.league = league.score(self.league, counts)
        pool = self.spec.pool
        if pool and step // pool.every_steps > steps_before // pool.every_steps:
            state = self.algorithm.get_state()
            self._enter({k.removeprefix(NETWORK): v for k, v in state.items() if k.startswith(NETWORK)})
        return self._metrics(counts)

    def _enter(self, weights: dict[str, Tensor]) -> None:
        self.partners.put(self.league.entered % self.league.places, weights)
        self.league = league.enter(self.league)

    def _enter_frozen(self, path: str) -> None:
        field = "train.selfPlay.frozen.policy"
        weights = load_initial_weights(path, field)
        try:
            self._enter(weights)
        except ValueError as error:
            raise SpecError(field, path, f"its network does not fit: {error}") from None
        log.info("the other robots are driven by %s", path)

    def _count(self, rows: Tensor, ends: EpisodeEnds) -> None:
        """Count episodes that ended in environments `rows` [K] for who drove the others to their end."""
        opponent = self.opponent[rows].numpy()
        known = self._is_shared[ends.stage[rows]] & torch.from_numpy(self.league.is_there(opponent))
        facts = torch.stack((known, known & ends.success[rows]), dim=1).long()  # [K, 2]
        self.counts.index_add_(0, self._row[rows], facts)

    def _meet(self, rows: Tensor) -> None:
        """Draw who drives the others in the episodes that begin in environments `rows` [K]."""
        words = randomness.opponent_draws(self.seed, self.env_index[rows], self.episode[rows])
        pool = self.spec.pool
        opponents, share = (pool.opponents, pool.latest_share) if pool else ("latest", 0.0)
        weights = self.league.weights(opponents)
        drawn = league.draw(self.league, weights, share, (words[0].numpy(), words[1].numpy()))
        self.opponent[rows] = torch.from_numpy(drawn)
        self._row[rows] = torch.from_numpy(self.league.row(drawn))

    def _metrics(self, counts: Ints) -> dict[str, float]:
        members = self.league.members()
        (played, won), (alone, arrived) = counts[:-1].sum(0).tolist(), counts[-1].tolist()
        metrics = {
            "selfplay/rating": self.league.learner / POINT,
            "selfplay/pool": float(members.sum()),
            "selfplay/episodes": float(played),
        }
        if members.any():
            metrics["selfplay/opponent_rating_mean"] = float(self.league.rating[:-1][members].mean()) / POINT
        if played:
            metrics["selfplay/win_rate"] = won / played
        if alone:
            metrics["selfplay/present_win_rate"] = arrived / alone
        return metrics

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def shared_state(self) -> dict[str, Tensor]:
        """Tensors that are equal on all ranks. Complete after `advance`, when nothing is counted that is not rated."""
        table = {name: torch.from_numpy(getattr(self.league, name).copy()) for name in TABLE}
        weights = {WEIGHTS + name: tensor.cpu() for name, tensor in self.partners.stack.items()}
        return {"league": torch.tensor([self.league.entered, self.league.learner])} | table | weights

    def own_state(self) -> dict[str, Tensor]:
        """Tensors with a row for each of this rank's environments."""
        return {"opponent": self.opponent.clone(), "episode": self.episode.clone()}

    def restore(self, own: dict[str, Tensor], shared: dict[str, Tensor]) -> None:
        """Go on where the two were taken. Raises ValueError for what no run of this spec leaves behind."""
        for name, tensor in (self.shared_state() | self.own_state()).items():
            given = (own if name in ("opponent", "episode") else shared).get(name)
            if given is None or given.shape != tensor.shape or given.dtype != tensor.dtype:
                raise ValueError(f"self-play's {name!r} is missing or of another shape or type")
        entered, learner = shared["league"].tolist()
        rating, games, wins = (shared[name].numpy().copy() for name in TABLE)
        if entered < 0 or (self.spec.frozen and entered != 1):
            raise ValueError("self-play has a number of past policies that it cannot have")
        if max(abs(learner), int(np.abs(rating).max())) > MOST_RATING:
            raise ValueError("self-play has a rating that nobody can have")
        if (games < 0).any() or (games >= 2 * RECORD).any() or (wins < 0).any() or (wins > games).any():
            raise ValueError("self-play has a record that nobody can have")
        if not bool(((own["opponent"] >= PRESENT) & (own["opponent"] < entered) & (own["episode"] >= 0)).all()):
            raise ValueError("self-play has an opponent or an episode that there is not")
        self.league = League(entered, learner, rating, games, wins)
        self.opponent.copy_(own["opponent"])
        self.episode.copy_(own["episode"])
        self._row.copy_(torch.from_numpy(self.league.row(self.opponent.numpy())))
        for name, stacked in self.partners.stack.items():
            stacked.copy_(shared[WEIGHTS + name])
