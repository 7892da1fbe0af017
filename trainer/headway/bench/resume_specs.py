"""Small runs of seconds in which everything is at work that a checkpoint has to hold, one strategy at a time or all.

`headway bench resume` trains them to its end, and so do tests: navigation among people, another robot and clutter, with
noise on everything, in twelve environments, which divide among one to four ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from headway_api.train_spec import TrainSpec

Wire = dict[str, Any]

ENVS: Final = 12
UPDATE: Final = ENVS * 8  # environment steps between two updates
UPDATES: Final = 6
PLAIN, EVERYTHING = "plain", "everything"
_REPLAYING: Final = ("dqn", "sac", "td3")
_WITH_MEMORY: Final = "ppo-gru"


@dataclass(frozen=True)
class Case:
    """One algorithm with one strategy on some ranks."""

    algo: str
    strategy: str
    ranks: int

    @property
    def name(self) -> str:
        """As the command line has it: `sac/per/2`."""
        return f"{self.algo}/{self.strategy}/{self.ranks}"

    def matches(self, wanted: str) -> bool:
        """Say whether every part of `wanted`, such as `sac`, `per` or `sac/per`, is one of this one's."""
        return set(wanted.split("/")) <= set(self.name.split("/"))

    def spec(self, updates: int = UPDATES, device: str = "cpu") -> TrainSpec:
        """What is trained."""
        wire = _base() | {"totalSteps": UPDATE * updates, "deterministic": device != "cpu"}
        _ALGOS[self.algo](wire)
        for strategy in strategies(self.algo)[1:-1] if self.strategy == EVERYTHING else (self.strategy,):
            _STRATEGIES[strategy](wire)
        if self.strategy == EVERYTHING:
            wire["precision"] = _PRECISION.get(self.algo, "fp32")
            wire["microBatch"] = _PIECES.get(self.algo, 0)
        return TrainSpec.model_validate(wire)


def strategies(algo: str) -> tuple[str, ...]:
    """Those that the algorithm can have: plain first, everything at once last."""
    replay = ("per", "her", "nstep") if algo in _REPLAYING else ()
    others = () if algo == _WITH_MEMORY else ("selfplay",)  # a network with memory drives no other robots
    return (PLAIN, *replay, "curriculum", *others, "evaluation", "bf16", "fp16", EVERYTHING)


def cases(ranks: tuple[int, ...] = (1, 2, 3)) -> list[Case]:
    """All of them."""
    return [Case(algo, strategy, count) for algo in ALGORITHMS for strategy in strategies(algo) for count in ranks]


def _base() -> Wire:
    """One stage that nothing ends, in single precision."""
    noise = {"scanNoiseMeters": 0.02, "scanDropout": 0.02, "latencySteps": 2, "slip": 0.05, "dynamics": 0.1}
    return {
        "numEnvs": ENVS,
        "env": {"nav": {"maxSteps": 15, "lidar": {"beams": 12}, "randomization": noise}},
        "network": {"mlp": {"hidden": [16, 16]}},
        "curriculum": {
            "stages": [{"name": "a", "levels": _levels(), "gate": {"successRate": 0.99, "episodes": 4000}}],
            "stopAfterLastGate": False,
        },
    }


def _levels(**changes: Any) -> Wire:
    world = {"world": {"clutter": {"sizeMeters": 5.0}}, "people": 2, "robots": 1, "minGoalMeters": 1.0}
    return world | {"peopleModel": "orca", "peopleYield": 0.5} | changes


# --- algorithms -------------------------------------------------------------------------------------------------------


def _ppo(wire: Wire) -> None:
    wire["algo"] = {"ppo": {"rolloutSteps": 8, "minibatchSize": 48, "epochs": 2, "learningRate": 0.003}}
    wire["algo"]["ppo"] |= {"normalizeObservations": True, "normalizeValues": True}


def _ppo_gru(wire: Wire) -> None:
    """A minibatch is all environments' rollouts: they divide among four ranks, too."""
    _ppo(wire)
    wire["algo"]["ppo"]["minibatchSize"] = UPDATE
    wire["network"] = {"gru": {"hidden": [16], "size": 16}}


def _pqn(wire: Wire) -> None:
    wire["algo"] = {"pqn": {"rolloutSteps": 8, "minibatchSize": 48}}
    _choices(wire)


def _dagger(wire: Wire) -> None:
    """Both drive, and the ring of labelled steps wraps around."""
    given = {"expertSteps": UPDATE * 5, "rolloutSteps": 8, "minibatchSize": 48, "gradientSteps": 3, "capacity": 240}
    wire["algo"] = {"dagger": given}


def _dqn(wire: Wire) -> None:
    _replaying(wire, "dqn", dueling=True, target={"hard": {"everySteps": 50}})
    _choices(wire)


def _sac(wire: Wire) -> None:
    _replaying(wire, "sac", policyDelay=2)


def _td3(wire: Wire) -> None:
    _replaying(wire, "td3", annealLearningRate=True)


def _replaying(wire: Wire, kind: str, **own: Any) -> None:
    """The replay wraps around, and the last save has whole and open segments."""
    common = {"batchSize": 24, "learningStarts": UPDATE, "trainEvery": 2, "gradientSteps": 2, "updateSteps": UPDATE}
    wire["algo"] = {kind: common | {"replay": {"capacity": ENVS * 30}} | own}


def _choices(wire: Wire) -> None:
    wire["env"]["nav"]["actions"] = {"discrete": {}}


_ALGOS: Final[dict[str, Callable[[Wire], None]]] = {
    "ppo": _ppo,
    _WITH_MEMORY: _ppo_gru,
    "dqn": _dqn,
    "pqn": _pqn,
    "sac": _sac,
    "td3": _td3,
    "dagger": _dagger,
}
ALGORITHMS: Final = tuple(_ALGOS)
_PRECISION: Final = {"sac": "bf16", "td3": "fp16"}  # with everything at once
_PIECES: Final = {"sac": 5, "ppo": 7}

# --- strategies -------------------------------------------------------------------------------------------------------


def _plain(wire: Wire) -> None:
    """Nothing more."""


def _per(wire: Wire) -> None:
    _replay(wire)["prioritized"] = {}


def _her(wire: Wire) -> None:
    _replay(wire)["hindsight"] = {}


def _nstep(wire: Wire) -> None:
    _replay(wire)["nSteps"] = 3


def _curriculum(wire: Wire) -> None:
    """An easy stage and one that nobody succeeds in: forward and back, with remembered and replayed levels.

    Episodes are short, so that both happen within six updates.
    """
    wire["env"]["nav"]["maxSteps"] = 10
    gate = {"successRate": 0.01, "episodes": 12, "confidence": 0.0}
    easy, far = _levels(maxGoalMeters=1.5), _levels(minGoalMeters=3.0)
    stages = [{"name": "easy", "levels": easy, "gate": gate}, {"name": "far", "levels": far, "gate": gate}]
    wire["curriculum"] |= {
        "stages": stages,
        "schedule": {"gates": {"demotion": {"successRate": 0.005, "updates": 1}}},
        "learnability": {"levels": 16, "attempts": 2, "share": 0.25},
        "replay": 0.1,
    }


def _selfplay(wire: Wire) -> None:
    """Two past policies are kept, each update's: the third replaces the first while it drives."""
    wire["env"]["nav"]["others"] = "self"
    wire["selfPlay"] = {"pool": {"size": 2, "everySteps": UPDATE}}


def _evaluation(wire: Wire) -> None:
    wire["evaluation"] = {"everySteps": UPDATE * 2, "levels": ENVS}


def _bf16(wire: Wire) -> None:
    wire["precision"] = "bf16"


def _fp16(wire: Wire) -> None:
    wire["precision"] = "fp16"


def _replay(wire: Wire) -> Wire:
    (algo,) = wire["algo"].values()
    replay: Wire = algo["replay"]
    return replay


_STRATEGIES: Final[dict[str, Callable[[Wire], None]]] = {
    PLAIN: _plain,
    "per": _per,
    "her": _her,
    "nstep": _nstep,
    "curriculum": _curriculum,
    "selfplay": _selfplay,
    "evaluation": _evaluation,
    "bf16": _bf16,
    "fp16": _fp16,
}
