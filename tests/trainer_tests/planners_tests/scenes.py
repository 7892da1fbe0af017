"""Scenes drawn by hand, as ROS maps of 0.2 m cells: `#` is an obstacle, `S` the start, `G` the goal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.vector import NavVectorEnv
from headway.evaluation import BASELINES, Actor
from trainer_tests.envs_tests.conftest import build_spec

CELL = 0.2

ROOM = """
##############################
#                            #
#                            #
#                            #
#                            #
#                            #
#                            #
#   S                    G   #
#                            #
#                            #
#                            #
#                            #
#                            #
#                            #
##############################"""
# A block between start and goal: straight on is a crash, around it is a way.
BLOCK = ROOM.replace("#   S                    G   #", "#   S         ###        G   #").replace(
    "#                            #\n#   S", "#             ###            #\n#   S"
)
# A pocket that opens to the start: who only looks at what is near drives in and must turn his back on the goal.
POCKET = """
##############################
#                            #
#                            #
#                            #
#                            #
#          #########         #
#                  #         #
#                  #         #
#   S              #     G   #
#                  #         #
#                  #         #
#          #########         #
#                            #
#                            #
#                            #
#                            #
##############################"""

# A wall with a gap of 0.6 m, behind which the goal is in view.
GAP = """
##############################
#            ####            #
#            ####            #
#            ####            #
#            ####            #
#   S                    G   #
#            ####            #
#            ####            #
#            ####            #
#            ####            #
##############################""".replace(
    "#   S                    G   #",
    "#                            #\n#   S                    G   #\n#                            #",
)


def write_map(folder: Path, drawing: str) -> tuple[Path, tuple[float, float], tuple[float, float]]:
    """Write the map; return its .yaml and where start and goal are, in metres."""
    lines = drawing.strip("\n").splitlines()
    width = max(map(len, lines))
    pixels = bytes(0 if c == "#" else 254 for line in lines for c in line.ljust(width))
    (folder / "scene.pgm").write_bytes(b"P5\n%d %d\n255\n" % (width, len(lines)) + pixels)
    path = folder / "scene.yaml"
    path.write_text(
        f"image: scene.pgm\nresolution: {CELL}\norigin: [0.0, 0.0, 0.0]\n"
        "negate: 0\noccupied_thresh: 0.65\nfree_thresh: 0.196\n"
    )
    places = {}
    for row, line in enumerate(lines[::-1]):
        for mark in "SG":
            if mark in line:
                places[mark] = ((line.index(mark) + 0.5) * CELL, (row + 0.5) * CELL)
    return path, places["S"], places["G"]


def scene(folder: Path, drawing: str, headings: list[float], **nav: Any) -> NavVectorEnv:
    """One environment for each heading in degrees, all in the same scene."""
    path, start, goal = write_map(folder, drawing)
    levels = {"world": {"map": {"yaml": str(path)}}, "minGoalMeters": 0.5}
    env = NavVectorEnv(build_spec(levels, **({"maxSteps": 400} | nav)), len(headings))
    env.reset()
    place(env, start, goal, headings)
    return env


def place(env: NavVectorEnv, start: tuple[float, float], goal: tuple[float, float], headings: list[float]) -> None:
    """Put the robots at `start`, at rest."""
    state = env.get_state()
    robot = state["robot"]
    robot[:, a.X], robot[:, a.Y] = start
    robot[:, a.GOAL_X], robot[:, a.GOAL_Y] = goal
    robot[:, a.HEADING] = torch.tensor([math.radians(h) for h in headings])
    robot[:, a.SPEED] = robot[:, a.TURN] = 0.0
    robot[:, a.GOAL_DISTANCE] = math.dist(start, goal)
    env.set_state(state)
    look = env.step(torch.tensor([[-1.0, 0.0]]).expand(env.num_envs, 2))  # a look around from there
    state = env.get_state()
    assert not bool(look.episodes.ended.any())
    state["count"][:, a.STEP] = 0
    env.set_state(state)


def drive(env: NavVectorEnv, actor: Actor | str) -> list[str]:
    """Let the first episodes end; return how each did: success, collision or timeout."""
    act = BASELINES[actor]() if isinstance(actor, str) else actor
    results: list[str] = [""] * env.num_envs
    observation, begins = env._observation(), torch.ones(env.num_envs, dtype=torch.bool)
    while "" in results:
        step = env.step(act(env, observation, begins))
        for i in step.final_rows.tolist():
            success, collision = bool(step.episodes.success[i]), bool(step.episodes.collision[i])
            results[i] = results[i] or ("success" if success else "collision" if collision else "timeout")
        observation, begins = step.observation, step.episodes.ended
    return results
