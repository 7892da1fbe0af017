"""How good a policy is: rates with intervals on levels that it never saw, beside baselines."""

from headway.evaluation.baselines import BASELINES, Actor, trained
from headway.evaluation.evaluate import Rate, Scores, evaluate
from headway.evaluation.intervals import wilson_interval
from headway.evaluation.random_actions import RandomActions
from headway.evaluation.table import score_table

__all__ = [
    "BASELINES",
    "Actor",
    "RandomActions",
    "Rate",
    "Scores",
    "evaluate",
    "score_table",
    "trained",
    "wilson_interval",
]
