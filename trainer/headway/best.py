"""Scoring while training, and the best policy so far: OUT/best.safetensors beside OUT/best.json."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

from torch import Tensor

from headway.checkpoint import write_tensors
from headway.envs.protocol import Observation, VectorEnv
from headway.evaluation import Scores, evaluate, trained
from headway.session import Best, Session

WEIGHTS, RECORD = "best.safetensors", "best.json"


def evaluate_if_due(session: Session, steps_before: int) -> dict[str, float]:
    """Score on validation levels where an update has crossed a multiple of `everySteps`; `evaluation.stage` says whose.

    The last update of a run is scored too. All ranks share the work and get the same metrics; no training state is
    touched. Rank 0 keeps the weights of the best policy: of the farthest stage, then of the highest success rate, then
    reward. The heart beats at each step: a long evaluation is no stall.
    """
    every = session.spec.evaluation.every_steps
    if every == 0 or (session.step // every == steps_before // every and not session.finished):
        return {}
    last = len(session.spec.curriculum.stages) - 1
    stage = last if session.spec.evaluation.stage == "last" else session.curriculum.stage
    group, run = session.group, session.run
    policy = trained(session.algorithm.policy())

    def act(env: VectorEnv, observation: Observation, begins: Tensor) -> Tensor:
        session.heart.beat("evaluation")
        return policy(env, observation, begins).nan_to_num()  # what is no number is told when training acts

    scores = evaluate(
        act, session.spec, stage, "validation", session.spec.evaluation.levels,
        rank=group.rank, world_size=group.world_size, threads=run.threads, sum_over_ranks=group.sum_,
        others=session.algorithm.policy(),
    )  # fmt: skip
    found = Best(stage=stage, successes=scores.success.count, levels=scores.levels, reward=scores.reward)
    if found.rank > session.best.rank:
        session.best = found
        if group.is_main:
            _keep(session, stage, scores, run.out)
    return _metrics(stage, scores)


def forget_best(out: Path) -> None:
    """Remove what a run that is begun anew has left: its policy is not this one's."""
    for name in (WEIGHTS, RECORD):
        (out / name).unlink(missing_ok=True)


def _metrics(stage: int, scores: Scores) -> dict[str, float]:
    metrics = {
        "evaluation/stage": float(stage + 1),
        "evaluation/reward": scores.reward,
        "evaluation/spl": scores.spl,
        "evaluation/seconds": scores.mean_seconds,
    }
    if scores.judged:
        for name in ("success", "collision", "timeout"):
            metrics[f"evaluation/{name}_rate"] = getattr(scores, name).value
    return {name: value for name, value in metrics.items() if math.isfinite(value)}  # no seconds without a success


def _keep(session: Session, stage: int, scores: Scores, out: Path) -> None:
    """Write weights, then the record: each whole or not at all."""
    weights = {name: t for name, t in session.algorithm.get_state().items() if name.startswith("network.")}
    record = {
        "step": session.step,
        "stage": stage + 1,
        "validation": scores.to_wire(),
        "spec": session.spec.to_wire(),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_tensors(out / WEIGHTS, weights)
    partial = out / f".{RECORD}.partial"
    partial.write_text(json.dumps(record, indent=1))
    os.replace(partial, out / RECORD)
