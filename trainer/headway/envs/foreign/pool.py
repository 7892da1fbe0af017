"""Processes that step foreign environments, several each, over shared memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from itertools import pairwise
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from headway.envs.foreign.memory import Block, share
from headway.envs.foreign.spaces import Sizes
from headway.errors import SpecError

LEAVE_SECONDS = 20.0  # an interpreter takes seconds to leave on a busy machine
SHARED_MEMORY = Path("/dev/shm")
# No windows, no greetings.
QUIET_PACKAGES = {"SDL_VIDEODRIVER": "dummy", "MPLBACKEND": "Agg", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
# A worker is one of several: a thread each.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class EnvironmentCrashError(RuntimeError):
    """An environment of another package has raised, or its process has died."""


class Pool:
    """`order` is what each Worker is told, less its share of the `total` environments."""

    def __init__(self, order: Mapping[str, Any], total: int, processes: int) -> None:
        """Raises SpecError where the environment cannot be made, EnvironmentCrashError where a process dies."""
        bounds = np.linspace(0, total, 1 + min(processes, total), dtype=np.int64).tolist()
        self._shares = list(pairwise(bounds))
        self._pipes: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _end, self._pipes, self._processes)
        for first, last in self._shares:
            self._start(dict(order) | {"first": first, "count": last - first, "total": total, "check": first == 0})
        self.sizes = Sizes(*self._answers()[0])
        folder = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
        with tempfile.NamedTemporaryFile(prefix="headway-", dir=folder) as file:  # nameless once all have mapped it
            self.block: Block = share(Path(file.name), total, self.sizes, create=True)
            self._tell(file.name.encode())
            self._answers()

    def do(self, task: str, stage: int) -> None:
        """Do a task in all environments. Raises EnvironmentCrashError."""
        self._tell(json.dumps({"task": task, "stage": stage}).encode())
        self._answers()

    def close(self) -> None:
        """End the processes; also done when the pool is collected."""
        _end(self._pipes, self._processes)

    def _start(self, order: dict[str, Any]) -> None:
        ours, theirs = Pipe()
        self._pipes.append(ours)
        path = os.pathsep.join(entry for entry in sys.path if entry)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "headway.envs.foreign.worker", str(theirs.fileno())],
                env=os.environ | ONE_THREAD | QUIET_PACKAGES | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=2,  # what packages print is no result of ours
                pass_fds=(theirs.fileno(),),
            )
        self._processes.append(process)
        ours.send_bytes(json.dumps(order).encode())

    def _tell(self, message: bytes) -> None:
        for number, pipe in enumerate(self._pipes):
            try:
                pipe.send_bytes(message)
            except OSError:
                raise self._lost(number) from None

    def _answers(self) -> list[Any]:
        """One answer of each process, in order; an error in any is raised, the first one's."""
        return [self._answer(number) for number in range(len(self._pipes))]

    def _answer(self, number: int) -> Any:
        try:
            answer = json.loads(self._pipes[number].recv_bytes())
        except (EOFError, OSError):
            raise self._lost(number) from None
        if isinstance(answer, dict) and "fix" in answer:
            raise SpecError(answer["field"], answer["value"], answer["fix"])
        if isinstance(answer, dict) and "error" in answer:
            raise EnvironmentCrashError(f"{self._whose(number)}: {answer['error']}\n{answer['trace']}")
        return answer

    def _lost(self, number: int) -> EnvironmentCrashError:
        code = self._processes[number].wait()
        how = f"was killed by signal {-code}: out of memory?" if code < 0 else f"ended with exit code {code}"
        return EnvironmentCrashError(f"{self._whose(number)}: the process {how}")

    def _whose(self, number: int) -> str:
        first, last = self._shares[number]
        return f"process {number} of the environment, which steps environments {first} to {last - 1} of this rank"


def _end(pipes: list[Connection], processes: list[subprocess.Popen[bytes]]) -> None:
    for pipe in pipes:
        pipe.close()
    for process in processes:
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
