"""Checkpoints that branches of a population begin from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from headway import checkpoint
from headway.errors import UserError
from headway.local.folder import Folder


def newest_checkpoint(folder: Path) -> checkpoint.Found:
    """Return where a run is. Raises UserError if it has saved nothing."""
    place = Folder(folder)
    run = place.read()
    root = place.checkpoints / run.metadata.namespace / run.metadata.name
    found = checkpoint.search(root, run.metadata.uid, [])
    if found is None:
        raise UserError(f"{root}: no whole checkpoint of {run.metadata.name}: give another --out, or restore it")
    return found


def keep(directory: Path, place: Path) -> None:
    """Keep a checkpoint that its run may soon delete: the same files under another name where that can be."""
    shutil.rmtree(place, ignore_errors=True)  # of a decision that was not written down
    place.mkdir(parents=True)
    try:
        shutil.copytree(directory, place / directory.name, copy_function=os.link)
    except OSError:  # no hard links here
        shutil.rmtree(place / directory.name, ignore_errors=True)
        shutil.copytree(directory, place / directory.name)
