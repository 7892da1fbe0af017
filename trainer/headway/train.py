"""The training loop on one page. It knows no loss and no environment; an algorithm knows no environment."""

from __future__ import annotations

import gc
import logging
import time
from functools import partial
from typing import Literal

import torch
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.algos.divergence import DivergenceError
from headway.autopsy import may_roll_back
from headway.best import evaluate_if_due, forget_best
from headway.determinism import deterministic_kernels
from headway.envs.protocol import NotFiniteActionError, Step, Transition
from headway.parallel import LIFE_S, SILENCE_S, Group, check_divisible, join, subnormals_are_zero
from headway.run_context import ProgressSnapshot, Report, RunContext, Stop, TrainResult
from headway.session import Session
from headway.watchdog import Heart, watchdog

log = logging.getLogger("headway")


def train(spec: TrainSpec, run: RunContext, stop: Stop, report: Report) -> TrainResult:
    """Train until nothing is left to train, or until any rank's `stop()` says to save and leave.

    Call it in one process a rank. `report` is called on rank 0, after every update and at the end; once it returns True
    the study has pruned this run, which saves after its next update and ends. Raises UserError (SpecError,
    CheckpointError) for what the user can mend, RankLostError if another rank is (see `parallel.join`).
    """
    check_divisible(spec, run.world_size)
    torch.set_num_threads(run.threads)
    # The watchdog of a rank that hangs speaks before the others give it up: its exit code and its stacks say more.
    silence_s = max(SILENCE_S, run.stall_s + 60.0)
    meet = partial(join, run.rank, run.world_size, silence_s, LIFE_S, run.device)
    kernels = deterministic_kernels(spec.deterministic)
    with watchdog(run.stall_s) as heart, subnormals_are_zero(), kernels, meet(heart) as group:
        ended: TrainResult | int = 0
        while isinstance(ended, int):  # how often training has rolled back so far
            ended = _train(spec, run, group, heart, ended, stop, report)
            gc.collect()  # a session that is given up may hold a replay of gigabytes
        return ended


def _train(
    spec: TrainSpec, run: RunContext, group: Group, heart: Heart, rollbacks: int, stop: Stop, report: Report
) -> TrainResult | int:
    """Train to the end, or to where learning has diverged and is to roll back, for the n-th time: return n."""
    session = Session(spec, run, group, heart, rollbacks)
    try:
        if not session.begin() and group.is_main:
            forget_best(run.out)
        return _loop(session, stop, report)
    except DivergenceError as error:
        return may_roll_back(session, error)
    finally:
        session.close()


def _loop(session: Session, stop: Stop, report: Report) -> TrainResult:
    spec, group, algorithm = session.spec, session.group, session.algorithm
    heart, saver = session.heart, session.saver
    snapshot = _snapshot(session, 0.0, {})
    clock = time.monotonic()
    is_told_to_end = False  # on rank 0 only
    session.goodput.lap("start_up", session.step)
    while not session.over:
        steps_before = session.step
        features = collect(session)
        collected_at = time.monotonic()
        session.updates += 1
        heart.beat("update")
        metrics = algorithm.update(features, max(0.0, 1.0 - steps_before / spec.total_steps))
        session.course.see(metrics)
        updated_at = time.monotonic()

        heart.beat("metrics")
        metrics |= algorithm.micro.metrics()
        metrics |= session.curriculum.advance(session.step)
        if session.self_play:
            metrics |= session.self_play.advance(steps_before, session.step)
        session.enter_stage()
        metrics |= session.episodes.metrics(group)
        metrics |= evaluate_if_due(session, steps_before)
        metrics |= {"rollbacks": float(session.rollbacks)} if session.rollbacks else {}
        metrics |= session.gpu_metrics()
        session.goodput.lap("useful", session.step)
        now = time.monotonic()
        rate = (session.step - steps_before) / (now - clock)
        seconds = {"time/collect_s": collected_at - clock, "time/update_s": updated_at - collected_at}
        seconds |= {"time/steps_per_s": rate} | session.goodput.metrics()
        session.tracker.log(session.step, metrics | seconds)
        clock = now

        heart.beat("metrics")
        due, leave, prune, busy, diverged = group.any(
            saver.is_due, stop(), is_told_to_end, saver.is_busy, not session.acts
        )
        if diverged:
            raise DivergenceError("an action", float("nan"), "on one rank or more")
        session.pruned = prune and not session.finished
        session.goodput.lap("waiting", session.step)
        saver.at_boundary(session.snapshot, due, leave or session.over, busy)
        session.goodput.lap("checkpointing", session.step)
        snapshot = _snapshot(session, rate, metrics)
        heart.beat("report")
        if group.is_main:
            is_told_to_end = bool(report(snapshot))
        session.goodput.lap("waiting", session.step)
        if leave:
            break
    return _result(session, snapshot)


def collect(session: Session) -> Tensor:
    """Step the environments until the algorithm has enough; return the features to act on next."""
    env, algorithm = session.env, session.algorithm
    features = env.features(session.observation)
    while not algorithm.ready():
        session.heart.beat("collect", session.updates + 1)
        action = algorithm.act(features, session.vector_steps)
        step = _step(session, action)
        following = env.features(step.observation)
        algorithm.observe(Transition(session.observation, features, action, step, following, env.features))
        session.vector_steps += 1
        if len(step.final_rows):
            session.curriculum.add(step.episodes)
            session.episodes.add(step.episodes, session.curriculum.stage)
            if session.self_play:
                session.self_play.add(step.episodes)
        session.observation, features = step.observation, following
    return features


def _step(session: Session, action: Tensor) -> Step:
    """Step the environments. That an action is no number is told after the update: other ranks may not have seen it,
    and wait for this one."""
    try:
        return session.env.step(action)
    except NotFiniteActionError:
        session.acts = False
        return session.env.step(action.nan_to_num(0.0, 0.0, 0.0))


def _snapshot(session: Session, rate: float, metrics: dict[str, float]) -> ProgressSnapshot:
    progress = session.curriculum.progress()
    return ProgressSnapshot(
        session.updates, session.step, session.spec.total_steps, rate, metrics, progress, session.saved,
        goodput=session.goodput.progress(),
    )  # fmt: skip


def _result(session: Session, last: ProgressSnapshot) -> TrainResult:
    where = session.curriculum.where()
    outcome: Literal["done", "pruned", "stopped"]
    outcome = "done" if session.finished else "pruned" if session.pruned else "stopped"
    assert session.saved is not None  # the loop leaves only after a save, or had nothing to train
    return TrainResult(outcome, session.step, session.saved.path, f"{where} after {session.step} steps", last.metrics)
