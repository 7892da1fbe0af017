"""Presets are the contract's objects, and what the shipped files say is what they are."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from headway.envs.presets import PRESETS, preset
from headway.errors import UserError
from headway_api.load import load_run

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("name", PRESETS)
def test_a_shipped_file_trains_on_its_preset(name):
    nav, levels = preset(name)
    spec = load_run(CONFIGS / f"{name}.yaml").spec.train
    assert spec.env.nav == nav
    assert spec.curriculum.stages[-1].levels == levels


def test_jaxnav_learns_as_published():
    spec = load_run(CONFIGS / "jaxnav.yaml").spec.train
    ppo = spec.algo.ppo
    assert (spec.num_envs, ppo.rollout_steps, spec.total_steps) == (256, 512, 300_000_000)
    assert (ppo.learning_rate, ppo.anneal_learning_rate, ppo.clip_range, ppo.epochs) == (2.5e-4, True, 0.04, 4)
    assert spec.num_envs * ppo.rollout_steps == 4 * ppo.minibatch_size
    assert (spec.network.gru.hidden, spec.network.gru.size) == ([512], 512)


def test_jaxnav_counts_obstacles_that_its_beams_would_report_at_four_tenths():
    nav, _ = preset("jaxnav")
    samples = [k * 6 / 119 for k in range(120)]  # linspace(0, 6, 120)
    farthest = max(r for r in samples if r <= 0.4)
    assert nav.reward.near_meters == pytest.approx(farthest, abs=1e-4)


def test_a_name_that_there_is_not_is_told_the_names():
    with pytest.raises(UserError, match=r"preset: found 'gazebo': give one of default, jaxnav, barn"):
        preset("gazebo")


@pytest.mark.parametrize("name", PRESETS)
def test_both_faces_take_a_preset_by_name(name):
    nav, levels = preset(name)
    single = gymnasium.make("headway/Nav-v0", preset=name).unwrapped
    assert single.train_spec.env.nav == nav
    assert single.train_spec.curriculum.stages[0].levels == levels
    vector = gymnasium.make_vec("headway/Nav-v0", num_envs=2, preset=name)
    observation, _ = vector.reset(seed=3)
    np.testing.assert_array_equal(observation["observation"][0], single.reset(seed=3)[0]["observation"])


def test_what_is_given_beside_a_preset_replaces_its_part():
    empty = {"world": {"empty": {"sizeMeters": 7.0}}}
    spec = gymnasium.make("headway/Nav-v0", preset="jaxnav", levels=empty).unwrapped.train_spec
    assert spec.env.nav == preset("jaxnav")[0]
    assert spec.curriculum.stages[0].levels.world.empty.size_meters == 7.0


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_a_face_tells_the_known_presets(make):
    with pytest.raises(UserError, match=r"preset: found 'gazebo': give one of default, jaxnav, barn"):
        make("headway/Nav-v0", preset="gazebo")
