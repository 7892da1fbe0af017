from headway.envs.nav.render import INK, ROBOT, render
from headway.envs.nav.vector import NavVectorEnv
from headway.evaluation import BASELINES
from headway.evaluation.picture import BORDER, FRAME, draw_episodes
from trainer_tests.envs_tests.conftest import build_spec

SPEC = build_spec({"world": {"empty": {"sizeMeters": 6.0}}}, maxSteps=100)


def test_a_picture_has_the_robot_and_the_goal_where_they_are():
    env = NavVectorEnv(SPEC, 1)
    env.reset()
    env.arrays.robot[0, :3] = [1.0, 1.0, 0.0]
    env.arrays.robot[0, 5:7] = [4.0, 5.0]
    image = render(env.level(0), pixels=320)  # 32 cells of 10 pixels, 50 pixels a metre; y upwards
    assert image.size == (320, 320)
    assert image.getpixel((10 + 40, 320 - 10 - 50)) == ROBOT
    assert image.getpixel((10 + 200, 320 - 10 - 250)) == INK["goal"]
    assert image.getpixel((5, 5)) == INK["obstacle"]
    assert image.getpixel((10 + 150, 320 - 10 - 100)) == INK["free"]


def test_episodes_are_framed_by_how_they_ended():
    image = draw_episodes(BASELINES["astar"](), SPEC, 0, levels=2, columns=2, pixels=100)
    assert image.getpixel((1, 1)) == FRAME[True]
    still = draw_episodes(
        lambda env, *rest: BASELINES["go-straight"]()(env, *rest) * 0 - 1, SPEC, 0, levels=1, pixels=100
    )
    assert still.getpixel((1, 1)) == FRAME[False]
    assert image.width > still.width + BORDER
