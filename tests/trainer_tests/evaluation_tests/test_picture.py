import dataclasses

import numpy as np
import pytest
import torch
from headway.envs.nav.render import INK, ROBOT, TRAIL, render
from headway.envs.nav.vector import NavVectorEnv
from headway.errors import UserError
from headway.evaluation import BASELINES
from headway.evaluation.picture import (
    BORDER,
    COLLISION,
    FRAME,
    FRAMES,
    SUCCESS,
    TIMEOUT,
    UNDER_WAY,
    animate_episodes,
    draw_episodes,
    save_episodes,
)
from PIL import Image
from trainer_tests.envs_tests.conftest import build_spec

SPEC = build_spec({"world": {"empty": {"sizeMeters": 6.0}}}, maxSteps=100)


def test_a_picture_has_the_robot_and_the_goal_where_they_are():
    env = NavVectorEnv(SPEC, 1)
    env.reset()
    env.arrays.robot[0, :3] = [1.0, 1.0, 0.0]
    env.arrays.robot[0, 5:7] = [4.0, 5.0]
    image = render(env.level(0), pixels=320)  # 32 cells of 10 pixels, 50 pixels a metre; y upwards
    assert image.size == (320, 320)
    assert image.getpixel((10 + 40, 320 - 10 - 50)) == ROBOT  # behind the arrowhead
    assert image.getpixel((10 + 200, 320 - 10 - 250)) == INK["goal"]
    assert image.getpixel((10 + 212, 320 - 10 - 250)) == INK["near goal"]  # 0.24 of 0.3 m away
    assert image.getpixel((5, 5)) == INK["obstacle"]
    assert image.getpixel((10 + 150, 320 - 10 - 100)) == INK["free"]


def test_episodes_are_framed_by_how_they_ended():
    image = draw_episodes(BASELINES["astar"](), SPEC, 0, levels=2, columns=2, pixels=100)
    assert image.getpixel((1, 1)) == FRAME[SUCCESS]
    still = draw_episodes(
        lambda env, *rest: BASELINES["go-straight"]()(env, *rest) * 0 - 1, SPEC, 0, levels=1, pixels=100
    )
    assert still.getpixel((1, 1)) == FRAME[TIMEOUT]
    ahead = draw_episodes(lambda env, *rest: torch.tensor([[1.0, 0.0]]), SPEC, 0, levels=1, pixels=100)
    assert ahead.getpixel((1, 1)) == FRAME[COLLISION]
    assert image.width > still.width + BORDER


def test_shapes_are_drawn_as_they_are_and_a_rectangle_turns_with_its_heading():
    env = NavVectorEnv(SPEC, 1)
    env.reset()
    env.arrays.robot[0, :3] = [1.0, 1.0, np.pi / 2]
    box = type(SPEC.env.nav.robot.footprint).model_validate({"rectangle": {"lengthMeters": 1.0, "widthMeters": 0.4}})
    triangle = np.array([[4.0, 1.0], [5.0, 1.0], [4.0, 2.0]])
    level = dataclasses.replace(
        env.level(0), footprint=box, goal=(5.5, 5.5), discs=[(3.0, 3.0, 0.5)], polygons=[triangle]
    )
    image = render(level, pixels=320)

    def at(x, y):
        return image.getpixel((10 + round(50 * x), 320 - 10 - round(50 * y)))

    assert at(1.0, 1.4) == at(1.0, 0.6) == ROBOT
    assert at(1.4, 1.0) == INK["free"]
    assert at(3.0, 3.4) == at(4.2, 1.2) == INK["obstacle"]
    assert at(3.42, 3.42) == at(4.8, 1.8) == INK["free"]  # the corners of what is round, and of what is a triangle


def test_other_robots_are_told_from_the_learner_and_from_people():
    env = NavVectorEnv(SPEC, 1)
    env.reset()
    people, others = np.array([[2.0, 4.0]], np.float32), np.array([[4.0, 4.0, np.pi / 2]], np.float32)
    level = dataclasses.replace(env.level(0), robot=(1.0, 1.0, 0.0), goal=(5.5, 0.5), people=people, others=others)
    image = render(level, pixels=320)

    def at(x, y):
        return image.getpixel((10 + round(50 * x), 320 - 10 - round(50 * y)))

    assert at(1.0, 1.22) == ROBOT
    assert at(4.0, 3.8) == at(4.2, 4.1) == INK["other robot"]
    assert at(4.0, 4.15) == INK["free"]  # its arrowhead points up
    assert (at(2.0, 4.2), at(2.0, 4.0)) == (INK["person"], INK["head"])


def test_the_legend_names_what_is_there_and_nothing_else():
    def colours(people, robots):
        levels = {"world": {"empty": {"sizeMeters": 8.0}}, "people": people, "robots": robots}
        image = draw_episodes(BASELINES["go-straight"](), build_spec(levels, maxSteps=10), 0, levels=1, pixels=400)
        return {colour for _, colour in image.crop((0, image.height - 20, *image.size)).getcolors(1 << 16)}

    assert INK["person"] not in (alone := colours(0, 0)) and INK["goal"] in alone and ROBOT in alone
    assert INK["person"] in (both := colours(1, 1)) and INK["other robot"] in both


def test_beams_reach_as_far_as_the_lidar_reports():
    env = NavVectorEnv(SPEC, 1)
    env.reset()
    level = dataclasses.replace(env.level(0), robot=(3.0, 3.0, 0.0), goal=(0.5, 0.5))
    level = dataclasses.replace(level, scan=np.full(len(level.beam_angles), 1.0))
    image = render(level, pixels=320, beams=True)
    assert image.getpixel((10 + 150 + 45, 320 - 10 - 150)) in (INK["seen"], INK["beam"])
    assert image.getpixel((10 + 150 + 55, 320 - 10 - 150)) == INK["free"]


def test_a_gif_moves_and_ends_framed_by_the_outcome(tmp_path):
    save_episodes(tmp_path / "a.gif", BASELINES["astar"](), SPEC, 0)
    with Image.open(tmp_path / "a.gif") as gif:
        assert 5 < gif.n_frames <= FRAMES + 1
        gif.seek(gif.n_frames - 1)
        near = np.abs(np.subtract(gif.convert("RGB").getpixel((1, 1)), FRAME[SUCCESS])).max()
    assert near < 12  # of a palette
    first, *_, last = animate_episodes(BASELINES["astar"](), SPEC, 0, levels=1, pixels=100)
    assert (first.getpixel((1, 1)), last.getpixel((1, 1))) == (FRAME[UNDER_WAY], FRAME[SUCCESS])
    assert TRAIL in {colour for _, colour in last.getcolors(1 << 16)}


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a.gif: cannot be written: No such file"):
        save_episodes(tmp_path / "none" / "a.gif", BASELINES["astar"](), SPEC, 0)
