"""No field of the environment's contract is accepted and ignored: each changes what the environment returns."""

import pytest
import torch
from headway.envs.nav.vector import NavVectorEnv
from headway_api.nav_spec import (
    Automaton,
    Cells,
    Clutter,
    Empty,
    Gazebo,
    Levels,
    Lidar,
    Map,
    NavEnv,
    Polygons,
    Randomization,
    Reward,
    Robot,
    Rooms,
    Route,
)

BASE = {"world": {"clutter": {"sizeMeters": 8.0, "fill": 0.1, "walls": 0}}, "people": 2, "minGoalMeters": 1.0}
NAV = [
    ({"robot": {"footprint": {"disc": {"radiusMeters": 0.3}}}}, Robot),
    ({"robot": {"footprint": {"rectangle": {"lengthMeters": 0.6, "widthMeters": 0.4}}}}, Robot),
    ({"robot": {"minSpeed": -0.5}}, Robot),
    ({"robot": {"maxSpeed": 0.7}}, Robot),
    ({"robot": {"maxTurnRate": 0.9}}, Robot),
    ({"robot": {"maxAcceleration": 1.0}}, Robot),
    ({"robot": {"maxTurnAcceleration": 2.0}}, Robot),
    ({"lidar": {"beams": 12}}, Lidar),
    ({"lidar": {"fieldOfViewDegrees": 180.0}}, Lidar),
    ({"lidar": {"rangeMeters": 3.0}}, Lidar),
    ({"reward": {"goal": 3.0}}, Reward),
    ({"reward": {"collision": -3.0}}, Reward),
    ({"reward": {"step": -0.5}}, Reward),
    ({"reward": {"progress": 0.3}}, Reward),
    ({"reward": {"proximity": -1.0}}, Reward),
    ({"reward": {"proximityMeters": 0.6}}, Reward),
    ({"reward": {"near": -1.0}}, Reward),
    ({"reward": {"near": -1.0, "nearMeters": 0.7}}, Reward),
    ({"reward": {"smoothness": -0.1}}, Reward),
    ({"actions": {"discrete": {}}}, NavEnv),
    ({"randomization": {"scanNoiseMeters": 0.05}}, Randomization),
    ({"randomization": {"scanDropout": 0.1}}, Randomization),
    ({"randomization": {"latencySteps": 2}}, Randomization),
    ({"randomization": {"slip": 0.1}}, Randomization),
    ({"randomization": {"dynamics": 0.2}}, Randomization),
    ({"scanStack": 1}, NavEnv),
    ({"stepSeconds": 0.1}, NavEnv),
    ({"maxSteps": 20}, NavEnv),
    ({"goalRadiusMeters": 1.0}, NavEnv),
]
LEVELS = [
    ({"world": {"clutter": {"sizeMeters": 9.0, "fill": 0.1}}}, Clutter),
    ({"world": {"clutter": {"sizeMeters": 8.0, "fill": 0.2}}}, Clutter),
    ({"world": {"clutter": {"sizeMeters": 8.0, "fill": 0.1, "walls": 1}}}, Clutter),
    ({"world": {"empty": {}}}, Levels),
    ({"people": 1}, Levels),
    ({"peopleSpeed": 1.2}, Levels),
    ({"peopleModel": "orca"}, Levels),
    ({"peopleModel": "socialForce"}, Levels),
    ({"robots": 2}, Levels),
    ({"minGoalMeters": 5.0}, Levels),
    ({"maxGoalMeters": 3.0}, Levels),
    ({"route": {"startX": 1.0, "startY": 1.0, "goalX": 6.0, "goalY": 6.0}}, Levels),
]
# Fields that count only beside another: (with the other alone, with both, model, field).
TOGETHER = [
    ({"peopleModel": "orca"}, {"peopleModel": "orca", "peopleYield": 1.0}, Levels, "peopleYield"),
]
# Generated worlds, and for each of their fields two values, the others as given.
WORLDS = [
    (Cells, "cells", {"sizeMeters": 8.0}, {"sizeMeters": 9.0, "cellMeters": 0.8, "fill": 0.5}),
    (Polygons, "polygons", {"sizeMeters": 8.0}, {"sizeMeters": 9.0, "count": 4, "minMeters": 0.3, "maxMeters": 0.5}),
    (Rooms, "rooms", {}, {"sizeMeters": 9.0, "roomMeters": 4.0, "doorMeters": 1.4, "fill": 0.1}),
    (
        Automaton,
        "automaton",
        {},
        {"widthMeters": 6.0, "lengthMeters": 6.0, "cellMeters": 0.2, "fill": 0.15, "minFill": 0.25, "smoothing": 1},
    ),
]
KINDS = [model for model, _, _, _ in WORLDS]
ROUTE = {"startX": 2.0, "startY": 2.0, "startHeadingDegrees": 0.0, "goalX": 6.0, "goalY": 6.0}


def history(spec):
    env = NavVectorEnv(spec, 24)
    rows = [env.features(env.reset())]
    for k in range(60):
        action = torch.rand((24, 2), generator=torch.Generator().manual_seed(k)) * 2 - 1
        action[:, 0] = action[:, 0].abs()
        if env.actions.discrete:
            action = (torch.arange(24) + k) % env.actions.size
        step = env.step(action)
        rows += [env.features(step.observation), step.reward, step.episodes.ended]
    return rows


def differ(left, right):
    return any(x.shape != y.shape or not torch.equal(x, y) for x, y in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("kind", "given", "field", "value"),
    [(kind, given, field, value) for _, kind, given, fields in WORLDS for field, value in fields.items()],
)
def test_every_field_of_a_generated_world_counts(make_spec, kind, given, field, value):
    worlds = [{kind: given}, {kind: given | {field: value}}]
    grids = []
    for world in worlds:
        env = NavVectorEnv(make_spec({"world": world, "minGoalMeters": 1.0}, lidar={"beams": 2}), 6)
        env.reset()
        grids.append((env.arrays.grid, env.arrays.shapes, env.arrays.scenes["cell"]))
    assert any(x.shape != y.shape or (x != y).any() for x, y in zip(*grids, strict=True))


@pytest.mark.parametrize(("field", "value"), [("startX", 3.0), ("startY", 3.0), ("startHeadingDegrees", 45.0),
                                              ("goalX", 5.0), ("goalY", 5.0)])  # fmt: skip
def test_every_field_of_a_route_counts(make_spec, field, value):
    robots = []
    for route in (ROUTE, ROUTE | {field: value}):
        env = NavVectorEnv(make_spec({"world": {"empty": {}}, "route": route}, lidar={"beams": 2}), 1)
        env.reset()
        robots.append(env.arrays.robot.copy())
    assert (robots[0] != robots[1]).any()


@pytest.fixture(scope="module")
def reference(make_spec):
    return history(make_spec(BASE))


@pytest.mark.parametrize("nav", [nav for nav, _ in NAV], ids=str)
def test_every_field_of_the_environment_counts(make_spec, reference, nav):
    assert differ(reference, history(make_spec(BASE, **nav)))


def test_the_reach_of_a_term_that_is_off_by_default_counts(make_spec):
    left, right = (history(make_spec(BASE, reward={"near": -1.0, "nearMeters": r})) for r in (0.35, 0.7))
    assert differ(left, right)


@pytest.mark.parametrize("fields", [("speeds", "turnRates"), ("turnRates", "speeds")])
def test_the_numbers_of_discrete_commands_count(make_spec, fields):
    left, right = (history(make_spec(BASE, actions={"discrete": {fields[0]: n, fields[1]: 3}})) for n in (2, 4))
    assert differ(left, right)


@pytest.mark.parametrize("levels", [levels for levels, _ in LEVELS], ids=str)
def test_every_field_of_the_levels_counts(make_spec, reference, levels):
    assert differ(reference, history(make_spec(BASE | levels)))


@pytest.mark.parametrize(("alone", "both"), [case[:2] for case in TOGETHER], ids=str)
def test_every_field_counts_beside_another(make_spec, alone, both):
    assert differ(history(make_spec(BASE | alone)), history(make_spec(BASE | both)))


def test_the_size_of_an_empty_room_counts(make_spec):
    left, right = (history(make_spec({"world": {"empty": {"sizeMeters": s}}})) for s in (6.0, 7.0))
    assert differ(left, right)


def test_the_tables_above_name_every_field():
    named = {(model, field) for nav, model in NAV for field in (nav.get(model.__name__.lower()) or nav)}
    named |= {(Levels, field) for levels, _ in LEVELS for field in levels} | {case[2:] for case in TOGETHER}
    named |= {(model, field) for model, _, _, fields in WORLDS for field in fields}
    named |= {(Route, field) for field in ROUTE}
    named |= {(Randomization, "startMeters"), (Randomization, "startDegrees")}  # test_generators.py
    named |= {(Gazebo, "world"), (Gazebo, "heldOut")}  # test_gazebo.py
    named |= {(Clutter, field) for levels, _ in LEVELS for field in levels.get("world", {}).get("clutter", {})}
    # test_draw.py and test_ros_map.py try the fields of maps.
    named |= {
        (Empty, "sizeMeters"),
        (Map, "yaml"),
        (Map, "heldOut"),
        *((NavEnv, name) for name in ("robot", "lidar", "reward", "randomization")),
    }
    named |= {(NavEnv, "others")}  # counts where a policy drives: test_robots
    for model in (Robot, Lidar, Reward, Randomization, NavEnv, Levels, Clutter, Empty, Map, *KINDS, Route, Gazebo):
        for field in model.model_fields.values():
            assert (model, field.alias) in named
