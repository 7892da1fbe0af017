"""Planners that know the truth, as imitation asks for them."""

import pytest
import torch
from headway.envs.nav.vector import NavVectorEnv
from headway.envs.planners.body import body_of
from headway.envs.planners.shortest import careful_speed
from headway.errors import SpecError
from headway_api.nav_spec import NavEnv
from trainer_tests.envs_tests.conftest import build_spec
from trainer_tests.planners_tests.scenes import GAP, POCKET, drive, place, scene

pytestmark = pytest.mark.timeout(600)  # the first of them compile kernels, minutes on a busy machine
CLUTTER = {"world": {"clutter": {"sizeMeters": 8.0, "fill": 0.1}}, "minGoalMeters": 3.0}


@pytest.mark.parametrize("name", ["astar", "goStraight", "orca"])
def test_advice_is_a_function_of_the_environments_state(name):
    env = NavVectorEnv(build_spec(CLUTTER, maxSteps=40), 8)
    env.reset()
    for _ in range(25):
        env.step(env.expert(name))
    other = NavVectorEnv(build_spec(CLUTTER, maxSteps=40), 8)
    other.reset()
    other.expert(name)  # its levels are other ones: what it planned for them must not be followed
    other.set_state(env.get_state())
    assert torch.equal(other.expert(name), env.expert(name))


def test_who_has_left_the_way_is_led_back_from_where_he_is(tmp_path):
    env = scene(tmp_path, POCKET, [0.0])
    env.expert("astar")
    place(env, (3.3, 1.7), (5.1, 1.7), [0.0])  # deep in the pocket, facing its wall
    assert drive(env, "astar") == ["success"]


@pytest.mark.parametrize("name", ["astar", "orca"])
def test_a_goal_in_view_through_a_gap_that_only_the_narrow_margin_passes_is_driven_to(tmp_path, name):
    env = scene(tmp_path, GAP, [0.0], robot={"footprint": {"disc": {"radiusMeters": 0.24}}})
    assert drive(env, name) == ["success"]


def test_who_follows_the_way_can_stop_within_the_free_distance_a_step_later():
    body = body_of(NavEnv())._replace(max_speed=2.0, acceleration=2.0, step_seconds=0.2)
    assert careful_speed(body, 0.9) == pytest.approx(1.5391, abs=1e-4)  # 1.5391 * 0.2 + 1.5391**2 / 4 = 0.9
    assert careful_speed(body, 9.0) == 2.0
    assert careful_speed(body, -0.1) == careful_speed(body, 0.0) == pytest.approx(0.6)  # it goes on, slowly


def test_an_expert_that_is_not_there_is_named_with_those_that_are():
    env = NavVectorEnv(build_spec(CLUTTER), 1)
    known = "this environment has astar, goStraight, orca"
    env.reset()
    with pytest.raises(SpecError, match=rf"train\.algo\.dagger\.expert: 'nobody': {known}"):
        env.expert("nobody")
