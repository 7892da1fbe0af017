"""`headway study`: searches hyperparameters on this machine. The same file goes to a cluster with `kubectl apply`."""

from __future__ import annotations

import os
import shlex
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from headway_api import names
from headway_api.hpo_study import HPOStudy
from headway_api.load import read_document, validate_study
from rich.console import Console
from rich.text import Text

from headway.errors import UserError
from headway.extras import require
from headway.launch.threads import THREAD_VARIABLES, available_cores
from headway.local.document import apply_set
from headway.local.folder import Folder, write_whole
from headway.local.interrupts import Interrupts
from headway.local.summary import places
from headway.units import typed

if TYPE_CHECKING:
    from headway.hpo.core import StudyCore
    from headway.hpo.local.engine import Engine
    from headway.hpo.remote_core import RemoteCore

ENGINES = {"optuna": "optuna", "raytune": "rayTune"}  # --engine -> its field
PICTURE, DATABASE = "study.png", "study.db"
LINEAGE = "lineage.jsonl"  # of a population: hpo/raytune/lineage.py
LOCAL = "local"  # stands for the namespace and the UID that a study has on a cluster


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    spec: Path
    sets: tuple[str, ...] = ()
    trials: int | None = None
    parallel: int | None = None
    out: Path | None = None
    budget_s: float | None = None
    plain: bool = False
    engine: str | None = None

    def command(self) -> str:
        """Return the command that goes on from where this one leaves."""
        words = [typed("headway"), "study", str(self.spec)]
        words += [word for assignment in self.sets for word in ("--set", assignment)]
        words += ["--trials", str(self.trials)] if self.trials is not None else []
        words += ["--parallel", str(self.parallel)] if self.parallel is not None else []
        words += ["--out", str(self.out)] if self.out is not None else []
        words += ["--engine", self.engine] if self.engine is not None else []
        return shlex.join(words)


def study(options: Options, console: Console) -> int:
    """Search, and return the exit code. Raises UserError or SpecError for what the user can mend."""
    from headway.hpo.remote_core import StudyServiceAwayError

    try:
        return _search(options, console)
    except StudyServiceAwayError as error:  # of a driver: its Job begins another pod
        console.print(Text(f"{error}: left, to be gone on with"), soft_wrap=True)
        return names.EXIT_SAVED_AND_LEFT


def _search(options: Options, console: Console) -> int:
    given = read(options)
    require("trainer")
    require("hpo")
    if given.spec.engine.ray_tune is not None:
        require("raytune")
    import optuna

    from headway.hpo.local.engine import TICK_S
    from headway.hpo.local.screen import StudyScreen
    from headway.hpo.plots import plot
    from headway.hpo.storage import open_storage

    metric = given.spec.objectives[0].metric
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # our tests hold what we use
    out = options.out or Path("runs") / given.metadata.name
    lock = Folder(out).claim()
    refuse_another(out, given)
    share_threads(given.spec.budget.parallel)
    core = open_core(given, out)
    engine = make_engine(given, core, out)
    _greet(console, given, out, engine.snapshot.trials.finished)
    with (
        Interrupts(options.budget_s) as interrupts,
        StudyScreen(console, given.spec, options.plain or not console.is_terminal) as screen,
    ):
        while True:
            is_over = engine.is_over(interrupts)
            said, engine.said = engine.said, []
            screen.show(engine.moment(), said)
            if is_over:
                break
            time.sleep(TICK_S)
    if engine.snapshot.trials.complete and (out / DATABASE).exists():
        storage = open_storage(f"sqlite:///{(out / DATABASE).resolve()}")
        plot(
            optuna.load_study(study_name=local_key(given), storage=storage), out / PICTURE, given.metadata.name, metric
        )
    os.close(lock)
    _summarise(console, options, engine, out)
    if not engine.is_finished:
        return 128 + signal.SIGINT if interrupts.ctrl_c else names.EXIT_SAVED_AND_LEFT
    return names.EXIT_ERROR if engine.failure or not engine.snapshot.trials.complete else names.EXIT_OK


def open_core(given: HPOStudy, out: Path) -> StudyCore | RemoteCore:
    """Return the study's record: a file below `out`, or the study service, which a driver in a cluster is told of."""
    from headway.hpo.core import StudyCore
    from headway.hpo.remote_core import RemoteCore
    from headway.hpo.storage import open_storage

    if url := os.environ.get(names.ENV_STUDIES_URL):
        token, ca = (Path(os.environ[name]) for name in (names.ENV_STUDIES_TOKEN, names.ENV_STUDIES_CA))
        return RemoteCore(url, given.metadata, given.spec, token, ca)
    return StudyCore(open_storage(f"sqlite:///{(out / DATABASE).resolve()}"), local_key(given), given.spec)


def local_key(given: HPOStudy) -> str:
    """Return the study's name in its file."""
    return f"{LOCAL}/{given.metadata.name}"


def read(options: Options) -> HPOStudy:
    """Read the file and apply the command line. Raises SpecError."""
    document = read_document(options.spec)
    for flag, field, value in (("--trials", "trials", options.trials), ("--parallel", "parallel", options.parallel)):
        if value is not None:
            if value < 1:
                raise UserError(f"{flag}: found {value}: give a whole number of at least 1")
            document = apply_set(document, f"budget.{field}={value}")
    if options.engine is not None:
        document = with_engine(document, ENGINES[options.engine])
    for assignment in options.sets:
        document = apply_set(document, assignment)
    return validate_study(document)


def with_engine(document: Any, name: str) -> Any:
    """Return the document with that engine, as the file has it, or else with its defaults."""
    spec = document.get("spec") if isinstance(document, dict) else None
    if not isinstance(spec, dict) or (isinstance(spec.get("engine"), dict) and name in spec["engine"]):
        return document  # what else is wrong with it, validation says
    return document | {"spec": spec | {"engine": {name: {}}}}


def make_engine(given: HPOStudy, core: StudyCore, out: Path) -> Engine:
    """Return what runs the trials."""
    if given.spec.engine.ray_tune is not None:
        from headway.hpo.raytune.engine import RayEngine

        return RayEngine(given, core, out)
    from headway.hpo.local.engine import Engine

    return Engine(given, core, out)


def refuse_another(out: Path, given: HPOStudy) -> None:
    """Raise UserError if the folder holds a study that this one does not go on with; note the study there."""
    path = out / "study.yaml"
    wire = given.to_wire()
    wire["metadata"] = {"name": given.metadata.name}
    if path.exists():
        known = validate_study(read_document(path))
        changed = [
            info.alias or name
            for name, info in type(given.spec).model_fields.items()
            if name not in ("budget", "trial_history_limit", "suspend")
            and getattr(known.spec, name) != getattr(given.spec, name)
        ]
        if known.metadata.name != given.metadata.name:
            raise UserError(f"--out {out}: holds the study {known.metadata.name!r}: give another folder")
        if changed:
            fields = ", ".join(f"spec.{field}" for field in changed)
            raise UserError(
                f"--out {out}: holds this study with another {fields}: give another folder, or change it back"
            )
    write_whole(path, yaml.safe_dump(wire, sort_keys=False, allow_unicode=True))


def share_threads(parallel: int) -> None:
    """Let the trials share the cores: their processes read these variables; what the user has set stays."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(max(1, available_cores() // parallel)))


def _greet(console: Console, given: HPOStudy, out: Path, finished: int) -> None:
    spec = given.spec
    if spec.engine.ray_tune is not None:
        sampler, pruner = spec.engine.ray_tune.searcher.chosen()[0], spec.engine.ray_tune.scheduler.chosen()[0]
        sampler = f"Ray Tune: {sampler}"
    else:
        assert spec.engine.optuna is not None  # validated: one of them is set
        sampler, pruner = spec.engine.optuna.sampler.chosen()[0], spec.engine.optuna.pruner.chosen()[0]
    what = f"  {len(spec.parameters)} parameters · {spec.budget.trials} trials, {spec.budget.parallel} at a time"
    what += f" · {sampler}, {pruner}"
    console.print(Text.assemble(("\n headway ", "bold"), given.metadata.name, (what, "dim")), soft_wrap=True)
    rows = [("out", str(out))]
    if finished:
        rows.append(("trials", f"{finished} are finished already, going on"))
    console.print(places(*rows))


def _summarise(console: Console, options: Options, engine: Engine, out: Path) -> None:
    counts = engine.snapshot.trials
    state = "is complete" if engine.is_finished else "is saved"
    words = f"\n {engine.study.metadata.name} {state}: {counts.complete} complete, {counts.pruned} pruned, "
    console.print(Text(words + f"{counts.failed} failed of {counts.total} trials"), soft_wrap=True)
    rows = []
    for best in engine.snapshot.best[:1]:
        values = ", ".join(f"{metric} {value:.4g}" for metric, value in best.values.items())
        rows.append(("best", f"trial {best.number}: {values}"))
        rows += [("", f"{path} = {value}") for path, value in best.parameters.items()]
        rows.append(("train it", shlex.join([typed("headway"), "run", str(out / "best.yaml")])))
        if (out / LINEAGE).exists():
            rows.append(("schedule", shlex.join([typed("headway"), "studies", "replay", str(out)])))
    if not engine.is_finished:
        rows.append(("go on", options.command()))
    rows += [("picture", str(out / PICTURE))] if (out / PICTURE).exists() else []
    if (out / DATABASE).exists():
        url = f"sqlite:///{(out / DATABASE).resolve()}"
        rows.append(("look", shlex.join([typed("headway"), "studies", "dashboard", "--storage", url])))
    console.print(places(*rows))
