"""Ranks that train one policy together: the group they form and the one buffer that their gradients meet in."""

from headway.parallel.flat import FlatParameters
from headway.parallel.group import LIFE_S, SILENCE_S, Group, check_divisible, join
from headway.parallel.lanes import Lanes, flushes_subnormals, subnormals_are_zero

__all__ = [
    "LIFE_S",
    "SILENCE_S",
    "FlatParameters",
    "Group",
    "Lanes",
    "check_divisible",
    "flushes_subnormals",
    "join",
    "subnormals_are_zero",
]
