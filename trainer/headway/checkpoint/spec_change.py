"""What may change under a checkpoint whose owner insists (`checkpoint.specChange: accept`), and what never can.

Only meaning is judged here: a field that would be without effect, or that would make nonsense of episodes under way.
State of another shape is refused by whoever takes it, by the tensor's name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Final

from headway_api.train_spec import TrainSpec
from pydantic import ValidationError

from headway.checkpoint.lineage import Found
from headway.curriculum import CurriculumRecord
from headway.errors import CheckpointError

log = logging.getLogger("headway")

_BEGAN: Final = "it says where learning begins, and this has begun"
# Fields, or all below them, and why they stay; the first that matches counts.
FIXED: Final = (
    ("train.seed", "levels and noise under way are drawn from it"),
    ("train.numEnvs", "the state has a row for each environment"),
    ("train.initFrom", _BEGAN),
    ("train.algo.ppo.initialLogStd", _BEGAN),
    ("train.algo.sac.temperature", _BEGAN),
    ("train.selfPlay.frozen.policy", "that policy lies in the checkpoint"),
)
_ENVIRONMENT: Final = "episodes under way are of the environment as it was"
_LEVELS: Final = "levels under way are of that stage"
_STAGE: Final = re.compile(r"train\.curriculum\.stages\[(\d+)\](.*)")


def path_of(difference: str) -> str:
    """The field of a line of `spec_differences`."""
    return difference.partition(":")[0]


def accept(found: Found, spec: TrainSpec, differences: Sequence[str]) -> None:
    """Say what is different from the checkpoint's spec. Raises CheckpointError for what cannot be."""
    try:
        record = CurriculumRecord.model_validate(found.manifest.loop.get("curriculum"))
    except ValidationError as error:
        raise CheckpointError(f"{found.directory} does not fit this run: its loop has no curriculum: {error}") from None
    if fixed := impossible(differences, spec, record):
        raise CheckpointError(
            f"{found.directory}: specChange: accept: this cannot change under a checkpoint: {'; '.join(fixed[:5])}: "
            "take the change back, or begin anew with resume: never"
        )
    for line in differences:
        log.info("resuming with another spec: %s", line)
    log.warning("resume is not exact: it goes on with another spec")


def impossible(differences: Sequence[str], spec: TrainSpec, record: CurriculumRecord) -> list[str]:
    """Return the differences that cannot be accepted, each with its reason. Pure.

    `spec`: the new one; `record`: where the curriculum is.
    """
    found = [f"{line}: {why}" for line in differences if (why := _why_fixed(line, record))]
    manual = spec.curriculum.schedule.manual
    if manual is not None and any(path_of(line).startswith("train.curriculum") for line in differences):
        names = [stage.name for stage in spec.curriculum.stages]
        if names.index(manual.stage) != record.stage:
            present = names[record.stage] if record.stage < len(names) else f"number {record.stage + 1}"
            found.append(f"train.curriculum.schedule.manual.stage: {manual.stage}: the run is in stage {present}")
    return found


def _why_fixed(line: str, record: CurriculumRecord) -> str:
    """Why a difference cannot be, or nothing."""
    path = path_of(line)
    for field, why in FIXED:
        if path == field or path.startswith(f"{field}."):
            return why
    if re.fullmatch(r"train\.algo\.\w+", path):
        return "another algorithm has another state"
    if path.startswith("train.env.") and not path.startswith(("train.env.nav.reward.", "train.env.gym.kwargs")):
        return "" if path == "train.env.gym.maxSteps" else _ENVIRONMENT
    if stage := _STAGE.fullmatch(path):
        # Of no stage beyond these has any episode begun.
        has_begun = int(stage[1]) <= record.stage + record.demotions
        return _LEVELS if has_begun and (stage[2] == "" or stage[2].startswith(".levels")) else ""
    return ""


def is_of_curriculum(differences: Sequence[str]) -> bool:
    """Say whether the curriculum has changed, so that what its present stage has counted is of another one."""
    return any(path_of(line).startswith("train.curriculum") for line in differences)


def with_own_scale(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's state with the loss scale of a run in another precision: fp16 has one, others none."""
    prefix = "loss_scale."
    kept = {name: tensor for name, tensor in shared.items() if not name.startswith(prefix)}
    return kept | {name: tensor for name, tensor in own.items() if name.startswith(prefix)}
