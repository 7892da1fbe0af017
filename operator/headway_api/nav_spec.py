"""headway/Nav-v0 in a spec: the robot, what it senses, what it is rewarded for, and the levels that it drives in.

Distances are metres, times seconds, angles degrees or radians as the name says.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from headway_api.base import Contract, Float, Int, OneOf, Rule, RuleInt, described


class Disc(Contract):
    """A round footprint."""

    radius_meters: Float = described(0.25, "Radius in metres.", ge=0.05, le=2.0)


class Rectangle(Contract):
    """A rectangular footprint, centred on the robot, its length along the heading."""

    length_meters: Float = described(0.508, "Length along the heading, in metres.", ge=0.05, le=4.0)
    width_meters: Float = described(0.43, "Width across the heading, in metres.", ge=0.05, le=4.0)


class Footprint(OneOf):
    """What of the floor the robot covers: exactly one shape."""

    disc: Disc | None = Field(None, description="A round footprint.")
    rectangle: Rectangle | None = Field(None, description="A rectangular footprint.")

    @property
    def inner_radius(self) -> float:
        """Radius of the largest disc inside, in metres: nothing may come nearer to the robot's centre."""
        if self.disc is not None:
            return self.disc.radius_meters
        assert self.rectangle is not None
        return min(self.rectangle.length_meters, self.rectangle.width_meters) / 2

    @property
    def outer_radius(self) -> float:
        """Radius of the smallest disc around, in metres: what is farther away from the centre cannot be touched."""
        if self.disc is not None:
            return self.disc.radius_meters
        assert self.rectangle is not None
        return math.hypot(self.rectangle.length_meters, self.rectangle.width_meters) / 2


def _default_footprint() -> Footprint:
    return Footprint(disc=Disc())


class Robot(Contract):
    """A differential-drive robot."""

    footprint: Footprint = Field(default_factory=_default_footprint, description="What of the floor it covers.")
    min_speed: Float = described(0.0, "Smallest speed in m/s; below 0 the robot can reverse.", ge=-10.0, le=0.0)
    max_speed: Float = described(1.0, "Largest forward speed in m/s.", ge=0.05, le=10.0)
    max_turn_rate: Float = described(1.5, "Largest turn rate in rad/s, either way.", ge=0.05, le=10.0)
    max_acceleration: Float = described(2.0, "Largest change of speed in m/s^2.", ge=0.05, le=50.0)
    max_turn_acceleration: Float = described(6.0, "Largest change of turn rate in rad/s^2.", ge=0.05, le=100.0)


class Lidar(Contract):
    """A planar range scanner at the robot's centre."""

    beams: Int = described(36, "Number of beams, evenly spread over the field of view.", ge=2, le=2048)
    field_of_view_degrees: Float = described(
        360.0, "Angle that the beams cover, centred on the heading, in degrees.", ge=1.0, le=360.0
    )
    range_meters: Float = described(5.0, "Farthest distance that a beam reports, in metres.", ge=0.5, le=100.0)


class Continuous(Contract):
    """Two numbers in [-1, 1]: speed and turn rate."""


class Discrete(Contract):
    """One of a table of commands: every speed with every turn rate, each evenly spread over its limits."""

    speeds: Int = described(3, "How many speeds, from the least to the largest.", ge=1, le=32)
    turn_rates: Int = described(5, "How many turn rates, from the right limit to the left one.", ge=1, le=32)


class Actions(OneOf):
    """What the policy chooses: exactly one kind."""

    continuous: Continuous | None = Field(None, description="Speed and turn rate as numbers.")
    discrete: Discrete | None = Field(None, description="One command of a table.")


class Reward(Contract):
    """Terms of the reward, summed at each step.

    Of the order of one: PPO clips one gradient norm for policy and value, and large returns would take it all.
    """

    goal: Float = described(2.0, "Added once, when the robot reaches the goal.", ge=0.0, le=1000.0)
    collision: Float = described(-2.0, "Added once, when the robot hits something.", ge=-1000.0, le=0.0)
    step: Float = described(-0.005, "Added at every step; makes the policy hurry.", ge=-10.0, le=0.0)
    progress: Float = described(0.2, "Per metre that the straight distance to the goal shrinks.", ge=0.0, le=100.0)
    proximity: Float = described(
        -0.02,
        "Per step, scaled from 0 at proximityMeters between footprint and obstacle to its full value at contact.",
        ge=-10.0,
        le=0.0,
    )
    proximity_meters: Float = described(0.3, "Reach of the proximity term, from the footprint, in metres.", gt=0, le=5)
    near: Float = described(
        0.0,
        "Added in every step that ends with an obstacle or a person within nearMeters of the robot's centre.",
        ge=-10.0,
        le=0.0,
    )
    near_meters: Float = described(0.35, "Reach of the near term, from the robot's centre, in metres.", gt=0, le=5)
    smoothness: Float = described(
        0.0,
        "Per step, times the squared change of the action since the last step, each entry scaled to [-1, 1].",
        ge=-10.0,
        le=0.0,
    )


class Randomization(Contract):
    """How the robot and its sensors differ from the ideal; drawn from the level's own random numbers."""

    scan_noise_meters: Float = described(0.0, "Standard deviation of each beam's distance, in metres.", ge=0, le=1)
    scan_dropout: Float = described(0.0, "Share of beams that see nothing and report the range.", ge=0, le=0.9)
    latency_steps: Int = described(
        0, "Actions take effect this many steps late at most; drawn for each episode from 0 to it.", ge=0, le=8
    )
    slip: Float = described(
        0.0, "Standard deviation of speed and turn rate at each step, as a share of them.", ge=0, le=0.5
    )
    dynamics: Float = described(
        0.0, "Each episode draws its limits of speed, turn rate and acceleration within this share.", ge=0, le=0.5
    )
    start_meters: Float = described(0.0, "Standard deviation of a fixed route's start, in metres.", ge=0, le=1)
    start_degrees: Float = described(0.0, "Standard deviation of a fixed route's heading, in degrees.", ge=0, le=90)


class Empty(Contract):
    """A walled square without obstacles."""

    size_meters: Float = described(10.0, "Inner length of a side in metres.", ge=4.0, le=30.0)


class Clutter(Contract):
    """A walled square with random blocks, bars and walls with gaps; start and goal are always connected."""

    size_meters: Float = described(10.0, "Inner length of a side in metres.", ge=4.0, le=30.0)
    fill: Float = described(
        0.15,
        "Share of the area that obstacles cover, before passages too narrow for the robot are accounted for.",
        ge=0.0,
        le=0.4,
    )
    walls: Int = described(0, "Interior walls across the square, each with one or two gaps.", ge=0, le=8)


class Cells(Contract):
    """A walled square of coarse cells, each an obstacle with equal probability, as in JaxNav."""

    size_meters: Float = described(11.0, "Inner length of a side in metres.", ge=3.0, le=30.0)
    cell_meters: Float = described(1.0, "Length of a cell's side in metres.", ge=0.1, le=5.0)
    fill: Float = described(0.28, "Largest share of the cells that are obstacles.", ge=0.0, le=0.6)


class Polygons(Contract):
    """A walled square with convex polygons and discs at any angle: nothing in it is aligned with an axis."""

    size_meters: Float = described(10.0, "Inner length of a side in metres.", ge=4.0, le=30.0)
    count: Int = described(12, "How many obstacles.", ge=0, le=64)
    min_meters: Float = described(0.2, "Smallest radius of an obstacle, in metres.", ge=0.05, le=2.0)
    max_meters: Float = described(0.8, "Largest radius of an obstacle, in metres.", ge=0.05, le=4.0)
    rules = (
        Rule(
            cel="self.minMeters <= self.maxMeters",
            holds=lambda m: m.min_meters <= m.max_meters,
            message="minMeters must not exceed maxMeters: lower the one or raise the other",
            field="minMeters",
        ),
    )


class Rooms(Contract):
    """A building: rooms and corridors behind walls, every room with at least one door."""

    size_meters: Float = described(12.0, "Inner length of a side in metres.", ge=6.0, le=30.0)
    room_meters: Float = described(3.0, "Smallest side of a room, in metres.", ge=1.5, le=15.0)
    door_meters: Float = described(1.0, "Width of a door, in metres.", ge=0.6, le=4.0)
    fill: Float = described(0.03, "Share of the area that furniture covers.", ge=0.0, le=0.3)


class Automaton(Contract):
    """Clutter grown by a cellular automaton and built of small cylinders, as the worlds of the BARN Challenge are.

    Random cells, smoothed: one with 5 obstacles or more among its 8 neighbours becomes an obstacle, one with at most
    one becomes free.
    """

    width_meters: Float = described(4.5, "Width in metres, walls included.", ge=3.0, le=30.0)
    length_meters: Float = described(
        4.5,
        "Length of the clutter in metres, along y; a start zone lies before it, open ground behind.",
        ge=1.5,
        le=30.0,
    )
    cell_meters: Float = described(0.15, "Spacing and diameter of the cylinders, in metres.", ge=0.1, le=1.0)
    fill: Float = described(0.3, "Share of the cells that begin as obstacles.", ge=0.0, le=0.5)
    min_fill: Float = described(0.12, "Each level draws its share from minFill to fill.", ge=0.0, le=0.5)
    smoothing: Int = described(4, "Rounds of the automaton.", ge=0, le=10)
    rules = (
        Rule(
            cel="self.minFill <= self.fill",
            holds=lambda m: m.min_fill <= m.fill,
            message="minFill must not exceed fill: lower the one or raise the other",
            field="minFill",
        ),
    )


class Map(Contract):
    """Occupancy maps in the format of ROS map_server."""

    yaml: str = Field(
        min_length=1,
        max_length=512,
        description="Path of the map's .yaml file, or a pattern such as maps/*.yaml: absolute, or relative to the "
        "working directory of the trainer.",
    )
    held_out: Float = described(
        0.0,
        "Share of the maps that are for validation, and the same for test: no training level is on them. 0 shares all "
        "maps, and only starts, goals and people differ.",
        ge=0.0,
        le=0.45,
    )


class Gazebo(Contract):
    """Gazebo .world files (SDF): their static cylinders and boxes, exactly as they stand."""

    world: str = Field(
        min_length=1,
        max_length=512,
        description="Path of the .world file, or a pattern such as worlds/*.world: absolute, or relative to the "
        "working directory of the trainer.",
    )
    held_out: Float = described(
        0.0, "Share of the files that are for validation, and the same for test; 0 shares all.", ge=0.0, le=0.45
    )


class SingleWorld(OneOf):
    """Where levels come from: exactly one kind."""

    empty: Empty | None = Field(None, description="A walled square without obstacles.")
    clutter: Clutter | None = Field(None, description="A walled square with random blocks, bars and walls.")
    cells: Cells | None = Field(None, description="A walled square of coarse random cells.")
    polygons: Polygons | None = Field(None, description="A walled square with polygons and discs at any angle.")
    rooms: Rooms | None = Field(None, description="Rooms and corridors.")
    automaton: Automaton | None = Field(None, description="Clutter of small cylinders, as in the BARN Challenge.")
    map: Map | None = Field(None, description="ROS map_server maps; starts and goals are drawn on their free space.")
    gazebo: Gazebo | None = Field(None, description="Gazebo .world files with cylinders and boxes.")


class World(SingleWorld):
    """Where levels come from: exactly one kind, or a mixture."""

    mixture: list[SingleWorld] | None = Field(
        None, min_length=2, max_length=8, description="Each level is of one of these, drawn evenly."
    )


class Route(Contract):
    """A fixed start and goal, in the world's frame."""

    start_x: Float = Field(ge=-1000.0, le=1000.0, description="Where the robot starts, in metres.")
    start_y: Float = Field(ge=-1000.0, le=1000.0, description="Where the robot starts, in metres.")
    start_heading_degrees: Float = described(
        0.0, "Its heading there, from the x axis, counter-clockwise.", ge=-360.0, le=360.0
    )
    goal_x: Float = Field(ge=-1000.0, le=1000.0, description="Where its goal is, in metres.")
    goal_y: Float = Field(ge=-1000.0, le=1000.0, description="Where its goal is, in metres.")


class Levels(Contract):
    """A family of levels: a world, who moves in it, and how far the goal is."""

    world: World = Field(description="The kind of world and its parameters.")
    people: Int = described(0, "People who walk between random places.", ge=0, le=32)
    people_speed: Float = described(
        0.6, "Their speed in m/s; each person's is drawn from half of it to all of it.", ge=0.05, le=2.0
    )
    people_model: Literal["straight", "socialForce", "orca"] = described(
        "straight", "How they walk: straight on through one another, by social forces, or by ORCA."
    )
    people_yield: Float = described(
        0.0, "Share of the people who see the robots and give way; of no effect on straight walkers.", ge=0.0, le=1.0
    )
    robots: RuleInt = described(
        0, "Other robots of the same kind in each world, each with a goal of its own.", ge=0, le=8
    )
    route: Route | None = Field(None, description="A fixed start and goal; absent: drawn for each level.")
    min_goal_meters: Float = described(
        2.0, "Shortest straight distance from start to goal in metres.", ge=0.5, le=100.0
    )
    max_goal_meters: Float = described(
        12.0, "Longest straight distance from start to goal in metres.", ge=0.5, le=200.0
    )
    rules = (
        Rule(
            cel="self.minGoalMeters <= self.maxGoalMeters",
            holds=lambda m: m.min_goal_meters <= m.max_goal_meters,
            message="minGoalMeters must not exceed maxGoalMeters: lower the one or raise the other",
            field="minGoalMeters",
        ),
    )


class NavEnv(Contract):
    """headway/Nav-v0: a differential-drive robot with a lidar drives to a goal among obstacles and people."""

    robot: Robot = described(Robot(), "The robot's body and limits.")
    lidar: Lidar = described(Lidar(), "The robot's range scanner.")
    actions: Actions = described(Actions(continuous=Continuous()), "What the policy chooses.")
    reward: Reward = described(Reward(), "Terms of the reward.")
    randomization: Randomization = described(Randomization(), "How robot and sensors differ from the ideal.")
    others: Literal["goStraight", "self"] = described(
        "goStraight", "Who drives the other robots: a simple rule, or the policy that is being trained (see selfPlay)."
    )
    scan_stack: Int = described(
        3, "How many of the last scans the policy sees; more than one shows motion.", ge=1, le=8
    )
    step_seconds: Float = described(0.2, "Time between two decisions, in seconds.", ge=0.02, le=1.0)
    max_steps: Int = described(300, "Steps after which an episode is truncated.", ge=10, le=10000)
    goal_radius_meters: Float = described(0.35, "The goal is reached within this distance, in metres.", ge=0.05, le=5.0)
