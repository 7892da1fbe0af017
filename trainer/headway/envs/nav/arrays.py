"""What the kernel works on: one parameter tuple, one table of scenes, one set of arrays. Nothing else is state.

A scene is one kind of world, or one map, with who moves in it; a stage has one, or several to draw from (a mixture, a
list of maps).

N environments, K stacked scans, B beams, P people, O = POSE + K * B observation entries, G cells a side of the largest
generated world, M maps of at most H x W cells, S records and L - 1 list entries of shapes in a world, C scenes,
T stages, E entries of the largest mixture, R remembered levels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from headway_api.nav_spec import Levels, NavEnv
from headway_api.train_spec import TrainSpec
from numpy.typing import NDArray

from headway.envs.nav.coarse import SIDE
from headway.envs.nav.orca import MAX_LINES
from headway.envs.nav.philox import SPLITS
from headway.envs.nav.scenes import MAP, STRAIGHT, Scenes
from headway.envs.nav.social_force import TOP_SPEED

PERSON_RADIUS = 0.25

# Columns of `robot`.
X, Y, HEADING, SPEED, TURN, GOAL_X, GOAL_Y, GOAL_DISTANCE, TOTAL_REWARD = range(9)
# Columns of `count`. EPISODE counts from 0 in each environment. SCENE is a row of `scenes`. LEVEL_EPISODE and
# LEVEL_INDEX name the level, SLOT says which of the remembered ones it is (-1: none).
EPISODE, STEP, STAGE, SCENE, LEVEL_EPISODE, LEVEL_INDEX, SLOT = range(7)
# Columns of `people`: place, where they walk to, wanted speed; velocity, 1 if they see robots, seconds left for a walk.
# Straight walkers use the first five.
PERSON_X, PERSON_Y, TARGET_X, TARGET_Y, PERSON_SPEED = range(5)
PERSON_VX, PERSON_VY, PERSON_YIELDS, PERSON_PATIENCE = range(5, 9)
# Columns of `others`: those of `robot`, then seconds left for the trip, 1 if it has hit something, the step at which it
# was put where it drives.
PATIENCE, HIT, SINCE = range(9, 12)
# Leading columns of an observation: x, y, cos and sin of the heading, speed, turn rate; then the scans, newest first.
POSE = 6


class Params(NamedTuple):
    """Constants of an environment, as the kernel takes them."""

    seed: int
    split: int
    offset: int  # global index of environment 0
    stride: int  # 0: levels are (environment, episode); else level ids, each environment every stride-th
    replay: np.float32
    remember: np.float32  # share of the stage's fresh episodes that play a remembered level
    radius: np.float32  # of the smallest disc around the footprint
    inner_radius: np.float32  # of the largest disc inside
    half_length: np.float32  # of a rectangular footprint; 0: it is a disc
    half_width: np.float32
    min_speed: np.float32
    max_speed: np.float32
    max_turn: np.float32
    speed_change: np.float32  # largest in one step
    turn_change: np.float32
    substeps: int
    substep_seconds: np.float32
    step_seconds: np.float32
    max_steps: int
    goal_radius: np.float32
    lidar_range: np.float32
    reward_goal: np.float32
    reward_collision: np.float32
    reward_step: np.float32
    reward_progress: np.float32
    reward_proximity: np.float32
    proximity_reach: np.float32
    reward_near: np.float32
    near_reach: np.float32
    reward_smoothness: np.float32
    scan_noise: np.float32  # metres
    scan_dropout: np.float32
    latency: int  # steps at most
    slip: np.float32
    dynamics: np.float32
    driven: int  # 1: a policy drives the other robots


class Arrays(NamedTuple):
    """Everything that changes (first block), scratch and outputs of the last step, and tables shared by all."""

    robot: NDArray[np.float32]  # [N, 9]
    count: NDArray[np.int64]  # [N, 7]
    people: NDArray[np.float32]  # [N, P, 9]
    others: NDArray[np.float32]  # [N, R, 12] the other robots
    trips: NDArray[np.int64]  # [N, R] goals and places drawn
    other_observation: NDArray[np.float32]  # [N, R, O] theirs, where a policy drives them; else [N, R, 0]
    legs: NDArray[np.int64]  # [N, P] walks begun
    last_action: NDArray[np.float32]  # [N, 2] clipped; means nothing at step 0
    pending: NDArray[np.float32]  # [N, 1 + R, D, 2] actions that have not reached the wheels, D = latencySteps
    now: NDArray[np.int64]  # [1] which buffer of `observation` is this step's
    observation: NDArray[np.float32]  # [2, N, O] of this step and the last one; holds the scan stack
    grid: NDArray[np.uint8]  # [N, G, G] a function of the level; with the next four: `World` of each environment
    heads: NDArray[np.uint16]  # [N, G, G]
    links: NDArray[np.uint16]  # [N, L, 3]
    shapes: NDArray[np.float32]  # [N, S, 4]
    used: NDArray[np.int32]  # [N, 3]
    reached: NDArray[np.uint8]  # [N, G, G]
    queue: NDArray[np.int32]  # [N, G * G]
    words: NDArray[np.uint32]  # [N, 2 * SIDE] columns and rows of a coarse world, for the scanner
    other_action: NDArray[np.float32]  # [N, R, 2] input, where a policy drives the other robots
    reachable: NDArray[np.int64]  # [N] cells at the head of `queue` that the robot can reach
    scratch: NDArray[np.float32]  # [N, 2 L + P, 4] half-planes of ORCA and chosen velocities; empty if nobody looks
    failed: NDArray[np.bool_]  # [N] no level with these goal distances was found
    reward: NDArray[np.float32]  # [N]
    outcome: NDArray[np.bool_]  # [N, 4] terminated, truncated, success, collision
    final_observation: NDArray[np.float32]  # [N, O]
    final_goal: NDArray[np.float32]  # [N, 2]
    ended: NDArray[np.int64]  # [N, 5] stage, length, level (episode, index) and slot of the episode that ended
    final_reward: NDArray[np.float32]  # [N]
    scenes: NDArray[np.void]  # [C] of SCENE_DTYPE
    choices: NDArray[np.int64]  # [T, 1 + E, 2] entries of the stage's mixture (0: how many; then first scene, scenes)
    remembered: NDArray[np.int64]  # [R, 3] episode, index, sum of the weights up to and with this level
    beams: NDArray[np.float32]  # [2, B] cosine and sine of each beam's angle
    maps: NDArray[np.uint8]  # [M, H, W] clearances; with the next four: `World` of each map
    map_heads: NDArray[np.uint16]  # [M, H, W]
    map_links: NDArray[np.uint16]  # [M, L, 3]
    map_shapes: NDArray[np.float32]  # [M, S, 4]
    map_used: NDArray[np.int32]  # [M, 3]
    places: NDArray[np.int32]  # [M, C] cells where a robot can stand, all connected
    place_count: NDArray[np.int64]  # [M]


def make_params(spec: TrainSpec, nav: NavEnv, offset: int, split: str, stride: int) -> Params:
    """Translate the contract into the kernel's constants."""
    f32, robot, reward, dt, noise = np.float32, nav.robot, nav.reward, nav.step_seconds, nav.randomization
    fastest_person = max((_top_speed(s.levels) for s in spec.curriculum.stages if s.levels.people), default=0.0)
    body = robot.footprint
    # Half a radius of relative motion between two collision checks: what grazes past unseen is at most 3 % of the
    # radius deep, and nothing is ever jumped over. The corners of a rectangle also move as it turns.
    spare = (1.0 + noise.dynamics) * (1.0 + 2.0 * noise.slip)  # slip is cut at two standard deviations
    own = max(robot.max_speed, -robot.min_speed) * spare
    others = own if any(s.levels.robots for s in spec.curriculum.stages) else 0.0
    fastest = own + max(fastest_person, others)
    if body.rectangle is not None:
        fastest += robot.max_turn_rate * spare * body.outer_radius
    substeps = max(1, math.ceil(fastest * dt / (0.5 * body.inner_radius)))
    length, width = (body.rectangle.length_meters, body.rectangle.width_meters) if body.rectangle else (0.0, 0.0)
    return Params(
        seed=spec.seed,
        split=SPLITS[split],
        offset=offset,
        stride=stride,
        replay=f32(spec.curriculum.replay),
        remember=f32(0.0),
        radius=f32(body.outer_radius),
        inner_radius=f32(body.inner_radius),
        half_length=f32(length / 2),
        half_width=f32(width / 2),
        min_speed=f32(robot.min_speed),
        max_speed=f32(robot.max_speed),
        max_turn=f32(robot.max_turn_rate),
        speed_change=f32(robot.max_acceleration * dt),
        turn_change=f32(robot.max_turn_acceleration * dt),
        substeps=substeps,
        substep_seconds=f32(dt / substeps),
        step_seconds=f32(dt),
        max_steps=nav.max_steps,
        goal_radius=f32(nav.goal_radius_meters),
        lidar_range=f32(nav.lidar.range_meters),
        reward_goal=f32(reward.goal),
        reward_collision=f32(reward.collision),
        reward_step=f32(reward.step),
        reward_progress=f32(reward.progress),
        reward_proximity=f32(reward.proximity),
        proximity_reach=f32(reward.proximity_meters),
        reward_near=f32(reward.near),
        near_reach=f32(reward.near_meters),
        reward_smoothness=f32(reward.smoothness),
        scan_noise=f32(noise.scan_noise_meters),
        scan_dropout=f32(noise.scan_dropout),
        latency=noise.latency_steps,
        slip=f32(noise.slip),
        dynamics=f32(noise.dynamics),
        driven=0,
    )


def command_table(nav: NavEnv) -> NDArray[np.float32] | None:
    """Actions that discrete choices stand for, [speeds * turn rates, 2]; None where actions are continuous.

    Choice k is speed k // turnRates with turn rate k % turnRates. A single speed is the largest, a single turn rate 0.
    """
    table = nav.actions.discrete
    if table is None:
        return None
    speeds = np.linspace(-1.0, 1.0, table.speeds) if table.speeds > 1 else np.ones(1)
    turns = np.linspace(-1.0, 1.0, table.turn_rates) if table.turn_rates > 1 else np.zeros(1)
    return np.stack(np.meshgrid(speeds, turns, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


def _top_speed(levels: Levels) -> float:
    """How fast the fastest person can be, in m/s."""
    return levels.people_speed * (float(TOP_SPEED) if levels.people_model == "socialForce" else 1.0)


def beam_angles(nav: NavEnv) -> NDArray[np.float64]:
    """Angles of the beams from the heading, in radians, counter-clockwise, [B].

    A full circle starts at the back and repeats no direction; a narrower view includes both edges.
    """
    view = math.radians(nav.lidar.field_of_view_degrees)
    full = nav.lidar.field_of_view_degrees == 360.0
    return np.linspace(-view / 2, view / 2, nav.lidar.beams, endpoint=not full)


def allocate(num_envs: int, nav: NavEnv, scenes: Scenes) -> Arrays:
    """All arrays, zeroed; maps turned into clearances and lists of places by the caller."""
    n, maps, table = num_envs, scenes.maps, scenes.table
    generated = table[table["kind"] != MAP]
    side = int(max(generated["height"].max(initial=1), generated["width"].max(initial=1)))
    records, links = int(table["records"].max()), int(table["entries"].max())
    shaped = side if records else 1
    people = max(1, int(table["people"].max()))
    others = int(table["robots"].max())
    looking = bool(((table["people_model"] != STRAIGHT) & (table["people"] > 0)).any())
    rows = 2 * MAX_LINES + people if looking else 0
    entries = POSE + nav.scan_stack * nav.lidar.beams
    height = max((m.occupied.shape[0] for m in maps), default=1)
    width = max((m.occupied.shape[1] for m in maps), default=1)
    map_records, map_links = max((m.records for m in maps), default=0), max((m.entries for m in maps), default=0)
    map_shaped = (height, width) if map_records else (1, 1)
    angles = beam_angles(nav)
    return Arrays(
        robot=np.zeros((n, 9), np.float32),
        count=np.zeros((n, 7), np.int64),
        people=np.zeros((n, people, 9), np.float32),
        others=np.zeros((n, others, 12), np.float32),
        trips=np.zeros((n, others), np.int64),
        other_observation=np.zeros((n, others, entries if nav.others == "self" else 0), np.float32),
        legs=np.zeros((n, people), np.int64),
        last_action=np.zeros((n, 2), np.float32),
        pending=np.zeros((n, 1 + others, nav.randomization.latency_steps, 2), np.float32),
        now=np.zeros(1, np.int64),
        observation=np.zeros((2, n, entries), np.float32),
        grid=np.zeros((n, side, side), np.uint8),
        heads=np.zeros((n, shaped, shaped), np.uint16),
        links=np.zeros((n, links + 1, 3), np.uint16),
        shapes=np.zeros((n, max(1, records), 4), np.float32),
        used=np.zeros((n, 3), np.int32),
        reached=np.zeros((n, side, side), np.uint8),
        queue=np.zeros((n, side * side), np.int32),
        words=np.zeros((n, 2 * SIDE), np.uint32),
        other_action=np.zeros((n, others, 2), np.float32),
        reachable=np.zeros(n, np.int64),
        scratch=np.zeros((n, rows, 4), np.float32),
        failed=np.zeros(n, np.bool_),
        reward=np.zeros(n, np.float32),
        outcome=np.zeros((n, 4), np.bool_),
        final_observation=np.zeros((n, entries), np.float32),
        final_goal=np.zeros((n, 2), np.float32),
        ended=np.zeros((n, 5), np.int64),
        final_reward=np.zeros(n, np.float32),
        scenes=table,
        choices=scenes.choices,
        remembered=np.zeros((0, 3), np.int64),
        beams=np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32),
        maps=np.zeros((max(1, len(maps)), height, width), np.uint8),
        map_heads=np.zeros((max(1, len(maps)), *map_shaped), np.uint16),
        map_links=np.zeros((max(1, len(maps)), map_links + 1, 3), np.uint16),
        map_shapes=np.zeros((max(1, len(maps)), max(1, map_records), 4), np.float32),
        map_used=np.zeros((max(1, len(maps)), 3), np.int32),
        places=np.zeros((max(1, len(maps)), height * width), np.int32),
        place_count=np.zeros(max(1, len(maps)), np.int64),
    )
