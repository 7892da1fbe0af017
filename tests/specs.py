"""Documents for tests: a small run, generated valid runs, and ways to break them."""

from __future__ import annotations

import copy
from typing import Any

from documents import documents, keywords, values_of
from headway_api.algo_spec import Cnn1d, Dagger, Gru, Mlp, Ppo
from headway_api.base import Contract
from headway_api.curriculum_spec import Gate, Learnability
from headway_api.gym_spec import GymEnv
from headway_api.hpo_study import METRICS
from headway_api.nav_spec import Discrete, Levels, NavEnv
from headway_api.offpolicy_spec import LEARNING_STARTS, Dqn, Exploration, Pqn, Sac, Td3
from headway_api.replay_spec import Replay
from headway_api.self_play_spec import EVERY_STEPS, SelfPlay
from headway_api.train_spec import Evaluation
from hypothesis import strategies as st

Document = dict[str, Any]


def small_run(**train: Any) -> Document:
    """Return a small valid document; `train` replaces fields of spec.train."""
    stage = {"name": "empty", "levels": {"world": {"empty": {}}}, "gate": {"successRate": 0.9}}
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": "small"},
        "spec": {
            "train": {
                "totalSteps": 4096,
                "numEnvs": 16,
                "env": {"nav": {}},
                "algo": {"ppo": {"rolloutSteps": 16, "minibatchSize": 64}},
                "network": {"mlp": {"hidden": [16]}},
                "curriculum": {"stages": [stage]},
                **train,
            }
        },
    }


def playing_run(**train: Any) -> Document:
    """Return a small valid document with self-play; `train` replaces fields of spec.train."""
    robots = {"stages": [{"name": "a", "levels": {"world": {"empty": {}}, "robots": 1}}]}
    play = {"selfPlay": {"pool": {}}, "totalSteps": 10**6, "env": {"nav": {"others": "self"}}, "curriculum": robots}
    return small_run(**play | train)


_name = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
_finite = {"allow_nan": False, "allow_infinity": False}


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    """Any subset of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def _curricula(draw: st.DrawFn, *, nav: bool, explores: bool) -> Document:
    """Draw stages and a schedule that fits them. `explores`: the algorithm has an exploration that a stage may set."""
    stage_names = draw(st.lists(_name, min_size=1, max_size=5, unique=True))
    own = ("levels", documents(Levels)) if nav else ("kwargs", keywords)
    more = {"gate": documents(Gate)} | ({"exploration": documents(Exploration)} if explores else {})
    stages = [{"name": name, own[0]: draw(own[1]), **draw(_some(**more))} for name in stage_names]
    schedule: st.SearchStrategy[Document] = st.one_of(
        st.just({"gates": {}}),
        _steps(len(stages)).map(lambda starts: {"steps": {"starts": starts}}),
        st.sampled_from(stage_names).map(lambda name: {"manual": {"stage": name}}),
    )
    easiest = min(stage.get("gate", {}).get("successRate", 0.8) for stage in stages)
    if easiest > 0.01:
        demotion = st.fixed_dictionaries(
            {"successRate": st.floats(0.001, easiest, exclude_max=True)}, optional={"updates": st.integers(1, 10000)}
        )
        schedule |= demotion.map(lambda back: {"gates": {"demotion": back}})
    return {
        "stages": stages,
        **draw(
            _some(
                schedule=schedule,
                replay=st.floats(0, 0.9),
                learnability=documents(Learnability),
                stopAfterLastGate=st.booleans(),
            )
        ),
    }


def _steps(stages: int) -> st.SearchStrategy[list[int]]:
    later = st.lists(st.integers(0, 10**12), min_size=stages - 1, max_size=stages - 1)
    return later.map(lambda starts: [0, *sorted(starts)])


OFF_POLICY: dict[str, type[Contract]] = {"dqn": Dqn, "sac": Sac, "td3": Td3}
DISCRETE = ("dqn", "pqn")  # they choose among commands
EXPLORING = ("dqn", "pqn", "td3")  # a stage may say how much


@st.composite
def _learners(draw: st.DrawFn, ranks: int) -> Document:
    """Draw an algorithm and a network that suit one another, and how many environments."""
    envs, minibatch, batches = (draw(st.integers(1, 8)) * ranks for _ in range(3))
    kind = draw(st.sampled_from(["ppo", "ppo", "gru", "dagger", "pqn", *OFF_POLICY]))
    whole = {"rolloutSteps": minibatch * batches, "minibatchSize": minibatch}  # numEnvs * rolloutSteps is a multiple
    if kind == "dagger":
        algo = {"dagger": draw(documents(Dagger)) | {"minibatchSize": minibatch}}
    elif kind in OFF_POLICY:
        algo = {kind: draw(_replaying(OFF_POLICY[kind], envs, minibatch))}
    elif kind == "pqn":
        algo = {"pqn": draw(documents(Pqn)) | whole}
    elif kind == "gru":  # minibatches are whole environments
        rollout = draw(st.integers(1, 64))
        algo = {"ppo": draw(documents(Ppo)) | {"rolloutSteps": rollout, "minibatchSize": envs * rollout}}
    else:
        algo = {"ppo": draw(documents(Ppo)) | whole}
    others = st.one_of(_some_network(mlp=Mlp), _some_network(cnn1d=Cnn1d))
    network = draw(_some_network(gru=Gru) if kind == "gru" else others)
    return {"numEnvs": envs, "algo": algo, "network": network}


@st.composite
def _replaying(draw: st.DrawFn, model: type[Contract], envs: int, batch: int) -> Document:
    """Draw an algorithm with a replay that holds a batch, and each environment's steps."""
    replay = draw(documents(Replay))
    least = max(batch, envs * (replay.get("nSteps", 1) + 1))
    if "capacity" in replay:
        replay["capacity"] = max(replay["capacity"], least)
    fields = {name: values for name, values in values_of(model).items() if name not in ("batchSize", "replay")}
    return draw(_some(**fields)) | {"batchSize": batch} | draw(st.sampled_from([{}, {"replay": replay}]))


@st.composite
def _self_play(draw: st.DrawFn, steps: int) -> Document:
    """Draw who drives the other robots in a run of so many steps; a pool gets its first policy within them."""
    drawn = draw(documents(SelfPlay))
    if "pool" in drawn and steps == 1:
        return {"frozen": {"policy": "runs/a"}}
    if "pool" in drawn:
        drawn["pool"]["everySteps"] = min(drawn["pool"].get("everySteps", EVERY_STEPS), steps - 1)
    return drawn


def _some_network(**kind: type[Contract]) -> st.SearchStrategy[Document]:
    return st.fixed_dictionaries({name: documents(model) for name, model in kind.items()})


_env_vars = st.lists(st.from_regex(r"[A-Z]{3,8}_X", fullmatch=True), unique=True, max_size=3).map(
    lambda env_names: [{"name": name, "value": "1"} for name in env_names]
)
_pod_template = _some(
    env=_env_vars,
    nodeSelector=st.just({"kubernetes.io/arch": "amd64"}),
    resources=st.just({"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"cpu": "500m"}}),
    tolerations=st.just([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]),
    volumes=st.just([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]),
    priorityClassName=st.sampled_from(["", "research"]),
)


@st.composite
def valid_runs(draw: st.DrawFn) -> Document:
    """Draw a document that both the API server and `headway run` must take."""
    nodes, processes = draw(st.integers(1, 4)), draw(st.sampled_from(["auto", 1, 2]))
    gpus = draw(st.integers(0, 4))
    ranks = nodes * (max(1, gpus) if processes == "auto" else int(processes))
    nav = draw(st.booleans())
    learner = draw(_learners(ranks))
    (algo,) = learner["algo"]
    steps = draw(st.integers(1, 10**12))
    if algo in OFF_POLICY:  # something is learned
        begins = learner["algo"][algo].get("learningStarts", LEARNING_STARTS)
        learner["algo"][algo]["learningStarts"] = min(begins, steps - 1)
    train = {
        "totalSteps": steps,
        "env": {"nav": draw(documents(NavEnv))} if nav else {"gym": draw(documents(GymEnv))},
        **learner,
        "curriculum": draw(_curricula(nav=nav, explores=algo in EXPLORING)),
        **draw(
            _some(
                seed=st.integers(0, 2**31 - 1),
                microBatch=st.just("auto") | st.integers(0, 4194304),
                initFrom=st.sampled_from(
                    ["", "runs/a", "/checkpoints/default/a/step-000000001024", "best.safetensors"]
                ),
                evaluation=documents(Evaluation),
                onDivergence=st.sampled_from(["stop", "rollBack"]),
                trackers=st.sampled_from([{}, {"tensorboard": {}}]),
                deterministic=st.booleans(),
            )
        ),
    }
    if nav and "gru" in train["network"]:
        train["env"]["nav"].pop("others", None)  # a network with memory drives no other robots
    elif nav and draw(st.booleans()):
        train["env"]["nav"]["others"] = "self"
        train["curriculum"]["stages"][0]["levels"]["robots"] = draw(st.integers(1, 8))
        train["selfPlay"] = draw(_self_play(steps))
    if nav and algo in DISCRETE:
        train["env"]["nav"]["actions"] = {"discrete": draw(documents(Discrete))}
    elif nav and algo in OFF_POLICY:  # the others of them take numbers, as env.nav does without being told
        train["env"]["nav"].pop("actions", None)
    spec = {
        "nodes": nodes,
        "processesPerNode": processes,
        "gpusPerNode": gpus,
        "train": train,
        "checkpoint": {
            "volume": {"claimName": "ckpt"},
            "everySeconds": draw(st.integers(1, 86400) | st.sampled_from([60.0, "auto"])),
            **draw(
                _some(
                    keepBest=st.booleans(),
                    milestoneSteps=st.integers(0, 10**12),
                    specChange=st.sampled_from(["refuse", "accept"]),
                )
            ),
        },
        **draw(
            _some(
                suspend=st.booleans(),
                podTemplate=_pod_template,
                activeDeadlineSeconds=st.integers(1, 10**9),
                ttlSecondsAfterFinished=st.integers(0, 10**9),
                failurePolicy=_some(maxRestarts=st.integers(0, 1000)),
            )
        ),
    }
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": draw(_name)},
        "spec": spec,
    }


_junk = st.sampled_from(
    [None, True, "x", "", "auto", -1, 0, 1, 2.5, 3.0, 1e30, 2**40, [], {}, [1], {"a": 1}, "a" * 600, "UPPER case", "1"]
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in the document, leaves and branches."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in items for place in _places(value, (*path, key)))]


@st.composite
def bent(draw: st.DrawFn, documents: st.SearchStrategy[Document]) -> Document:
    """Draw a valid document with one thing changed: a value, a missing field, or a field too many."""
    document = copy.deepcopy(draw(documents))
    spec_places = [place for place in _places(document) if place[:1] in (("spec",), ("metadata",)) and len(place) > 1]
    place = draw(st.sampled_from(spec_places))
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    action = draw(st.sampled_from(["set", "set", "remove", "add"]))
    if action == "remove":
        del parent[place[-1]]
    elif action == "add" and isinstance(parent, dict) and place[0] == "spec":
        parent[draw(st.sampled_from(["surplus", "total_steps", "Seed"]))] = draw(_junk)
    else:
        parent[place[-1]] = draw(_junk)
    return document


def bent_runs() -> st.SearchStrategy[Document]:
    """Draw runs with one thing changed."""
    return bent(valid_runs())


def small_study(**spec: Any) -> Document:
    """Return a small valid study; the arguments replace fields of spec."""
    run = small_run(evaluation={"everySteps": 1024, "levels": 8})["spec"]
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "HPOStudy",
        "metadata": {"name": "search"},
        "spec": {
            "parameters": [{"path": "train.algo.ppo.learningRate", "float": {"low": 1e-4, "high": 1e-2, "log": True}}],
            "objectives": [{"metric": "successRate", "direction": "maximize"}],
            "budget": {"trials": 4, "parallel": 2},
            "runTemplate": run,
            **spec,
        },
    }


_numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
_choice = st.none() | st.booleans() | st.integers(-9, 9) | _numbers | st.text(max_size=5) | st.lists(st.integers(0, 9))


@st.composite
def _parameters(draw: st.DrawFn) -> list[Document]:
    fields = ["algo.ppo.gamma", "algo.ppo.learningRate", "network.mlp.hidden[0]", "curriculum.stages[12].levels.world"]
    paths = draw(st.lists(st.sampled_from(fields).map("train.{}".format), min_size=1, unique=True))
    found: list[Document] = []
    for path in paths:
        low = draw(st.integers(1, 99))
        width = draw(st.integers(1, 999))
        domain = draw(
            st.fixed_dictionaries({"float": st.just({"low": low / 8, "high": low / 8 + width / 3})})
            | st.fixed_dictionaries({"float": st.just({"low": low, "high": low + width, "step": width / 7})})
            | st.fixed_dictionaries({"int": _some(log=st.booleans()).map({"low": low, "high": low + width}.__or__)})
            | st.fixed_dictionaries({"categorical": st.fixed_dictionaries({"choices": st.lists(_choice, min_size=1)})})
        )
        when = _some(when=st.just({"path": paths[0], "values": [1, "a"]})) if path != paths[0] else st.just({})
        found.append({"path": path, **domain, **draw(when)})
    return found


@st.composite
def valid_studies(draw: st.DrawFn) -> Document:
    """Draw a study that both the API server and the schema in Python must take."""
    template = draw(valid_runs())["spec"]
    template.pop("suspend", None)
    template["train"]["evaluation"] = {"everySteps": draw(st.integers(1, int(template["train"]["totalSteps"])))}
    metrics = draw(st.lists(st.sampled_from(sorted(METRICS)), min_size=1, max_size=4, unique=True))
    trials = draw(st.integers(1, 10000))
    pruner = draw(st.sampled_from(["median", "percentile", "successiveHalving", "hyperband", "patient"]))
    sampler = draw(st.sampled_from(["tpe", "gp", "qmc", "random", "nsgaIi"]))
    optuna = {"sampler": {sampler: {}}, "pruner": {pruner if len(metrics) == 1 else "none": {}}}
    spec = {
        "parameters": draw(_parameters()),
        "objectives": [{"metric": m, "direction": draw(st.sampled_from(["maximize", "minimize"]))} for m in metrics],
        "budget": {
            "trials": trials,
            **draw(_some(parallel=st.integers(1, min(trials, 256)), failed=st.integers(1, 10000))),
            **draw(_some(seconds=st.integers(1, 10**9), steps=st.integers(1, 10**15))),
        },
        "engine": {"optuna": optuna},
        "runTemplate": template,
        **draw(
            _some(
                seed=st.integers(0, 2**31 - 1),
                seedsPerTrial=st.integers(1, 16),
                constraints=st.just([{"metric": "collisionRate", "atMost": draw(_numbers)}]),
                warmStart=st.just({"study": "before", "best": 3}),
                trialHistoryLimit=st.integers(0, 10000),
                suspend=st.booleans(),
            )
        ),
    }
    name = draw(st.from_regex(r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?", fullmatch=True))
    return {"apiVersion": "headway.dev/v1alpha1", "kind": "HPOStudy", "metadata": {"name": name}, "spec": spec}


def bent_studies() -> st.SearchStrategy[Document]:
    """Draw studies with one thing changed."""
    return bent(valid_studies())
