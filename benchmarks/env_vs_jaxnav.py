"""Environment steps a second beside JaxNav's, on the same cores, in the same run.

    python benchmarks/env_vs_jaxnav.py --venv DIR            # makes DIR with jaxmarl 0.2.0 the first time; never ours

Both play JaxNav's published single-robot task with 200 beams and uniform random actions, whole steps with resets.
JaxNav is its own `step`, vmapped, jitted and scanned over 8 steps, so that nothing waits for Python. Two workers on two
cores are warmed up and then take turns; the medians count. It prints one JSON object a line; --keep writes them to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import kept

ROOT = Path(__file__).resolve().parents[1]
JAXMARL = "jaxmarl==0.2.0"
CORES = 2
SCANNED = 8  # JaxNav steps in one call
# sfl/train/config/env/jaxnav.yaml of the authors' repository, one robot.
PUBLISHED: dict[str, Any] = {
    "rad": 0.3,
    "goal_radius": 0.3,
    "max_v": 1.0,
    "max_w": 0.6,
    "lidar_num_beams": 200,
    "map_params": {"map_size": (11, 11), "fill": 0.6, "sample_test_case_type": "grid"},
}
Turn = Callable[[float], dict[str, float]]


class Clock:
    """Runs from its making, on the wall and on the processor."""

    def __init__(self) -> None:
        self.began, self.cpu_began = time.perf_counter(), time.process_time()

    def spent(self) -> float:
        """Seconds on the wall."""
        return time.perf_counter() - self.began

    def rates(self, steps: int, ended: int) -> dict[str, float]:
        """What so many steps, and ends of episodes among them, mean."""
        cpu_s = time.process_time() - self.cpu_began
        return {"rate": steps / self.spent(), "per_cpu_second": steps / cpu_s, "steps_per_end": steps / max(ended, 1)}


def headway_turn(envs: int) -> Turn:
    """Warm our environment up; return what measures one stretch of so many seconds."""
    sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "trainer")]
    from headway.bench.env import random_actions
    from headway.bench.tasks import bench_spec
    from headway.envs.registry import make_vector_env

    env = make_vector_env(bench_spec("jaxnav", envs), envs, threads=CORES)
    actions = random_actions(env)
    env.reset()
    for action in actions:
        env.step(action)

    def turn(seconds: float) -> dict[str, float]:
        steps, ended, clock = 0, 0, Clock()
        while clock.spent() < seconds:
            step = env.step(actions[steps % len(actions)])
            steps, ended = steps + 1, ended + len(step.final_rows)
        found = clock.rates(steps * envs, ended)
        clock = Clock()
        for _ in range(10):  # what a network sees; JaxNav's observations come scaled
            env.features(step.observation)
        return found | {"features_us": clock.spent() / 10 / envs * 1e6}

    return turn


def jaxnav_turn(envs: int) -> Turn:
    """Compile JaxNav; return what measures one stretch of so many seconds."""
    import jax
    import jax.numpy as jnp
    from jaxmarl.environments.jaxnav import JaxNav

    env = JaxNav(num_agents=1, **PUBLISHED)
    low, high = jnp.array([0.0, -0.6]), jnp.array([1.0, 0.6])

    def one(carry: Any, _: None) -> Any:
        key, state = carry
        key, for_action, for_reset = jax.random.split(key, 3)
        action = {"agent_0": jax.random.uniform(for_action, (envs, 2), minval=low, maxval=high)}
        seen, state, reward, ended, _ = jax.vmap(env.step)(jax.random.split(for_reset, envs), state, action)
        return (key, state), (seen["agent_0"].sum(), reward["agent_0"].sum(), ended["__all__"].sum())

    scan = jax.jit(lambda carry: jax.lax.scan(one, carry, None, SCANNED))
    _, state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.PRNGKey(0), envs))
    held = [scan(scan((jax.random.PRNGKey(1), state))[0])[0]]

    def turn(seconds: float) -> dict[str, float]:
        calls, ended, clock = 0, 0, Clock()
        while clock.spent() < seconds:
            held[0], (_, _, ends) = jax.block_until_ready(scan(held[0]))
            calls, ended = calls + 1, ended + int(ends.sum())
        return clock.rates(calls * SCANNED * envs, ended)

    return turn


SIDES: dict[str, Callable[[int], Turn]] = {"headway": headway_turn, "jaxnav": jaxnav_turn}


def serve(side: str, envs: int) -> None:
    """Worker: pin to two cores, warm up, then measure a stretch for each number of seconds read."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # JaxNav prints while it traces
    turn = SIDES[side](envs)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(float(line))), file=answers, flush=True)


class Worker:
    """One side in its own process, waiting for its turn."""

    def __init__(self, python: Path, side: str, envs: int, log: IO[str]) -> None:
        command = [str(python), __file__, "--serve", side, "--envs", str(envs)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), str(CORES))
        threads["OMP_WAIT_POLICY"] = "PASSIVE"  # as `headway run` sets it
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | threads,
        )
        self.side = side
        self._read()

    def turn(self, seconds: float) -> dict[str, float]:
        """Measure one stretch."""
        assert self.process.stdin is not None
        print(seconds, file=self.process.stdin, flush=True)
        return json.loads(self._read())

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.side}: left with exit code {self.process.wait()}; its log is above")
        return line

    def close(self) -> None:
        """Let the worker leave."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def their_python(folder: Path) -> Path:
    """Return the Python of JaxNav's own virtual environment; make it where it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} with {JAXMARL}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", JAXMARL], check=True)
    return python


def compare(python: Path, envs: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Let both take turns; return medians and their ratio."""
    with tempfile.TemporaryFile("w+") as log:
        try:
            workers = [Worker(Path(sys.executable), "headway", envs, log), Worker(python, "jaxnav", envs, log)]
        except SystemExit:
            log.seek(0)
            sys.stderr.write(log.read())
            raise
        turns = [{worker.side: worker.turn(seconds) for worker in workers} for _ in range(rounds)]
        for worker in workers:
            worker.close()
    median = {
        f"{side}_{name}": statistics.median(turn[side][name] for turn in turns)
        for side in SIDES
        for name in turns[0][side]
    }
    # What else runs takes cores from both sides unevenly; a second of processor time is the same for both.
    wall, cpu = (
        statistics.median(turn["headway"][name] / turn["jaxnav"][name] for turn in turns)
        for name in ("rate", "per_cpu_second")
    )
    return {
        "name": "env_steps_over_jaxnav",
        "value": round(wall, 1),
        "per_cpu_second": round(cpu, 1),
        "unit": "times",
        "params": {"task": "jaxnav", "beams": 200, "envs": envs, "device": "cpu", "threads": CORES},
        "rounds": rounds,
        "load": round(os.getloadavg()[0], 1),
        "revision": kept.revision(),
    } | {name: round(value, 1) for name, value in median.items()}


def main() -> None:
    """Compare for each number of environments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, metavar="DIR", help="JaxNav's own virtual environment")
    parser.add_argument("--envs", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--keep", action="store_true", help="write the lines to benchmarks/results/")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.envs[0])
        return
    if options.venv is None:
        parser.error("--venv DIR: say where JaxNav's virtual environment is, or is to be made")
    lines = []
    for envs in options.envs:
        lines.append(compare(their_python(options.venv), envs, options.rounds, options.seconds))
        print(json.dumps(lines[-1]), flush=True)
    if options.keep:
        kept.write(kept.RESULTS / "env_vs_jaxnav.jsonl", lines)


if __name__ == "__main__":
    main()
