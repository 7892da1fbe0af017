"""After learning has diverged: which numbers are none, in OUT/diverged-step-N.json and in words; and rolling back."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import Any, Final

from headway.algos.divergence import ENVIRONMENT, DivergenceError, Finding, examine
from headway.errors import SpecError
from headway.session import Session

log = logging.getLogger("headway")

MOST_ROLLBACKS: Final = 3
_NAMED: Final = 4  # tensors, in a message


def may_roll_back(session: Session, error: DivergenceError) -> int:
    """Return for which time the run rolls back. Raises SpecError, the same on all ranks, where it must not.

    All ranks call it: each looks through its own tensors, and rank 0 writes down what they found.
    """
    told = explain(session, error)
    if session.spec.on_divergence != "rollBack" or session.rollbacks >= MOST_ROLLBACKS:
        raise told from None
    session.saver.settle()  # of before: a thread that went on writing would be in the way
    session.env.close()
    if session.group.is_main:
        log.warning("%s", told)
        log.warning("rolling back, time %d of at most %d", session.rollbacks + 1, MOST_ROLLBACKS)
    return session.rollbacks + 1


def explain(session: Session, error: DivergenceError) -> SpecError:
    """Look through all that is at hand, and say what has become of it and what would mend it."""
    found = examine(session.algorithm.suspects() | error.at_hand)
    told = session.group.gather(json.dumps([asdict(finding) for finding in found]).encode())
    ranks = [json.loads(message) for message in told]
    path = session.run.out / f"diverged-step-{session.step}.json"
    if session.group.is_main:
        record = {"what": str(error), "update": session.updates, "step": session.step, "ranks": ranks}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")
    everything = [Finding(**finding) for of_rank in ranks for finding in of_rank]
    what = (
        f"{error}, in update {session.updates}, at environment step {session.step}; {_broken(everything)}; see {path}"
    )
    return _blamed(session, what, everything)


def _blamed(session: Session, what: str, found: list[Finding]) -> SpecError:
    """The field to mend: an environment that gave what is no number, or else the learning rate."""
    what += f", after {session.rollbacks} rollbacks" if session.rollbacks else ""
    if any(finding.broken for finding in found if finding.name.startswith(ENVIRONMENT)):
        kind, env = session.spec.env.chosen()
        name: Any = env.id if kind == "gym" else "headway/Nav-v0"
        fix = f"{what}: the environment gave what is no number, so it is not the learning rate's fault: mend it"
        return SpecError(f"train.env.{kind}", name, fix)
    kind, algo = session.spec.algo.chosen()
    another = "" if session.spec.on_divergence == "rollBack" else ", or set train.onDivergence to rollBack"
    return SpecError(f"train.algo.{kind}.learningRate", algo.learning_rate, f"{what}: lower it{another}")


def _broken(found: list[Finding]) -> str:
    """Name the tensors that hold what is no number, the environment's first; or the largest, if there are none."""
    broken: dict[str, Finding] = {}
    for finding in sorted(found, key=lambda finding: not finding.name.startswith(ENVIRONMENT)):
        if finding.broken:
            broken.setdefault(finding.name, finding)  # of the first rank that has it
    if broken:
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        return f"not finite: {', '.join(map(str, list(broken.values())[:_NAMED]))}{more}"
    sizes = {f.name: max(abs(f.least), abs(f.largest)) for f in found if f.least is not None and f.largest is not None}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_NAMED]
    return f"all tensors are finite, the largest {', '.join(f'{name} (to {sizes[name]:g})' for name in largest)}"
