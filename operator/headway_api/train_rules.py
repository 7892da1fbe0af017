"""What must hold between the parts of a TrainSpec: which environment, algorithm, network and curriculum fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from headway_api.base import Rule
from headway_api.offpolicy_spec import LEARNING_STARTS
from headway_api.self_play_spec import EVERY_STEPS

REPLAYING: Final = ("dqn", "sac", "td3")  # algorithms with a replay
DISCRETE: Final = ("dqn", "pqn")  # algorithms of discrete actions
CONTINUOUS: Final = ("sac", "td3")  # algorithms of continuous actions
EXPLORING: Final = ("dqn", "pqn", "td3")  # algorithms with an exploration of their own


def _chosen(train: Any) -> str:
    name: str = train.algo.chosen()[0]
    return name


def _any_of(names: tuple[str, ...]) -> str:
    """CEL: the algorithm is one of `names`."""
    return "(" + " || ".join(f"has(self.algo.{name})" for name in names) + ")"


def _of(algo: str, field: str, cel: str, holds: Callable[[Any, Any], bool], message: str) -> Rule:
    """A rule for runs with `algo`; `cel` and `message` say {own} for its part of the spec."""
    own = f"self.algo.{algo}"
    return Rule(
        cel=f"!has({own}) || {cel.format(own=own)}",
        holds=lambda m: (chosen := getattr(m.algo, algo)) is None or holds(m, chosen),
        message=message.format(own=f"algo.{algo}"),
        field=f"algo.{algo}.{field}",
    )


def _divides(algo: str) -> Rule:
    """Rollouts of `algo` are cut into minibatches of equal size."""
    return _of(
        algo,
        "minibatchSize",
        "(self.numEnvs * {own}.rolloutSteps) % {own}.minibatchSize == 0",
        lambda m, own: (m.num_envs * own.rollout_steps) % own.minibatch_size == 0,
        "{own}.minibatchSize must divide numEnvs * rolloutSteps: choose a divisor",
    )


def _room(algo: str) -> Rule:
    """Each environment has its share of the replay."""
    return _of(
        algo,
        "replay.capacity",
        "{own}.replay.capacity >= self.numEnvs * ({own}.replay.nSteps + 1)",
        lambda m, own: own.replay.capacity >= m.num_envs * (own.replay.n_steps + 1),
        "{own}.replay.capacity must hold nSteps + 1 steps of each of numEnvs environments: raise it",
    )


def _learns(algo: str) -> Rule:
    """Something is learned."""
    return _of(
        algo,
        "learningStarts",
        "{own}.learningStarts < self.totalSteps",
        lambda m, own: own.learning_starts < m.total_steps,
        f"{{own}}.learningStarts ({LEARNING_STARTS} unless given) must be below totalSteps, or nothing is learned: "
        "lower it, or train longer",
    )


RULES: Final = (
    _divides("ppo"),
    _divides("pqn"),
    *(_room(algo) for algo in REPLAYING),
    *(_learns(algo) for algo in REPLAYING),
    Rule(
        cel="self.totalSteps >= 1",  # others read it in some specs only: 3.0 is refused in all
        holds=lambda m: m.total_steps >= 1,
        message="totalSteps must be a whole number of at least 1",
        field="totalSteps",
    ),
    Rule(
        cel="type(self.microBatch) == int || self.microBatch == 'auto'",  # 5.0 is none, as wherever CEL reads a number
        holds=lambda m: isinstance(m.micro_batch, int) or m.micro_batch == "auto",
        message="microBatch must be auto or a whole number of rows",
        field="microBatch",
    ),
    Rule(
        cel="!has(self.algo.ppo) || !has(self.network.gru) || "
        "self.algo.ppo.minibatchSize % self.algo.ppo.rolloutSteps == 0",
        holds=lambda m: (
            m.algo.ppo is None or m.network.gru is None or m.algo.ppo.minibatch_size % m.algo.ppo.rollout_steps == 0
        ),
        message="with network.gru minibatches are whole environments: algo.ppo.minibatchSize must be a multiple of "
        "rolloutSteps",
        field="algo",
    ),
    Rule(
        cel="has(self.algo.ppo) || !has(self.network.gru)",
        holds=lambda m: m.algo.ppo is not None or m.network.gru is None,
        message="only algo.ppo learns from sequences, which network.gru needs: choose mlp or cnn1d",
        field="network",
    ),
    Rule(
        cel=f"!{_any_of(DISCRETE)} || !has(self.env.nav) || has(self.env.nav.actions.discrete)",
        holds=lambda m: _chosen(m) not in DISCRETE or m.env.nav is None or m.env.nav.actions.discrete is not None,
        message="algo.dqn and algo.pqn choose among commands: set env.nav.actions to {discrete: {}}, or choose sac, "
        "td3 or ppo",
        field="env.nav.actions",
    ),
    Rule(
        cel=f"!{_any_of(CONTINUOUS)} || !has(self.env.nav) || has(self.env.nav.actions.continuous)",
        holds=lambda m: _chosen(m) not in CONTINUOUS or m.env.nav is None or m.env.nav.actions.continuous is not None,
        message="algo.sac and algo.td3 steer by numbers: set env.nav.actions to {continuous: {}}, or choose dqn, pqn "
        "or ppo",
        field="env.nav.actions",
    ),
    Rule(
        cel=f"{_any_of(EXPLORING)} || !self.curriculum.stages.exists(s, has(s.exploration))",
        holds=lambda m: _chosen(m) in EXPLORING or all(s.exploration is None for s in m.curriculum.stages),
        message="only algo.dqn, pqn and td3 have an exploration that a stage can set: take stages[].exploration out",
        field="curriculum.stages",
    ),
    Rule(
        cel="!has(self.env.nav) || self.env.nav.others != 'self' || !has(self.network.gru)",
        holds=lambda m: m.env.nav is None or m.env.nav.others != "self" or m.network.gru is None,
        message="env.nav.others: self needs a network without memory: choose mlp or cnn1d, or others: goStraight",
        field="network",
    ),
    Rule(
        cel="!has(self.selfPlay) || (has(self.env.nav) && self.env.nav.others == 'self')",
        holds=lambda m: m.self_play is None or (m.env.nav is not None and m.env.nav.others == "self"),
        message="selfPlay needs env.nav with others: self: set it, or leave selfPlay out",
        field="selfPlay",
    ),
    Rule(
        cel="!has(self.selfPlay) || self.curriculum.stages.exists(s, has(s.levels) && s.levels.robots > 0)",
        holds=lambda m: (
            m.self_play is None
            or any(stage.levels is not None and stage.levels.robots > 0 for stage in m.curriculum.stages)
        ),
        message="selfPlay needs other robots to drive: set levels.robots of a stage, or leave selfPlay out",
        field="selfPlay",
    ),
    Rule(
        cel="!has(self.selfPlay) || !has(self.selfPlay.pool) || self.selfPlay.pool.everySteps < self.totalSteps",
        holds=lambda m: m.self_play is None or m.self_play.pool is None or m.self_play.pool.every_steps < m.total_steps,
        message=f"selfPlay.pool.everySteps ({EVERY_STEPS} unless given) must be below totalSteps, or no past policy "
        "ever drives: lower it, or train longer",
        field="selfPlay.pool.everySteps",
    ),
    Rule(
        cel="self.curriculum.stages.all(s, has(s.levels) == has(self.env.nav))",
        holds=lambda m: all((s.levels is not None) == (m.env.nav is not None) for s in m.curriculum.stages),
        message="with env.nav every stage of the curriculum has levels; with env.gym it has none",
        field="curriculum",
    ),
)
