"""Errors that are the user's to mend: one message that names the field, the value and the fix; exit code 2."""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong: the message says what and how to mend it; shown without a traceback."""


class SpecError(UserError):
    """A spec that cannot be trained as it stands.

    `field` is the path below `spec`, as in `--set`: `train.numEnvs`.
    """

    def __init__(self, field: str, value: object, fix: str) -> None:
        super().__init__(f"{field}: {value!r}: {fix}")
        self.field = field
        self.value = value
        self.fix = fix


class CheckpointError(UserError):
    """A checkpoint that must not or cannot be resumed: another run's, another spec's, or damaged."""


class RankLostError(RuntimeError):
    """This rank has given up waiting for others, and the attempt with it: the message names them.

    Not the user's to mend: the gang is restarted from its last checkpoint. `ranks` are those that are lost, empty if
    nobody can be named; `hung` says that they were given up while they may still exist.
    """

    def __init__(self, message: str, ranks: tuple[int, ...] = (), hung: bool = False) -> None:
        super().__init__(message)
        self.ranks = ranks
        self.hung = hung
