"""What is benched: a preset with a plain PPO around it, or a spec as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from headway_api.algo_spec import Algo, Mlp, Network, Ppo
from headway_api.curriculum_spec import Curriculum, Stage
from headway_api.load import load_run
from headway_api.refusals import explain
from headway_api.train_spec import Env, Trackers, TrainSpec
from pydantic import ValidationError

from headway.envs.presets import PRESETS, preset
from headway.errors import UserError

ROLLOUT_STEPS = 32
MINIBATCHES = 8
ALGOS: Final = ("ppo", "pqn", "dqn", "sac", "td3")
DISCRETE: Final = ("dqn", "pqn")


def bench_spec(task: str, envs: int) -> TrainSpec:
    """Return the spec of a preset or of a TrainingRun's file, in its last stage, with `envs` environments (0: its own).

    A preset is learned by PPO with two layers of 256 units, 32 steps a rollout, 8 minibatches and 3 epochs. Raises
    UserError where the task is neither, SpecError and UserError where the file cannot be used.
    """
    if task in PRESETS:
        return _preset_spec(task, envs)
    path = Path(task)
    if not path.is_file():
        raise UserError(f"--task: found {task!r}: give one of {', '.join(PRESETS)}, or the file of a TrainingRun")
    spec = load_run(path).spec.train
    last = {"schedule": {"manual": {"stage": spec.curriculum.stages[-1].name}}}
    changed = {"curriculum": spec.curriculum.to_wire() | last, "trackers": {}} | ({"numEnvs": envs} if envs else {})
    try:
        return TrainSpec.model_validate(spec.to_wire() | changed)
    except ValidationError as error:
        raise UserError(f"--envs: found {envs}: " + explain(error.errors()[0])) from None


def with_algo(spec: TrainSpec, algo: str | None) -> TrainSpec:
    """Return the spec learned by another algorithm, at much the same pace as a preset's PPO; None keeps its own.

    Those with a replay make a gradient step of 256 transitions for each step of all environments.
    """
    if algo is None or algo == spec.algo.chosen()[0]:
        return spec
    steps = spec.num_envs * ROLLOUT_STEPS
    if algo in ("ppo", "pqn"):
        given: dict[str, Any] = {"rolloutSteps": ROLLOUT_STEPS, "minibatchSize": max(1, steps // MINIBATCHES)}
    else:
        given = {"batchSize": 256, "learningStarts": 1024, "updateSteps": steps, "replay": {"capacity": 65536}}
    wire = spec.to_wire() | {"algo": {algo: given}}
    if "nav" in wire["env"]:
        wire["env"]["nav"]["actions"] = {"discrete": {}} if algo in DISCRETE else {"continuous": {}}
    try:
        return TrainSpec.model_validate(wire)
    except ValidationError as error:
        raise UserError(f"--algo {algo}: " + explain(error.errors()[0])) from None


def _preset_spec(name: str, envs: int) -> TrainSpec:
    nav, levels = preset(name)
    ppo = Ppo(
        learning_rate=1e-3,
        rollout_steps=ROLLOUT_STEPS,
        minibatch_size=envs * ROLLOUT_STEPS // MINIBATCHES,
        epochs=3,
        target_kl=0.0,  # always all gradient steps: what is measured must not depend on what is learned
    )
    return TrainSpec(
        total_steps=10**12,
        num_envs=envs,
        env=Env(nav=nav),
        algo=Algo(ppo=ppo),
        network=Network(mlp=Mlp(hidden=[256, 256], activation="relu")),
        curriculum=Curriculum(stages=[Stage(name=name, levels=levels)]),
        trackers=Trackers(),
    )
