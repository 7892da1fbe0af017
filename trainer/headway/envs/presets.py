"""Tasks by name: a robot, its sensors and rewards, and the levels that it drives in.

`preset("jaxnav")` gives the contract's own objects, so a preset is a starting point like any other:
`nav.model_copy(update=...)`, or write them into a spec. docs/environment.md says what each is and where it differs from
what it follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from headway_api.nav_spec import (
    Automaton,
    Cells,
    Clutter,
    Footprint,
    Levels,
    Lidar,
    NavEnv,
    Randomization,
    Rectangle,
    Reward,
    Robot,
    World,
)

from headway.errors import UserError


def _default() -> tuple[NavEnv, Levels]:
    """The last stage of configs/default.yaml: clutter, an interior wall and four people who give way."""
    world = World(clutter=Clutter(size_meters=10.0, fill=0.12, walls=1))
    people = {"people": 4, "people_model": "orca", "people_speed": 0.6, "people_yield": 1.0}
    return NavEnv(), Levels(world=world, min_goal_meters=5.0, **people)


def _jaxnav() -> tuple[NavEnv, Levels]:
    """JaxNav's published single-robot task (Rutherford et al. 2024, arXiv 2408.15099; jaxmarl 0.2.0)."""
    nav = NavEnv(
        robot=Robot(
            footprint=Footprint(rectangle=Rectangle(length_meters=0.5, width_meters=0.5)),
            max_speed=1.0,
            max_turn_rate=0.6,
            max_acceleration=1.0,
            max_turn_acceleration=1.0,
        ),
        lidar=Lidar(beams=200, range_meters=6.0),
        # The published penalty is for a beam that reports at most 0.4 m. A beam reports the first multiple of 6/119 m
        # inside an obstacle: seven of them, 0.353 m, is the farthest that counts.
        reward=Reward(goal=4.0, collision=-4.0, step=-0.01, progress=0.25, proximity=0.0, near=-0.1, near_meters=0.353),
        scan_stack=1,
        step_seconds=0.1,
        max_steps=500,
        goal_radius_meters=0.3,
    )
    # 11 x 11 cells with the ring of walls; from none to 47 of the 81 inside are obstacles.
    world = World(cells=Cells(size_meters=9.0, cell_meters=1.0, fill=0.6))
    return nav, Levels(world=world, min_goal_meters=1.0, max_goal_meters=12.0)


def _barn() -> tuple[NavEnv, Levels]:
    """A Jackal in clutter like the BARN Challenge's, never its worlds: the last stage of configs/barn.yaml."""
    nav = NavEnv(
        robot=Robot(
            footprint=Footprint(rectangle=Rectangle(length_meters=0.508, width_meters=0.43)),
            max_speed=2.0,
            max_turn_rate=3.14,
            max_acceleration=4.0,
            max_turn_acceleration=12.0,
        ),
        lidar=Lidar(beams=90, field_of_view_degrees=270.0, range_meters=5.0),
        randomization=Randomization(scan_noise_meters=0.02, start_meters=0.05, start_degrees=5.0),
        scan_stack=1,
        step_seconds=0.1,
        max_steps=400,
        goal_radius_meters=1.0,
    )
    world = World(automaton=Automaton(fill=0.36, min_fill=0.15))
    return nav, Levels(world=world, min_goal_meters=6.0)


PRESETS: Final[dict[str, Callable[[], tuple[NavEnv, Levels]]]] = {
    "default": _default,
    "jaxnav": _jaxnav,
    "barn": _barn,
}


def preset(name: str) -> tuple[NavEnv, Levels]:
    """Return the environment and the levels of a preset. Raises UserError for a name that there is not."""
    if name not in PRESETS:
        raise UserError(f"preset: found {name!r}: give one of {', '.join(PRESETS)}")
    return PRESETS[name]()


def filled(name: str | None, nav: Any, levels: Any) -> tuple[Any, Any]:
    """Return what is given, and the preset's where nothing is. Raises UserError as `preset`; None names no preset."""
    if name is None:
        return nav, levels
    named_nav, named_levels = preset(name)
    return nav or named_nav, levels or named_levels
