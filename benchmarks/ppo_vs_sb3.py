"""PPO's training steps a second, ours beside Stable-Baselines3's: same task, network, batch, minibatch and epochs.

    pip install -e '.[trainer,bench]'
    python benchmarks/ppo_vs_sb3.py [--repeats 3] [--updates 4] [--keep]

Three contestants, each in processes of its own, one after the other, again and again: `headway` (the training loop of
`headway run`); `sb3_subproc`, as its users run it, SubprocVecEnv over the single face headway/Nav-v0; `sb3_vector`, SB3
fed by our vector environment. All three see the same features and learn from 16,384 steps at a time. Prints one JSON
object a line: medians, then ratios. With --keep it writes them to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import kept

ROOT = Path(__file__).resolve().parents[1]
ENVS, STEPS, MINIBATCH, EPOCHS, HIDDEN = 512, 32, 4096, 3, [128, 128]
SUBPROCESSES = 8  # of SB3's SubprocVecEnv; its rollouts are as many times longer as these are fewer than ENVS
LEVELS = {
    "world": {"clutter": {"sizeMeters": 10.0, "fill": 0.12, "walls": 1}}, "minGoalMeters": 5.0,
    "people": 4, "peopleModel": "orca", "peopleSpeed": 0.6, "peopleYield": 1.0,
}  # fmt: skip
CONTESTANTS = ("headway", "sb3_subproc", "sb3_vector")


def wire(num_envs: int, steps: int) -> dict[str, Any]:
    """Return the task as a TrainSpec: people in clutter, as in the last stage of configs/default.yaml."""
    ppo = {
        "learningRate": 3e-4, "rolloutSteps": steps, "minibatchSize": MINIBATCH, "epochs": EPOCHS,
        "entropyCoef": 0.001, "targetKl": 0.0,
    }  # fmt: skip
    return {
        "totalSteps": 10**9, "numEnvs": num_envs, "env": {"nav": {}}, "algo": {"ppo": ppo},
        "network": {"mlp": {"hidden": HIDDEN, "activation": "relu"}},
        "curriculum": {"stages": [{"name": "people", "levels": LEVELS}], "stopAfterLastGate": False},
    }  # fmt: skip


def headway(updates: int) -> list[float]:
    """Train; return the times at which updates ended."""
    from headway.launch.threads import rank_threads
    from headway.run_context import RunContext
    from headway.train import train
    from headway_api.train_spec import TrainSpec

    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run = RunContext(
            "bench", "ppo", "u", 1, out, out / "checkpoints", checkpoint_every_s=1e9, threads=rank_threads(os.environ)
        )
        spec = TrainSpec.model_validate(wire(ENVS, STEPS))
        train(spec, run, lambda: len(ends) >= updates, lambda snapshot: ends.append(time.perf_counter()))
    return ends


def sb3(updates: int, vectorised: bool) -> list[float]:
    """Train with Stable-Baselines3; return the times at which rollouts began."""
    import torch
    from sb3_faces import FeatureVecEnv, FeatureVecWrapper, single_face
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import SubprocVecEnv

    class Clock(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.starts: list[float] = []

        def _on_rollout_start(self) -> None:
            self.starts.append(time.perf_counter())

        def _on_step(self) -> bool:
            return True

    if vectorised:
        env, steps = FeatureVecEnv(wire(ENVS, STEPS), os.cpu_count() or 1), STEPS
    else:
        singles = [single_face(LEVELS) for _ in range(SUBPROCESSES)]
        env = FeatureVecWrapper(SubprocVecEnv(singles, start_method="forkserver"))
        steps = ENVS * STEPS // SUBPROCESSES
    policy = {"net_arch": {"pi": HIDDEN, "vf": HIDDEN}, "activation_fn": torch.nn.ReLU}
    model = PPO(
        "MlpPolicy", env, learning_rate=3e-4, n_steps=steps, batch_size=MINIBATCH, n_epochs=EPOCHS, ent_coef=0.001,
        policy_kwargs=policy, device="cpu", seed=0,
    )  # fmt: skip
    clock = Clock()
    model.learn((updates + 1) * ENVS * STEPS, callback=clock)
    env.close()
    return clock.starts


def contestant(name: str, updates: int) -> float:
    """Return training steps a second of this process: the first update warms up, the median of the rest counts."""
    times = headway(updates + 1) if name == "headway" else sb3(updates, name == "sb3_vector")
    return ENVS * STEPS / statistics.median(after - before for before, after in itertools.pairwise(times))


def run(name: str, updates: int) -> float:
    """Measure a contestant in a process of its own, with the variables that its users have.

    But for one, which SB3 gets as a present: its waiting threads sleep. Else they spin, and with anything beside it on
    the machine that costs it a factor of several.
    """
    from headway.launch.threads import WAITING, available_cores, thread_environment

    ours = thread_environment(os.environ, 1, available_cores()) if name == "headway" else WAITING
    command = [sys.executable, __file__, "--contestant", name, "--updates", str(updates)]
    out = subprocess.run(command, env=os.environ | ours, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(out.split()[-1])


def lines(rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """One line a contestant, and one a ratio: the median of the ratios of runs that followed one another."""
    params = {
        "envs": ENVS, "rollout_steps": STEPS, "minibatch": MINIBATCH, "epochs": EPOCHS, "hidden": HIDDEN,
        "subprocesses": SUBPROCESSES, "device": "cpu", "repeats": len(rates["headway"]), **kept.machine(),
    }  # fmt: skip
    about = {"params": params, "revision": kept.revision()}
    out = [
        {"name": f"ppo_{name}", "value": round(statistics.median(values)), "unit": "steps/s", **about}
        for name, values in rates.items()
    ]
    return out + [
        kept.ratio_line(f"ppo_headway_over_{name}", rates["headway"], rates[name]) | about for name in CONTESTANTS[1:]
    ]


def main() -> None:
    """Alternate the contestants, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--updates", type=int, default=4, help="updates of 16,384 steps that count in each repeat")
    parser.add_argument("--keep", action="store_true", help="write the lines to benchmarks/results/ppo_vs_sb3.jsonl")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(contestant(options.contestant, options.updates))
        return
    rates: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(options.repeats):
        for name in CONTESTANTS:
            rates[name].append(run(name, options.updates))
            print(f"{name}: {rates[name][-1]:,.0f} steps/s", file=sys.stderr, flush=True)
    found = lines(rates)
    print(*map(json.dumps, found), sep="\n")
    if options.keep:
        kept.write(kept.RESULTS / "ppo_vs_sb3.jsonl", found)


if __name__ == "__main__":
    main()
