"""The `headway worker` of a local run: a process in a session of its own, where no signal of a terminal reaches it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from headway_api import names
from headway_api.training_run import TrainingRun

from headway.local.folder import Folder, sign

WORKER_COMMAND = (sys.executable, "-m", "headway", "worker")


class Child:
    """One attempt as a process. It saves and leaves when asked to, and when this process is gone."""

    def __init__(self, folder: Folder, run: TrainingRun, attempt: int, lock: int, leave_at: int = 0) -> None:
        arguments = ("--termination-log", str(folder.outcome(attempt)), "--stop-at-eof")
        folder.outcome(attempt).unlink(missing_ok=True)
        ours = {names.ENV_LEAVE_AT: str(leave_at), names.ENV_LAUNCHED_AT: str(time.time())}
        with folder.log(attempt).open("wb") as log:
            self._process = subprocess.Popen(
                [*WORKER_COMMAND, *arguments],
                env=worker_environment(dict(os.environ), folder, run, attempt) | ours,
                stdin=subprocess.PIPE,  # its end tells the child that this process is gone
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),  # the folder stays locked until the child is gone too
            )

        sign(lock, self._process.pid)  # which outlives this process, if only until it has saved

    def exit_code(self) -> int | None:
        """Return the exit code, or None while it runs; of a signal as a shell gives it."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def save_and_leave(self) -> None:
        """Ask it to save and leave."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; its ranks notice and leave."""
        self._process.kill()
        self._process.wait()


def worker_environment(env: dict[str, str], folder: Folder, run: TrainingRun, attempt: int) -> dict[str, str]:
    """Return the environment that the operator would give, for one node on this machine."""
    here = folder.path.resolve()
    kept = {key: value for key, value in env.items() if not key.startswith(("HEADWAY_", "PET_", "TORCHELASTIC_"))}
    return kept | {
        names.ENV_SPEC: str(here / folder.document.name),
        names.ENV_NAMESPACE: run.metadata.namespace,
        names.ENV_NAME: run.metadata.name,
        names.ENV_UID: run.metadata.uid,
        names.ENV_ATTEMPT: str(attempt),
        names.ENV_ROOT: str(here / folder.checkpoints.name),
        names.ENV_OUT: str(here),
        names.ENV_NNODES: "1",
        names.ENV_NPROC: str(run.spec.ranks_per_node),
        names.ENV_NODE_RANK: "0",
    }
