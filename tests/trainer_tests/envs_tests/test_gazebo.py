import math

import numpy as np
import pytest
from headway.envs.nav import arrays as a
from headway.envs.nav.gazebo import load_world
from headway.envs.nav.vector import NavVectorEnv
from headway.errors import SpecError

CYLINDER = "<geometry><cylinder><radius>0.5</radius><length>1</length></cylinder></geometry>"
BOX = "<geometry><box><size>2 1 1</size></box></geometry>"


def collision(geometry=CYLINDER, pose=""):
    return f"<collision name='c'>{pose and f'<pose>{pose}</pose>'}{geometry}</collision>"


def model(*collisions, pose="0 0 0 0 0 0", link="0 0 0 0 0 0", static="1", name="m"):
    inner = "".join(collisions)
    return (f"<model name='{name}'><static>{static}</static><pose>{pose}</pose>"
            f"<link name='l'><pose>{link}</pose>{inner}</link></model>")  # fmt: skip


def write(folder, *models, name="w.world", before=""):
    text = f"<?xml version='1.0'?>{before}<sdf version='1.6'><world name='w'>{''.join(models)}</world></sdf>"
    (folder / name).write_text(text)
    return folder / name


def room(folder, name="w.world", gap=0.0, half=3.0):
    """Four walls of 0.2 m around a square, the upper one with a hole if asked; a pillar inside."""
    side = 2 * half + 0.2
    sizes = [(0, -half, side, 0.2), (-half, 0, 0.2, side), (half, 0, 0.2, side), (-gap / 2, half, side - gap, 0.2)]
    walls = [
        model(
            collision(f"<geometry><box><size>{w} {h} 1</size></box></geometry>"), pose=f"{x} {y} 0 0 0 0", name=f"b{k}"
        )
        for k, (x, y, w, h) in enumerate(sizes)
    ]
    return write(folder, *walls, model(collision(), pose="1 1 0 0 0 0", name="p"), name=name)


def test_poses_of_model_link_and_collision_are_composed(tmp_path):
    turned = model(collision(BOX, "1 0 0 0 0 0.25"), pose=f"2 3 0 0 0 {math.pi / 2}", link="1 0 5 0 0 0.5")
    world = load_world(write(tmp_path, turned, model(collision(), pose="-1 -2 0 0 0 1")), 1.0)
    assert world.discs.tolist() == [[-1.0, -2.0, 0.5]]
    # The link lies at (2, 4), turned by pi/2 + 0.5; the box 1 m along that direction, turned by 0.25 more.
    angle = math.pi / 2 + 0.5
    assert world.boxes[0] == pytest.approx([2 + math.cos(angle), 4 + math.sin(angle), 2.0, 1.0, angle + 0.25])


def test_a_saved_state_says_where_models_are(tmp_path):
    state = "<state world_name='w'><model name='m'><pose>4 5 0 0 0 0</pose></model></state>"
    assert load_world(write(tmp_path, model(collision()), state), 1.0).discs.tolist() == [[4.0, 5.0, 0.5]]


def test_models_in_models_and_degrees_are_read(tmp_path):
    inner = "<model name='i'><pose degrees='true'>1 0 0 0 0 90</pose><link name='l'><pose>0 1 0 0 0 0</pose>"
    outer = f"<model name='o'><static>true</static><pose>5 5 0 0 0 0</pose>{inner}{collision()}</link></model></model>"
    assert load_world(write(tmp_path, outer), 1.0).discs[0] == pytest.approx([5.0, 5.0, 0.5])


def test_planes_lights_and_the_ground_are_no_obstacles(tmp_path):
    plane = model(collision("<geometry><plane><normal>0 0 1</normal></plane></geometry>"), name="g")
    ground = "<include><uri>model://ground_plane</uri></include><light name='sun' type='directional'/>"
    assert len(load_world(write(tmp_path, plane, ground, model(collision())), 1.0).discs) == 1


def test_the_ring_lies_beyond_what_the_lidar_sees_from_the_shapes(tmp_path):
    world = load_world(write(tmp_path, model(collision())), 3.0)
    height, width = world.occupied.shape
    assert world.occupied[0].all()
    assert not world.occupied[1:-1, 1:-1].any()
    assert world.origin[0] + world.resolution <= -0.5 - 3.0
    assert world.origin[1] + (height - 1) * world.resolution >= 0.5 + 3.0
    assert (height, width) == (height, height)


REFUSED = [
    ((model(collision(), static="0"),), "model m: it can move"),
    ((model(collision(), pose="0 0 0 0.3 0 0"),), "only a yaw"),
    ((model(collision(pose="0 0 0 0 1 0")),), "only a yaw"),
    ((model(collision(), pose="0 0 zero 0 0 0"),), "write 6 numbers"),
    ((model(collision("<geometry><sphere><radius>1</radius></sphere></geometry>")),), "<sphere> is neither"),
    ((model(collision("<geometry><mesh><uri>x.dae</uri></mesh></geometry>")),), "<mesh> is neither"),
    ((model(collision(CYLINDER.replace("0.5", "-1"))),), "sizes must be positive"),
    ((model(collision(BOX.replace("2 1 1", "2 1"))),), "write 3 numbers"),
    ((model(collision("")),), "one shape"),
    ((model(collision(), pose="1e9 0 0 0 0 0"),), "write 6 numbers"),
    (("<include><uri>model://table</uri></include>",), "model://table: models in other files"),
    (("<actor name='walker'/>",), "it moves"),
    ((), "holds no cylinder"),
]


@pytest.mark.parametrize(("models", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_exact_is_refused(tmp_path, models, message):
    with pytest.raises(SpecError, match=r"w\.world") as error:
        load_world(write(tmp_path, *models), 1.0)
    assert message in str(error.value)


def test_files_that_are_no_worlds_are_refused(tmp_path):
    with pytest.raises(SpecError, match="no such file"):
        load_world(tmp_path / "none.world", 1.0)
    (tmp_path / "w.world").write_text("<sdf><world>")
    with pytest.raises(SpecError, match=r"is no XML: .*line 1"):
        load_world(tmp_path / "w.world", 1.0)
    (tmp_path / "w.world").write_text("<robot/>")
    with pytest.raises(SpecError, match="no Gazebo world"):
        load_world(tmp_path / "w.world", 1.0)
    (tmp_path / "w.world").write_bytes(b"\xff\xfe<\x00s\x00")
    with pytest.raises(SpecError, match=r"cannot be read"):
        load_world(tmp_path / "w.world", 1.0)


def test_entities_are_refused_before_they_are_expanded(tmp_path):
    bomb = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]>"
    with pytest.raises(SpecError, match="entities are refused"):
        load_world(write(tmp_path, model(collision()), before=bomb), 1.0)


def test_models_nested_without_end_are_refused(tmp_path):
    deep = "<model name='d'>" * 40 + collision() + "</model>" * 40
    with pytest.raises(SpecError, match=r"models lie in models"):
        load_world(write(tmp_path, deep), 1.0)


def nav(make_spec, path, **levels):
    return make_spec({"world": {"gazebo": {"world": str(path)}}, "minGoalMeters": 1.0, **levels},
                     lidar={"beams": 4, "rangeMeters": 6.0}, scanStack=1)  # fmt: skip


def test_the_lidar_measures_the_shapes_exactly(make_spec, tmp_path):
    route = {"startX": 1.0, "startY": -1.5, "startHeadingDegrees": 90.0, "goalX": -2.0, "goalY": 2.0}
    env = NavVectorEnv(nav(make_spec, room(tmp_path), route=route), 1)
    scan = env.reset()["observation"][0, a.POSE :]
    # Back, right, ahead, left: walls' inner faces at 2.9 m, and the pillar, whose lowest point is (1, 0.5).
    assert scan.tolist() == pytest.approx([1.4, 1.9, 2.0, 3.9], abs=1e-4)


def test_episodes_begin_and_end_among_the_shapes(make_spec, tmp_path):
    env = NavVectorEnv(nav(make_spec, room(tmp_path, gap=2.0)), 200)
    env.reset()
    rows = env.arrays.robot
    for x, y in ((a.X, a.Y), (a.GOAL_X, a.GOAL_Y)):
        assert np.abs(rows[:, x]).max() < 3.2
        assert np.abs(rows[:, y]).max() < 3.2
        assert (np.hypot(rows[:, x] - 1, rows[:, y] - 1) >= 0.5 + 0.35 - 1e-4).all()


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({"startX": 1.0, "startY": 1.2, "goalX": -2.0, "goalY": 2.0}, "the start lies in an obstacle"),
        ({"startX": 50.0, "startY": 1.2, "goalX": -2.0, "goalY": 2.0}, "outside the world"),
        ({"startX": 0.0, "startY": -1.0, "goalX": 2.9, "goalY": 0.0}, "the goal lies in an obstacle"),
        ({"startX": 0.0, "startY": -1.0, "goalX": 0.0, "goalY": 5.0}, "no way leads"),
    ],
)
def test_routes_that_cannot_be_driven_are_refused(make_spec, tmp_path, route, message):
    with pytest.raises(SpecError, match=r"stages\[s0\]\.levels\.route") as error:
        NavVectorEnv(nav(make_spec, room(tmp_path), route=route), 1)
    assert message in str(error.value)
    assert "w.world" in str(error.value)


def test_a_route_through_a_door_is_driven(make_spec, tmp_path):
    route = {"startX": 0.0, "startY": -1.0, "goalX": 2.0, "goalY": 5.0}
    NavVectorEnv(nav(make_spec, room(tmp_path, gap=2.0), route=route), 1).reset()


def test_lists_of_worlds_are_split_and_drawn(make_spec, tmp_path):
    for k in range(8):
        room(tmp_path, f"w{k}.world", half=3.0 + 0.15 * k)
    spec = make_spec({"world": {"gazebo": {"world": f"{tmp_path}/*.world", "heldOut": 0.25}}, "minGoalMeters": 1.0})
    widths = []
    for split in ("train", "validation", "test"):
        env = NavVectorEnv(spec, 100, split=split)
        env.reset()
        widths.append({int(env.arrays.scenes["width"][k]) for k in env.arrays.count[:, a.SCENE]})
    assert [len(w) for w in widths] == [4, 2, 2]
    assert len(set.union(*widths)) == 8


def test_a_robot_that_fits_nowhere_is_told(make_spec, tmp_path):
    spec = make_spec({"world": {"gazebo": {"world": str(write(tmp_path, model(collision(BOX))))}}})
    with pytest.raises(SpecError, match=r"footprint.*fits nowhere in .*w\.world"):
        NavVectorEnv(spec, 1)


def test_a_world_too_large_to_hold_is_refused(make_spec, tmp_path):
    path = write(tmp_path, model(collision()), model(collision(), pose="900000 0 0 0 0 0"))
    with pytest.raises(SpecError, match=r"more than .* cells"):
        load_world(path, 100.0)
