"""`headway studies replay`: a policy trained again by the schedule of a population."""

from __future__ import annotations

import argparse
import shlex
import warnings

from headway_api import names
from headway_api.load import read_document, validate_study
from rich.console import Console
from rich.text import Text

from headway.commands.study import LOCAL
from headway.errors import UserError
from headway.extras import require
from headway.local.folder import Folder
from headway.local.summary import places
from headway.units import typed


def replay(options: argparse.Namespace, console: Console) -> int:
    """Train, and return the exit code: an error where the same seed has not led to the same weights."""
    require("trainer")
    require("hpo")
    import optuna

    from headway.hpo.core import StudyCore
    from headway.hpo.raytune.replay import Replay
    from headway.hpo.storage import open_storage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    given = options.folder
    if not (given / "study.yaml").exists():
        raise UserError(f"{given}: holds no study.yaml: name a study's folder")
    Folder(given).claim()  # nobody trains it meanwhile; let go at the end of the process
    study = validate_study(read_document(given / "study.yaml"))
    core = StudyCore(open_storage(f"sqlite:///{(given / 'study.db').resolve()}"), f"{LOCAL}/{study.metadata.name}",
                     study.spec)  # fmt: skip
    found = Replay.of(study, core, given, options.trial, options.seed, options.out)
    console.print(Text(f"\n {study.metadata.name}, trial {found.trial}: {len(found.parts)} parts"), soft_wrap=True)
    for line in found.train():
        console.print(Text(f" {line}"), soft_wrap=True)
    rows = [("policy", str(found.policy()))]
    if options.seed is None:
        rows.append(("weights", "the same bits as the trial's" if found.is_same() else "not those of the trial"))
    rows.append(("next", shlex.join([typed("headway"), "eval", str(found.policy())])))
    console.print(places(*rows))
    return names.EXIT_OK if options.seed is not None or found.is_same() else names.EXIT_ERROR
