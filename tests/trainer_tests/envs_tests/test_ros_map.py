import os
from pathlib import Path

import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.ros_map import load_map
from headway.envs.nav.vector import NavVectorEnv
from headway.errors import SpecError
from headway.evaluation import BASELINES, evaluate
from PIL import Image

FIELDS = {
    "image": "m.pgm",
    "resolution": 0.1,
    "origin": [-1.0, 2.0, 0.0],
    "negate": 0,
    "occupied_thresh": 0.65,
    "free_thresh": 0.25,
}


def write_map(folder, pixels, name="m.pgm", **fields):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(folder / name)
    lines = [f"{key}: {value}" for key, value in ({**FIELDS, "image": name} | fields).items() if value is not None]
    (folder / "m.yaml").write_text("\n".join(lines) + "\n")
    return folder / "m.yaml"


def inside(path):
    """The image's own cells, without the ring, bottom row first."""
    return load_map(path).occupied[1:-1, 1:-1].astype(int).tolist()


# One row of grey values: occupancy 1 - grey / 255 is 1.00, 0.65+, 0.50, 0.25-, 0.00.
GREYS = [[0, 88, 128, 192, 255]]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [1, 1, 1, 0, 0]),  # trinary is the default: what lies between is unknown
        ({"mode": "trinary", "negate": 1}, [0, 1, 1, 1, 1]),  # 88/255 = 0.35, 128/255 = 0.50 unknown
        ({"mode": "scale"}, [1, 1, 1, 0, 0]),  # 0.498 lies at 62 of 100 between the thresholds
        ({"mode": "scale", "free_thresh": 0.4}, [1, 1, 0, 0, 0]),  # 0.498 lies at 39 of 100
        ({"mode": "raw"}, [0, 1, 1, 1, 1]),  # the grey is the occupancy; above 100 is unknown
    ],
)
def test_modes_and_thresholds(tmp_path, fields, expected):
    assert inside(write_map(tmp_path, GREYS, **fields)) == [expected]


def test_raw_takes_the_grey_for_the_occupancy(tmp_path):
    assert inside(write_map(tmp_path, [[0, 49, 50, 100, 101, 255]], mode="raw")) == [[0, 0, 1, 1, 1, 1]]


def test_rows_run_from_the_bottom_and_a_ring_is_added(tmp_path):
    world = load_map(write_map(tmp_path, [[255, 255], [0, 255]]))
    assert world.occupied.astype(int).tolist() == [[1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    assert world.origin == pytest.approx((-1.1, 1.9))
    assert world.resolution == 0.1


def test_colours_are_averaged_and_transparent_pixels_of_scale_are_unknown(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0] = [[255, 255, 255, 255], [255, 255, 255, 10], [240, 230, 220, 255]]
    assert inside(write_map(tmp_path, pixels, name="m.png", mode="scale")) == [[0, 1, 0]]
    assert inside(write_map(tmp_path, pixels, name="m.png", mode="trinary")) == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("fields", "field", "fix"),
    [
        ({"resolution": 0}, "resolution", "write a number from 0.001 to 10"),
        ({"resolution": None}, "resolution", "write a number"),
        ({"origin": "[0, 0, 0.5]"}, "origin", "rotate the image"),
        ({"origin": "[0, 0]"}, "origin", r"write \[x, y, 0.0\]"),
        ({"mode": "binary"}, "mode", "choose trinary, scale or raw"),
        ({"negate": 2}, "negate", "write 0"),
        ({"occupied_thresh": 1.5}, "occupied_thresh", "write a number from 0 to 1"),
        ({"free_thresh": 0.9}, "free_thresh", "must not exceed occupied_thresh"),
        ({"image": "other.pgm"}, "image", "no such file"),
        ({"image": None}, "image", "name the .pgm or .png file"),
    ],
)
def test_errors_name_file_field_value_and_fix(tmp_path, fields, field, fix):
    path = write_map(tmp_path, [[255]])
    lines = {**FIELDS, **fields}
    path.write_text("\n".join(f"{k}: {v}" for k, v in lines.items() if v is not None))
    with pytest.raises(SpecError, match=rf"m\.yaml: {field}: .*{fix}"):
        load_map(path)


def test_a_missing_or_broken_file_is_told(tmp_path):
    with pytest.raises(SpecError, match=r"none\.yaml.*no such file"):
        load_map(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(SpecError, match="cannot be read"):
        load_map(tmp_path / "bad.yaml")
    path = write_map(tmp_path, [[255]])
    (tmp_path / "m.pgm").write_bytes(b"no image")
    with pytest.raises(SpecError, match=r"cannot be read as a \.pgm or \.png image"):
        load_map(path)


def room(folder):
    """6 x 4 m at 0.1 m with a wall from the top that leaves a passage, and a closed chamber of 1 x 1 m."""
    pixels = np.full((40, 60), 255, np.uint8)
    pixels[:25, 30] = 0
    pixels[28:, 48] = pixels[28, 48:] = 0
    return write_map(folder, pixels)


def map_levels(path, **levels):
    return {"world": {"map": {"yaml": str(path)}}, **levels}


def test_starts_and_goals_lie_in_the_largest_region(tmp_path, make_spec):
    env = NavVectorEnv(make_spec(map_levels(room(tmp_path), minGoalMeters=1.0, maxGoalMeters=4.0)), 200)
    env.reset()
    robot = env.arrays.robot
    x, y = robot[:, [a.X, a.GOAL_X]] + 1.0, robot[:, [a.Y, a.GOAL_Y]] - 2.0  # from the image's corner
    assert not ((x > 4.8) & (y < 1.2)).any()
    assert robot[:, a.GOAL_DISTANCE].min() >= 1.0 - 1e-4
    assert robot[:, a.GOAL_DISTANCE].max() <= 4.0 + 1e-4
    assert (env.shortest_path_meters(torch.ones(200, dtype=torch.bool)) < 20).all()


def test_a_robot_that_fits_nowhere_is_told(tmp_path, make_spec):
    path = room(tmp_path)
    with pytest.raises(SpecError, match="footprint"):
        NavVectorEnv(make_spec(map_levels(path), robot={"footprint": {"disc": {"radiusMeters": 2.0}}}), 1)


def test_a_fast_small_robot_does_not_pass_through_a_thin_wall(tmp_path, make_spec):
    pixels = np.full((100, 100), 255, np.uint8)
    pixels[:, 50] = 0  # 0.05 m thick
    path = write_map(tmp_path, pixels, resolution=0.05, origin="[0, 0, 0]")
    robot = {"footprint": {"disc": {"radiusMeters": 0.05}}, "maxSpeed": 10.0, "maxAcceleration": 50.0}
    env = NavVectorEnv(make_spec(map_levels(path, minGoalMeters=0.5), robot=robot, stepSeconds=0.4), 1)
    env.reset()
    env.arrays.robot[0] = [0.5, 2.5, 0.0, 10.0, 0.0, 4.5, 2.5, 4.0, 0.0]  # 4 m a step; the wall is at 2.5 m
    step = env.step(torch.tensor([[1.0, 0.0]]))
    assert bool(step.episodes.collision)
    assert float(step.final_observation["achieved_goal"][0, 0]) < 2.5


def test_generated_and_mapped_stages_share_one_environment(tmp_path, make_spec):
    spec = make_spec({"world": {"empty": {}}}, map_levels(room(tmp_path), minGoalMeters=1.0, people=2), replay=0.5)
    env = NavVectorEnv(spec, 64)
    env.set_stage(1)
    env.reset()
    state = env.get_state()
    assert set(env.arrays.count[:, a.STAGE].tolist()) == {0, 1}
    other = NavVectorEnv(spec, 64)
    other.set_state(state)
    action = torch.full((64, 2), 0.2)
    for _ in range(40):
        left, right = env.step(action), other.step(action)
    assert torch.equal(left.observation["observation"], right.observation["observation"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["depot", "turtlebot3"])
def test_real_maps_can_be_driven(name, make_spec):
    shared = os.environ.get("HEADWAY_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data"
    path = Path(shared) / "maps" / f"{name}.yaml"
    if not path.exists():
        pytest.skip(f"{path}: real maps are not here; HEADWAY_SHARED_DATA names the folder that holds maps/")
    spec = make_spec(
        map_levels(path, minGoalMeters=2.0, maxGoalMeters=8.0), robot={"footprint": {"disc": {"radiusMeters": 0.15}}}
    )
    assert evaluate(BASELINES["astar"](), spec, 0, "test", 60).success.value >= 0.95


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.pgm", b"P5\n12"),
        ("m.pgm", b"P5\n" + b"1" * 40),
        ("m.pgm", b"P5\n2 2\n99999\n"),
        ("m.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"),
    ],
)
def test_an_image_that_is_none_of_map_servers_is_one_clear_error(tmp_path, name, content):
    path = write_map(tmp_path, [[255]])
    path.write_text(path.read_text().replace("m.pgm", name))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=r"image: .*cannot be read as a \.pgm or \.png image") as error:
        load_map(path)
    assert "Ghostscript" not in str(error.value)  # not even looked for


@pytest.mark.parametrize(
    "text", ["made: 2024-99-99", "[" * 3000, "resolution: 1" + "0" * 400, "origin: [1" + "0" * 400 + ", 0, 0]"]
)
def test_yaml_that_python_cannot_hold_is_one_clear_error(tmp_path, text):
    path = write_map(tmp_path, [[255]])
    path.write_text(path.read_text() + text + "\n")
    with pytest.raises(SpecError):
        load_map(path)
