"""One foreign environment in this process: there is nothing to step beside it, and waking another takes far longer."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import gymnasium

from headway.envs.foreign.memory import Block, own_block
from headway.envs.foreign.pool import QUIET_PACKAGES, EnvironmentCrashError
from headway.envs.foreign.worker import Worker
from headway.errors import SpecError


class Alone:
    """A pool (see `pool.Pool`) of one environment and no process."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        """Raises SpecError where the environment cannot be made."""
        gymnasium.logger.min_level = gymnasium.logger.ERROR
        for name, value in QUIET_PACKAGES.items():
            os.environ.setdefault(name, value)
        with contextlib.redirect_stdout(sys.stderr):  # what packages print is no result of ours
            self._worker = Worker(dict(order) | {"first": 0, "count": 1, "total": 1, "check": True})
        self.sizes = self._worker.codec.sizes
        self.block: Block = own_block(1, self.sizes)
        self._worker.block = self.block
        self._tasks = {"begin": self._worker.begin, "step": self._worker.step}

    def do(self, task: str, stage: int) -> None:
        """Do a task. Raises EnvironmentCrashError for what the environment raises."""
        try:
            self._tasks[task](stage)
        except SpecError:
            raise
        except Exception as error:
            summary = f"environment 0 of this rank: {type(error).__name__}: {error}"
            raise EnvironmentCrashError(f"{summary}\n{traceback.format_exc()}") from None

    def close(self) -> None:
        """End the environment."""
        self._worker.close()
