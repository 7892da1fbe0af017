"""`headway study` with population-based training: real runs, killed in a generation, and trained again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from headway.hpo.raytune import lineage
from headway_api.load import load_run
from optuna.trial import TrialState
from specs import small_run, small_study
from trainer_tests.hpo_tests.test_local_study import states, until_free
from trainer_tests.waiting import wait_for

pytest.importorskip("ray.tune")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
TRIALS, GENERATIONS, EVERY = 2, 3, 1024  # one evaluation a generation


def write(folder: Path, kind: str) -> Path:
    run = small_run(totalSteps=GENERATIONS * EVERY, evaluation={"everySteps": EVERY, "levels": 16})["spec"]
    run["train"]["curriculum"]["stopAfterLastGate"] = False
    rate = {"path": "train.algo.ppo.learningRate", "float": {"low": 1e-4, "high": 1e-2}}
    engine = {"rayTune": {"scheduler": {kind: {}}, "searcher": {"random": {}}}}
    budget = {"trials": TRIALS, "parallel": 2}
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(small_study(runTemplate=run, engine=engine, budget=budget, parameters=[rate])))
    return path


def headway(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "headway", *map(str, words)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    return " ".join(said.split())


def kill_everything(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the study, Ray's processes, the actors, their runs and ranks, all at once."""
    everything, found = {process.pid}, parents()
    while more := {pid for pid, parent in found.items() if parent in everything} - everything:
        everything |= more
    assert len(everything) > 5
    for pid in everything:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(30)


def parents() -> dict[int, int]:
    """Return each process's parent."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return found


def generations(out: Path) -> list[list[lineage.Line]]:
    return lineage.read(out / lineage.FILE)


def steps_of(run: Path) -> int:
    """Environment steps that a run has made, as its metrics say."""
    lines = run.read_text().splitlines() if run.exists() else []
    return json.loads(lines[-1])["step"] if lines and lines[-1].endswith("}") else 0


def test_killed_in_the_middle_of_a_generation_the_lineage_is_that_of_a_study_that_was_not(tmp_path: Path) -> None:
    spec, whole, out = write(tmp_path, "pbt"), tmp_path / "whole", tmp_path / "killed"
    finish(headway("study", spec, "--out", whole))

    process = headway("study", spec, "--out", out)
    second = (EVERY, 2 * EVERY)  # steps within the second generation
    wait_for(lambda: any(second[0] < steps_of(p) < second[1] for p in out.glob("trials/*/metrics.jsonl")), timeout=300)
    kill_everything(process)
    until_free(out)
    (first,) = generations(out)
    assert [line.trial for line in first] == list(range(TRIALS))
    for line in first:  # who goes on from whom is known, and there
        kept = out / "branches" / line.run if line.is_branch else out / "trials" / line.run / "checkpoints/default"
        assert list(kept.glob(f"**/step-{line.step:09d}.a*/manifest.json"))

    finish(headway("study", spec, "--out", out))
    assert (out / lineage.FILE).read_bytes() == (whole / lineage.FILE).read_bytes()
    assert [len(lines) for lines in generations(out)] == [TRIALS] * (GENERATIONS - 1)
    assert states(out) == {TrialState.COMPLETE: TRIALS}
    assert sum(line.is_branch for lines in generations(out) for line in lines) == GENERATIONS - 1

    said = finish(headway("studies", "replay", out))
    assert "the same bits as the trial's" in said
    best = load_run(out / "best.yaml")
    now = [line.new for line in generations(out)[-1]]
    assert {"train.algo.ppo.learningRate": best.spec.train.algo.ppo.learning_rate} in now


def test_pb2_trains_a_population_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "2 complete" in finish(headway("study", write(tmp_path, "pb2"), "--out", out))
    assert sum(line.is_branch for lines in generations(out) for line in lines) == GENERATIONS - 1
