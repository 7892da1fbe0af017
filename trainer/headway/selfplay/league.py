"""Who is in the pool, how the learner fares beside each, and who is met next. Pure, in whole numbers.

Ratings are Elo's (Elo 1978, "The Rating of Chessplayers, Past and Present"): an episode that the learner ends at its
goal is won against the policy that drove the others, any other end is lost. Opponents are drawn as AlphaStar's
prioritized fictitious self-play draws them (Vinyals et al. 2019, Nature 575, 350-354, methods): by (1 - p)^2 of the
learner's success rate p beside each.

Sums over ranks are of integers and every order is fixed, so every rank and any split over ranks has the same league.

P places of past policies: those of the pool, and one more. Who leaves the pool keeps its place until the next one
enters, and drives to the end of the episodes that it is in. Row P of the table is the present policy as a partner: it
is rated as the others are, and a policy that enters begins with its rating. Were that the learner's own, each that
enters would lend it points, and its rating would rise for ever without it getting better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

PRESENT: Final = -1  # in the place of a past policy's number
POINT: Final = 1000  # ratings are whole thousandths of a point
START: Final = 1000 * POINT
K: Final = 32 * POINT  # most that an update moves the learner's rating: its episodes together count as one match ...
FULL_MATCH: Final = 16  # ... or as less than one, where they are fewer than this
FARTHEST: Final = 4000 * POINT  # between two ratings: beyond it nothing is left to expect
ONE: Final = 1 << 16  # weights are whole multiples of 1 / ONE
FLOOR: Final = ONE // 100  # the least weight in the pool, of those beside whom nine of ten succeed
RECORD: Final = 256  # at twice as many episodes a record shrinks to this: policies change, old outcomes fade
MILLION: Final = 1_000_000


@dataclass(frozen=True)
class League:
    """Past policies are numbered from 0 as they enter; number k has place k % P."""

    entered: int  # how many have entered so far
    learner: int  # its rating
    rating: Ints  # [P + 1]
    games: Ints  # [P + 1] episodes beside each, faded
    wins: Ints  # [P + 1] those that the learner ended at its goal

    @staticmethod
    def empty(pool: int) -> League:
        """Return the league of a run that begins, with `pool` + 1 places."""
        rows = pool + 2
        return League(0, START, np.full(rows, START, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64))

    @property
    def places(self) -> int:
        """P."""
        return len(self.rating) - 1

    def numbers(self) -> Ints:
        """Number of the policy at each place, [P]; negative where nobody is."""
        place = np.arange(self.places)
        return self.entered - 1 - (self.entered - 1 - place) % self.places

    def members(self) -> NDArray[np.bool_]:
        """Say which places are of the pool: taken, and not by who has left it; bool [P]."""
        numbers = self.numbers()
        return (numbers >= 0) & (numbers > self.entered - self.places)

    def row(self, number: Ints) -> Ints:
        """Row of the table for each number, and for PRESENT; of the same shape."""
        return np.where(number == PRESENT, self.places, number % self.places)

    def is_there(self, number: Ints) -> NDArray[np.bool_]:
        """Say who still has its place, or is PRESENT: for anybody else a newer one drives by now."""
        return (number == PRESENT) | (number >= self.entered - self.places)

    def weights(self, opponents: str) -> Ints:
        """Weight of each place in the draw of an opponent, [P]; 0 outside of the pool."""
        numbers, members = self.numbers(), self.members()
        if opponents == "latest":
            return np.where(members & (numbers == self.entered - 1), ONE, 0)
        if opponents == "uniform":
            return np.where(members, ONE, 0)
        # 1 - p by Laplace's estimate, (lost + 1) / (n + 2), squared.
        games, lost = self.games[:-1] + 2, (self.games - self.wins)[:-1] + 1
        return np.where(members, np.maximum(lost * lost * ONE // (games * games), FLOOR), 0)


def enter(league: League) -> League:
    """Let a copy of the present policy enter; the oldest of a full pool leaves it."""
    place = league.entered % league.places
    rating, games, wins = league.rating.copy(), league.games.copy(), league.wins.copy()
    rating[place], games[place], wins[place] = rating[-1], 0, 0
    return League(league.entered + 1, league.learner, rating, games, wins)


def expected(league: League) -> Ints:
    """Share of the episodes that the learner should win beside each by their ratings, in millionths; [P + 1]."""
    ahead = np.clip(league.rating - league.learner, -FARTHEST, FARTHEST)
    return np.rint(MILLION / (1.0 + 10.0 ** (ahead / (400.0 * POINT)))).astype(np.int64)


def score(league: League, counts: Ints) -> League:
    """Count an update's episodes: `counts` [P + 1, 2] of all ranks are episodes and wins beside each.

    What the learner gains the others lose, each by its part: K times the mean of outcome less expectation.
    """
    played, won = counts[:, 0], counts[:, 1]
    surplus = won * MILLION - played * expected(league)
    change = _nearest(K * surplus, max(int(played.sum()), FULL_MATCH) * MILLION)
    games, wins = league.games + played, league.wins + won
    is_long = games >= 2 * RECORD
    wins = np.where(is_long, _nearest(wins * RECORD, np.maximum(games, 1)), wins)
    rated = replace(league, learner=league.learner + int(change.sum()), rating=league.rating - change)
    return replace(rated, games=np.where(is_long, RECORD, games), wins=wins)


def draw(league: League, weights: Ints, latest_share: float, words: tuple[Ints, Ints]) -> Ints:
    """Return who drives the others in each of M episodes: a number, or PRESENT; [M].

    `words` [M] each are random 32-bit numbers: one decides whether it is the present policy, one who else.
    """
    total = np.cumsum(weights)
    place = np.searchsorted(total, words[1] * total[-1] >> 32, side="right")
    is_present = (words[0] < latest_share * 2**32) | (total[-1] == 0)
    return np.where(is_present, PRESENT, league.numbers()[np.minimum(place, league.places - 1)])


def _nearest(numerator: Ints, denominator: Ints | int) -> Ints:
    """Divide, rounded to the nearest whole number, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
