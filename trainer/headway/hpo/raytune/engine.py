"""A study run by Ray Tune: one driver thread, an actor for each trial, the same rounds and screen as without Ray."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from headway_api.hpo_study import HPOStudy
from headway_api.ray_rules import population

# Ray reads these when it is loaded or started. It prints nothing between our lines, sends no figures to its makers,
# writes no files that nobody reads and takes a last word without the metric; a trial's own processes choose their GPUs,
# and are not killed with their actor: they notice, save and leave. Nobody without Ray's token is let in, or spoken to.
# What takes too much memory is the kernel's to say: it ends one run, which goes on, and not all actors.
# A container's /dev/shm is too small for Ray; what we pass through it is not.
for _name, _value in {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_kill_child_processes_on_worker_exit": "false",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",
}.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
import torch  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.stopper import Stopper  # noqa: E402

from headway.errors import UserError  # noqa: E402
from headway.hpo.core import StudyCore  # noqa: E402
from headway.hpo.local.engine import Engine, ShownTrial  # noqa: E402
from headway.hpo.raytune.book import Book, BookSearcher  # noqa: E402
from headway.hpo.raytune.population import PopulationBook  # noqa: E402
from headway.hpo.raytune.schedulers import SCHEDULERS  # noqa: E402
from headway.hpo.raytune.trainable import train_trial  # noqa: E402
from headway.local.folder import Folder  # noqa: E402
from headway.local.interrupts import Interrupts  # noqa: E402
from headway.view import View  # noqa: E402

SMALL = {"object_store_memory": 80 * 1024**2}  # bytes: Ray's least, and more than a few numbers take
SAVING_S = 120.0  # how long runs may take to save once all is to end


class RayTrial:
    """A trial in an actor of Ray's, seen through its folder."""

    def __init__(self, number: int, path: Path) -> None:
        self.number, self.seed_index, self.pruned = number, 0, False
        self._folder = Folder(path)
        self.view: View | None = None

    def look(self) -> None:
        """Read how far it is. A folder that is not there yet, or no more readable, says nothing new."""
        with suppress(UserError, OSError):
            if self._folder.document.exists():
                run = self._folder.read()
                progress = run.status.progress if run.status is not None else None
                self.view = View(run, 0.0, progress, self.pruned)

    @property
    def step(self) -> int:
        """Environment steps, as last reported."""
        return self.view.progress.step if self.view is not None and self.view.progress is not None else 0

    @property
    def is_busy(self) -> bool:
        """Whether its run still holds the folder."""
        try:
            os.close(self._folder.claim())
        except UserError:
            return True
        return False


class RayEngine(Engine):
    """The rounds of a local study, whose trials Ray starts and stops."""

    def __init__(self, study: HPOStudy, core: StudyCore, out: Path) -> None:
        super().__init__(study, core, out)
        is_population = population(study.spec) is not None
        self._book: Book = PopulationBook(study, core, out) if is_population else Book(study, core, out)
        assert study.spec.engine.ray_tune is not None
        self._settings = study.spec.engine.ray_tune
        if is_population:
            self.best_note = (
                "# With the values that the trial ended with. How they changed on the way is in lineage.jsonl:\n"
                f"# headway studies replay {out} trains by that.\n"
            )
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._seen: dict[Path, RayTrial] = {}  # every run of this process, by its folder
        self._shown: list[ShownTrial] = []

    def is_over(self, interrupts: Interrupts) -> bool:
        """Do one round; say whether all is finished, or saved and left. Raises what Ray's loop has raised."""
        if interrupts.asked_to_leave:
            self._leaving = True
        self.snapshot = self.core.snapshot()
        self._look()
        self._keep_best()
        self._keep_to_budget()
        if self._leaving or self._ending:
            self._book.leave.set()
        elif self._thread is None and not self.is_finished:
            self._start()
        if self._thread is not None and self._thread.is_alive() and interrupts.ctrl_c < 2:
            return False
        self._conclude_all(wait=interrupts.ctrl_c < 2)
        return True

    def _look(self) -> None:
        """Take in what the actors' runs and Ray's loop have brought."""
        said, self._book.said = self._book.said, []
        self.said += said
        self._shown = []
        for number in self._book.open:
            folder = self._book.folder(number)
            trial = self._seen.setdefault(folder, RayTrial(number, folder))
            trial.look()
            self._shown.append(trial)

    def _in_progress(self) -> list[ShownTrial]:
        return self._shown

    def _conclude_all(self, wait: bool) -> None:
        """Wait for runs that save, and end what the budget has ended. Ray goes first: its actors' end is their sign."""
        if self._thread is not None:
            ray.shutdown()
        deadline = time.monotonic() + SAVING_S
        for trial in self._seen.values():
            while wait and trial.is_busy and time.monotonic() < deadline:
                time.sleep(0.1)
        if self._error is not None:
            raise self._error
        if self._ending:
            self._book.prune_rest(self._ending)
        self._look()
        self.snapshot = self.core.snapshot()
        self._keep_best()

    def _start(self) -> None:
        """Start Ray on this machine, or find the cluster, and start the loop in a thread."""
        place = self._out.resolve() / "ray"
        shutil.rmtree(place, ignore_errors=True)  # files of Ray's that nobody reads
        on_sigterm = signal.getsignal(signal.SIGTERM)
        address = self._settings.address
        own = {} if address else {"num_cpus": self._spec.budget.parallel, "include_dashboard": False, **SMALL}
        if address:
            refuse_silent(address)  # Ray itself would wait for minutes
        ray.init(address or "local", log_to_driver=False, configure_logging=True, logging_level=logging.ERROR, **own)
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own, which ends the process
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        self._thread = threading.Thread(target=self._search, args=(place,), daemon=True)
        self._thread.start()

    def _search(self, place: Path) -> None:
        try:
            for trials in self._book.rounds():
                self._round(place, trials).fit()
        except BaseException as error:  # told by the thread that shows the study
            self._error = error

    def _needs(self) -> dict[str, float]:
        """What Ray sets aside for a trial: on this machine one of as many places as trials may run, and GPUs of its own
        where there are any; without, it trains on the CPU as `headway run` does."""
        run = self._spec.run_template
        if self._settings.address:
            return {"cpu": run.ranks_per_node, "gpu": run.gpus_per_node}
        return {"cpu": 1, "gpu": run.gpus_per_node if torch.cuda.device_count() else 0}

    def _round(self, place: Path, trials: int) -> tune.Tuner:
        kind = self._settings.scheduler.chosen()[0]
        return tune.Tuner(
            tune.with_resources(train_trial, self._needs()),
            tune_config=tune.TuneConfig(
                num_samples=trials,
                max_concurrent_trials=self._spec.budget.parallel,
                search_alg=BookSearcher(self._book),
                scheduler=SCHEDULERS[kind](self._spec, self._book),
            ),
            run_config=tune.RunConfig(
                name=self.study.metadata.name,
                storage_path=str(place),
                stop=_Leaving(self._book),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=self._spec.run_template.failure_policy.max_restarts),
            ),
        )


def refuse_silent(address: str) -> None:
    """Raise UserError if nobody listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"spec.engine.rayTune.address: found {address!r}: {error}: is the cluster up?") from None


class _Leaving(Stopper):
    """Ends Ray's loop once the study is to leave."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial alone."""
        return False

    def stop_all(self) -> bool:
        """Return whether all are to end."""
        return self._book.leave.is_set()
