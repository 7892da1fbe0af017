"""Documents for tests: a small run, generated valid runs, and ways to break them."""

from __future__ import annotations

import copy
from typing import Any

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


_name = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
_finite = {"allow_nan": False, "allow_infinity": False}


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    """Any subset of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


_world = st.one_of(
    st.fixed_dictionaries({"empty": _some(sizeMeters=st.floats(4, 30))}),
    st.fixed_dictionaries({"clutter": _some(fill=st.floats(0, 0.4))}),
    st.fixed_dictionaries({"map": st.fixed_dictionaries({"yaml": st.sampled_from(["depot.yaml", "/maps/a.yaml"])})}),
)
_levels = st.builds(
    lambda world, people, near, far: {"world": world, "people": people, "minGoalMeters": near, "maxGoalMeters": far},
    _world,
    st.integers(0, 32),
    st.floats(0.5, 5),
    st.floats(5, 200),
)
_gate = _some(successRate=st.floats(0.1, 0.99), episodes=st.integers(10, 100000), updates=st.integers(1, 100))
_stages = st.lists(_name, min_size=1, max_size=5, unique=True).flatmap(
    lambda stage_names: st.tuples(
        *[
            st.builds(lambda n, lv, g: {"name": n, "levels": lv, "gate": g}, st.just(n), _levels, _gate)
            for n in stage_names
        ]
    ).map(list)
)
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
    envs, minibatch, batches = (draw(st.integers(1, 8)) * ranks for _ in range(3))
    rollout = minibatch * batches  # numEnvs * rollout is a multiple of the minibatch
    train = {
        "totalSteps": draw(st.integers(1, 10**12) | st.just(4096.0)),
        "numEnvs": envs,
        "env": {"nav": draw(_some(maxSteps=st.integers(10, 10000), stepSeconds=st.floats(0.02, 1)))},
        "algo": {
            "ppo": {
                "rolloutSteps": min(rollout, 16384) if rollout <= 16384 else minibatch,
                "minibatchSize": minibatch,
                **draw(_some(learningRate=st.floats(1e-8, 1), gamma=st.floats(0.1, 1), epochs=st.integers(1, 100))),
            }
        },
        "network": {"mlp": draw(_some(hidden=st.lists(st.integers(1, 4096), min_size=1, max_size=6)))},
        "curriculum": {"stages": draw(_stages), **draw(_some(replay=st.floats(0, 0.9)))},
        **draw(_some(seed=st.integers(0, 2**31 - 1), evaluation=st.just({"everySteps": 1000}))),
    }
    spec = {
        "nodes": nodes,
        "processesPerNode": processes,
        "gpusPerNode": gpus,
        "train": train,
        "checkpoint": {"volume": {"claimName": "ckpt"}, "everySeconds": draw(st.integers(1, 86400))},
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
def bent_runs(draw: st.DrawFn) -> Document:
    """Draw a valid document with one thing changed: a value, a missing field, or a field too many."""
    document = copy.deepcopy(draw(valid_runs()))
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
