"""What each planner must do, and what it must not be able to do, in scenes drawn by hand."""

import pytest
import torch
from headway.evaluation import BASELINES, evaluate
from trainer_tests.envs_tests.conftest import build_spec
from trainer_tests.planners_tests.scenes import BLOCK, POCKET, ROOM, drive, scene

pytestmark = pytest.mark.timeout(600)  # the first of them compile kernels, minutes on a busy machine
HEADINGS = [0.0, 90.0, 180.0, -45.0]
FROM_SCAN = ["potential-field", "vfh", "dwa"]


@pytest.mark.parametrize("name", ["go-straight", *FROM_SCAN, "astar", "orca"])
def test_everybody_crosses_an_empty_room(tmp_path, name):
    assert drive(scene(tmp_path, ROOM, HEADINGS), name) == ["success"] * 4


@pytest.mark.parametrize("name", ["vfh", "dwa", "astar", "orca"])
def test_a_block_in_the_way_is_driven_around(tmp_path, name):
    assert drive(scene(tmp_path, BLOCK, HEADINGS), name) == ["success"] * 4


def test_straight_on_is_a_crash_into_the_block(tmp_path):
    assert drive(scene(tmp_path, BLOCK, HEADINGS), "go-straight") == ["collision"] * 4


def test_the_potential_field_hits_nothing_but_stands_still_in_a_pocket(tmp_path):
    assert drive(scene(tmp_path, POCKET, HEADINGS), "potential-field") == ["timeout"] * 4


@pytest.mark.parametrize("name", FROM_SCAN)
def test_who_sees_a_scan_acts_on_the_observation_alone(tmp_path, name):
    env = scene(tmp_path, BLOCK, HEADINGS)
    observation, begins = env.reset(), torch.ones(env.num_envs, dtype=torch.bool)
    expected = BASELINES[name]()(env, observation, begins)
    env.arrays.robot[:] = 1.0  # the truth is of no use to it
    env.arrays.maps[:] = 0
    assert (BASELINES[name]()(env, observation, begins) == expected).all()


@pytest.mark.parametrize("name", ["dwa", "astar", "orca"])
def test_who_has_a_map_finds_out_of_a_pocket(tmp_path, name):
    assert drive(scene(tmp_path, POCKET, HEADINGS), name) == ["success"] * 4


def test_who_knows_where_people_go_gives_way_to_them():
    crossing = {"world": {"empty": {"sizeMeters": 8.0}}, "people": 8, "peopleSpeed": 0.8, "minGoalMeters": 4.0}
    spec = build_spec(crossing)
    collisions = {
        name: evaluate(BASELINES[name](), spec, 0, "test", 64, num_envs=64, threads=1).collision.value
        for name in ("go-straight", "astar", "orca")
    }
    assert collisions["orca"] < 0.5 * min(collisions["go-straight"], collisions["astar"])
