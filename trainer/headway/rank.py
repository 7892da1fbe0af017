"""One rank: a process that trains. Started by the launcher, `headway.worker`, which reads the note that it leaves."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from headway_api import load, names
from headway_api.progress import EvaluationPoint
from headway_api.train_spec import TrainSpec
from headway_api.training_run import TrainingRun

from headway.errors import RankLostError, UserError
from headway.launch.progress_log import logged
from headway.launch.record import Notes, Record
from headway.launch.settings import Settings, from_environment
from headway.launch.threads import rank_threads
from headway.reporter import make_reporter
from headway.run_context import ProgressSnapshot, Report, RunContext, Stop, TrainResult
from headway.tracking.evaluations import evaluation_metrics, read_evaluations

METRICS_FILE = "metrics.jsonl"
Train = Callable[[TrainSpec, RunContext, Stop, Report], TrainResult]


def main(train: Train, folder: Path) -> int:
    """Train as the environment says and leave a note in `folder`. Returns the exit code.

    Leaves with 0 whenever training returned, be it done or stopped: the launcher turns all ranks' notes into one code.
    """
    rank = int(os.environ["RANK"])
    notes = Notes(folder)
    terminated = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for whoever owns the launcher
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    faulthandler.enable()
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    notes.begin(rank)  # after that: with a launcher that is gone already, its folder is gone too, and this raises
    record = _train(train, rank, stop=lambda: terminated.is_set() or notes.asked_to_stop())
    notes.leave(record)
    if record.lost is not None:  # threads of torch's wait on, and the interpreter would for them
        os._exit(record.exit_code)
    return record.exit_code


def _train(train: Train, rank: int, stop: Stop) -> Record:
    try:
        settings = from_environment(os.environ)
        run = load.load_run(settings.spec)
        context = run_context(run, settings, rank, int(os.environ["WORLD_SIZE"]))
        _log_to_stderr(context)
        result = _train_and_report(train, run, settings, context, stop)
    except (UserError, load.SpecError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return Record(rank, names.OUTCOME_FAILED, names.EXIT_BAD_INPUT, time.time(), error=str(error))
    except RankLostError as lost:
        print(f"error: {lost}", file=sys.stderr, flush=True)
        return Record(
            rank, names.OUTCOME_FAILED, names.EXIT_ERROR, time.time(), error=str(lost), lost=list(lost.ranks),
            hung=lost.hung,
        )  # fmt: skip
    except Exception as error:
        at = time.time()
        traceback.print_exc()
        return Record(rank, names.OUTCOME_FAILED, names.EXIT_ERROR, at, error=f"{type(error).__name__}: {error}")
    return Record(rank, result.outcome, names.EXIT_OK, time.time(), step=result.step, checkpoint=str(result.checkpoint))


def _train_and_report(
    train: Train, run: TrainingRun, settings: Settings, context: RunContext, stop: Stop
) -> TrainResult:
    if context.rank != 0:
        return train(run.spec.train, context, stop, lambda snapshot: False)
    with make_reporter(settings, run.spec.train.curriculum.stop_after_last_gate) as reporter:
        report = with_evaluations(logged(reporter, run), context.out / METRICS_FILE)
        return train(run.spec.train, context, stop, report)


def with_evaluations(report: Report, metrics: Path) -> Report:
    """Return a report that knows the run's evaluations: those of earlier attempts from `metrics`, then each new one."""
    known: list[EvaluationPoint] | None = None
    last = 0  # step of the last update

    def tell(snapshot: ProgressSnapshot) -> bool | None:
        nonlocal known, last
        went_back, last = snapshot.step <= last, snapshot.step
        if known is None or went_back:  # the file is cut back to the checkpoint by now, and this update's row is in it
            known = read_evaluations(metrics)
        elif found := evaluation_metrics(snapshot.metrics):
            known.append(EvaluationPoint(index=len(known) + 1, step=snapshot.step, metrics=found))
        return report(replace(snapshot, evaluations=tuple(known)))

    return tell


def run_context(run: TrainingRun, settings: Settings, rank: int, world_size: int) -> RunContext:
    """Return what training is told besides its spec."""
    spec = run.spec
    return RunContext(
        namespace=settings.namespace,
        name=settings.name,
        uid=settings.uid,
        attempt=settings.attempt,
        out=settings.out,
        checkpoints=settings.checkpoints,
        checkpoint_every_s=spec.checkpoint.every_seconds,
        keep=spec.checkpoint.keep,
        keep_best=spec.checkpoint.keep_best,
        milestone_steps=spec.checkpoint.milestone_steps,
        resume=spec.checkpoint.resume,
        accept_changes=spec.checkpoint.spec_change == "accept",
        rank=rank,
        world_size=world_size,
        threads=rank_threads(os.environ),
        device=_device(),
        leave_at=settings.leave_at,
        launched_at=settings.launched_at,
        stall_s=float(spec.stall_seconds),
    )


def _device() -> str:
    """Return the GPU that is this rank's among its node's, else the CPU."""
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % count}" if count else "cpu"


def _log_to_stderr(context: RunContext) -> None:
    who = f"rank {context.rank}: " if context.world_size > 1 else ""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {who}%(message)s", datefmt="%H:%M:%S", force=True)


def _leave_with(parent: int) -> None:
    """End this process once its launcher is gone: nobody would read its note, and a successor may be training."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(names.EXIT_ERROR)


if __name__ == "__main__":
    from headway.train import train as train_run

    sys.exit(main(train_run, Path(sys.argv[1])))
