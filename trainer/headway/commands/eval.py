"""`headway eval`: a trained policy on levels that it has never seen, beside baselines."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from headway.errors import UserError
from headway.extras import require
from headway.launch.threads import available_cores, numba_cache, thread_environment
from headway.local.folder import Folder
from headway.units import count, shown

if TYPE_CHECKING:
    from headway_api.train_spec import TrainSpec

    from headway.evaluation import Actor, Scores
    from headway.policy import Policy

MOST_LEVELS = 1_000_000


def evaluate(options: Namespace, console: Console) -> int:
    """Print the scores, or one JSON object. Raises UserError for what cannot be evaluated."""
    if not 1 <= options.levels <= MOST_LEVELS:
        raise UserError(f"--levels: found {options.levels}: give a number from 1 to {MOST_LEVELS}")
    path = policy_path(options.checkpoint)
    require("trainer")
    os.environ.update(thread_environment(os.environ, 1, available_cores()) | numba_cache(os.environ))
    from headway.evaluation import trained
    from headway.policy import load_policy

    policy = load_policy(path)
    check_picture(options.picture, policy.spec)
    stage = stage_number(policy.spec, options.stage)
    name = policy.spec.curriculum.stages[stage].name
    actors = {"policy": trained(policy.act)}
    known, default = known_baselines(policy.spec)
    actors |= {baseline: known[baseline]() for baseline in baseline_names(options.baselines or default, known)}
    scores = _play(actors, policy, stage, options, console)
    if options.json:
        about = {"checkpoint": str(policy.source), "step": policy.step, "stage": name, "split": options.split}
        print(json.dumps(about | {"scores": {actor: score.to_wire() for actor, score in scores.items()}}))
    else:
        from headway.evaluation import score_table

        title = (
            f"{count(options.levels)} {options.split} levels of stage {stage + 1}, {name}: 95 % intervals in brackets"
        )
        console.print(Text(f"\npolicy of step {count(policy.step)}: {shown(policy.source)}", "dim"), soft_wrap=True)
        console.print(score_table(scores, title))
    if options.picture is not None:
        _draw(actors["policy"], policy.spec, stage, options, console)
    return 0


def policy_path(path: Path) -> Path:
    """Return where the policy of `path` is: in an output folder the best one, else the newest checkpoint."""
    if not path.exists():
        raise UserError(f"{path}: does not exist: give an output folder, a step-* folder or a best.safetensors")
    if not (folder := Folder(path)).document.is_file():
        return path
    if (best := path / "best.safetensors").is_file():
        return best
    metadata = folder.read().metadata
    return folder.checkpoints / metadata.namespace / metadata.name


def stage_number(spec: TrainSpec, name: str | None) -> int:
    """Return the stage's index, from 0; the last one's without a name. Raises UserError."""
    names = [stage.name for stage in spec.curriculum.stages]
    if name is None:
        return len(names) - 1
    if name not in names:
        raise UserError(f"--stage: found {name!r}: give one of {', '.join(names)}")
    return names.index(name)


def check_picture(path: Path | None, spec: TrainSpec) -> None:
    """Raise UserError, before anything is played, where no picture can be drawn into `path`."""
    if path is None:
        return
    if spec.env.nav is None:
        raise UserError(f"--picture {path}: only headway/Nav-v0 can be drawn: leave it out")
    if path.suffix.lower() not in (".png", ".gif"):
        raise UserError(f"--picture {path}: give a path that ends in .png for a picture, or in .gif for a moving one")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--picture {path}: there is no folder {path.parent}: make it, or give another path")


def known_baselines(spec: TrainSpec) -> tuple[Mapping[str, Callable[[], Actor]], str]:
    """Return the baselines of the spec's environment by name, and which are played unless others are named."""
    from headway.evaluation import BASELINES, RandomActions

    return (BASELINES, "go-straight,astar") if spec.env.nav is not None else ({"random": RandomActions}, "random")


def baseline_names(text: str, known: Mapping[str, object]) -> list[str]:
    """`go-straight,astar` -> two names; `all` -> all that are known; `none` -> nothing. Raises UserError."""
    if text == "all":
        return list(known)
    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"--baselines: found {name!r}: give none, all, or some of {', '.join(known)}")
    return names


def _play(
    actors: Mapping[str, Actor], policy: Policy, stage: int, options: Namespace, console: Console
) -> dict[str, Scores]:
    """Score all actors; where robots share the world, the policy drives those others beside every one of them."""
    from headway.evaluation import evaluate as play

    columns = (TextColumn(" {task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    scores = {}
    with Progress(*columns, console=console, transient=True, disable=options.json) as progress:
        for name, actor in actors.items():
            task = progress.add_task(name, total=options.levels)
            scores[name] = play(
                actor, policy.spec, stage, options.split, options.levels, others=policy.act,
                threads=available_cores(), on_finished=lambda levels, task=task: progress.advance(task, levels),
            )  # fmt: skip
    return scores


def _draw(actor: Actor, spec: TrainSpec, stage: int, options: Namespace, console: Console) -> None:
    from headway.evaluation.picture import save_episodes

    save_episodes(options.picture, actor, spec, stage, options.split)
    if not options.json:
        console.print(f"picture: {options.picture}", highlight=False)
