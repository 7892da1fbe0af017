"""Rectangles against brute force in double precision, and collisions by hand."""

import math

import numpy as np
import pytest
import torch
from headway.envs.nav import arrays as a
from headway.envs.nav.footprint import box_obstacle_distance, disc_free
from headway.envs.nav.motion import drive as move
from headway.envs.nav.vector import NavVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_tests.envs_tests.test_shapes import edges, inside, random_world, to_segment

f32 = np.float32
EMPTY = {"world": {"empty": {"sizeMeters": 10.0}}}
JACKAL = {"footprint": {"rectangle": {"lengthMeters": 0.5, "widthMeters": 0.4}}}


def corners(x, y, angle, half_length, half_width):
    c, s = math.cos(angle), math.sin(angle)
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    return [(x + i * half_length * c - j * half_width * s, y + i * half_length * s + j * half_width * c)
            for i, j in signs]  # fmt: skip


def cross(a, b, c, d):
    """Say whether two segments cross."""

    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) <= 0 and side(c, d, a) * side(c, d, b) <= 0


def true_gap(box, kind, *data):
    """Distance from a rectangle to a shape, 0 and less where they overlap."""
    if kind == "disc":
        reach = 0.0 if inside(box, data[0]) else min(to_segment(*edge, data[0]) for edge in edges(box))
        return reach - data[1]
    body = list(data) if kind == "segment" else data[0]
    if inside(box, body[0]) or (kind == "polygon" and inside(body, box[0])):
        return -1.0
    sides = [data] if kind == "segment" else edges(body)
    if any(cross(*one, *other) for one in sides for other in edges(box)):
        return -1.0
    return min(min(to_segment(*edge, p) for edge in edges(box) for p in body),
               min(to_segment(*edge, p) for edge in sides for p in box))  # fmt: skip


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    angle=st.floats(-math.pi, math.pi),
    half_length=st.floats(0.1, 2.5),
    half_width=st.floats(0.1, 2.5),
    limit=st.floats(0.2, 5.0),
)
def test_a_rectangles_distance_is_that_of_brute_force(seed, angle, half_length, half_width, limit):
    made, shapes = random_world(seed, 2)
    rng = np.random.default_rng(seed)
    for _ in range(6):
        x, y = (float(f32(v)) for v in rng.uniform(1.1, 20.9, 2))
        box = corners(x, y, angle, half_length, half_width)
        true = min(true_gap(box, *shape) for shape in shapes)
        given_box = tuple(f32(v) for v in (x, y, math.cos(angle), math.sin(angle), half_length, half_width))
        found = float(box_obstacle_distance(made, given_box, f32(limit)))
        if true > 1e-3:
            assert found == pytest.approx(min(true, limit), abs=1e-4)
        elif true < -1e-3:
            assert found < 0 or (found == 0 and true > -2e-3)


def test_a_rectangle_meets_a_person_at_its_side_not_at_its_outer_radius(make_spec):
    spec = make_spec(EMPTY, robot={"footprint": {"rectangle": {"lengthMeters": 0.8, "widthMeters": 0.4}}})
    params = a.make_params(spec, spec.env.nav, 0, "train", 0)

    def free(x, y, heading):
        return disc_free(f32(x), f32(y), f32(0.25), f32(0), f32(0), f32(heading), params)

    assert free(0.0, 1.0, 0.0) == pytest.approx(1.0 - 0.2 - 0.25, abs=1e-6)
    assert free(0.0, 1.0, math.pi / 2) == pytest.approx(1.0 - 0.4 - 0.25, abs=1e-6)
    assert free(0.7, 0.6, 0.0) == pytest.approx(math.hypot(0.3, 0.4) - 0.25, abs=1e-6)
    assert free(0.3, 0.1, 0.0) < 0


def drive(spec, robot, goal, action, steps):
    """Steps that a robot, put in place, takes to end, and how it ended."""
    env = NavVectorEnv(spec, 1)
    env.reset()
    env.arrays.robot[0] = [*robot, *goal, math.dist(robot[:2], goal), 0.0]
    for k in range(steps):
        step = env.step(torch.tensor([action], dtype=torch.float32))
        if len(step.final_rows):
            return k + 1, bool(step.episodes.collision)
    return steps, False


@pytest.mark.parametrize(("body", "steps"), [(JACKAL, 9), ({"footprint": {"disc": {"radiusMeters": 0.25}}}, 9)])
def test_a_collision_comes_at_the_exact_step(make_spec, body, steps):
    # The front is 0.25 m ahead of the centre: from x = 8 it has 1.75 m to the wall at x = 10, at 0.2 m a step. The
    # eighth step ends 0.15 m before the wall, the ninth would end 0.05 m behind it.
    assert drive(make_spec(EMPTY, robot=body), (8, 5, 0, 1, 0), (1, 1), (1, 0), 20) == (steps, True)


def test_a_rectangle_passes_where_its_outer_disc_would_not(make_spec):
    # Along the lower wall, 0.25 m from it: half the width of 0.2 m fits, the outer radius of 0.32 m does not.
    assert drive(make_spec(EMPTY, robot=JACKAL), (3, 0.25, 0, 1, 0), (9, 9), (1, 0), 10) == (10, False)
    # Turning on the spot there, its corners reach the wall: 0.25 sin a + 0.2 cos a > 0.25 from a = 0.2213 rad on,
    # and 1.2 rad/s for 0.2 s is 0.24 rad.
    assert drive(make_spec(EMPTY, robot=JACKAL), (3, 0.25, 0, 0, 0), (9, 9), (-1, 1), 10) == (1, True)


def test_a_robot_reverses_at_its_least_speed(make_spec):
    env = NavVectorEnv(make_spec(EMPTY, robot={"minSpeed": -0.5, "maxAcceleration": 50.0}), 1)
    env.reset()
    env.arrays.robot[0] = [5, 5, 0, 0, 0, 9, 9, math.dist((5, 5), (9, 9)), 0]
    env.step(torch.tensor([[-1.0, 0.0]]))
    assert env.arrays.robot[0, [a.X, a.SPEED]].tolist() == pytest.approx([4.9, -0.5], abs=1e-6)
    env.step(torch.tensor([[0.0, 0.0]]))  # the mean of -0.5 and 1
    assert env.arrays.robot[0, a.SPEED] == pytest.approx(0.25, abs=1e-6)


@settings(max_examples=25)
@given(
    speed=st.floats(-1.0, 1.0), turn=st.floats(-1.5, 1.5), heading=st.floats(-3.0, 3.0), seconds=st.floats(0.05, 0.4)
)
def test_driving_follows_the_circle_of_its_velocities(speed, turn, heading, seconds):
    robot = np.array([5, 5, heading, speed, turn, 0, 0, 0, 0], f32)
    move(robot, f32(1.0), f32(1.0), f32(seconds))
    end = heading + turn * seconds
    if abs(turn) < 1e-3:
        x, y = 5 + speed * seconds * math.cos(heading), 5 + speed * seconds * math.sin(heading)
        tolerance = 1e-3
    else:
        x = 5 + speed / turn * (math.sin(end) - math.sin(heading))
        y = 5 - speed / turn * (math.cos(end) - math.cos(heading))
        tolerance = 1e-5
    assert robot[:2].tolist() == pytest.approx([x, y], abs=tolerance)
    assert math.remainder(float(robot[2]) - end, 2 * math.pi) == pytest.approx(0, abs=1e-5)


def test_discrete_choices_are_commands_of_the_table(make_spec):
    spec = make_spec(EMPTY, actions={"discrete": {"speeds": 3, "turnRates": 5}}, robot={"maxTurnAcceleration": 100.0})
    env = NavVectorEnv(spec, 4)
    assert (env.actions.size, env.actions.discrete) == (15, True)
    env.reset()
    env.arrays.robot[:, : a.TURN + 1] = [5, 5, 0, 0.5, 0]
    env.step(
        torch.tensor([0, 4, 7, 14])
    )  # speeds 0, 0, 0.5, 1 (0.1 and 0.9 by the limit); turn rates -1.5, 1.5, 0, 1.5
    assert env.arrays.robot[:, a.SPEED].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.9], abs=1e-6)
    assert env.arrays.robot[:, a.TURN].tolist() == pytest.approx([-1.5, 1.5, 0.0, 1.5], abs=1e-6)
    with pytest.raises(ValueError, match="0 to 14"):
        env.step(torch.tensor([0, 0, 0, 15]))


def test_a_single_speed_is_the_largest_and_a_single_turn_rate_none(make_spec):
    spec = make_spec(EMPTY, actions={"discrete": {"speeds": 1, "turnRates": 1}})
    assert a.command_table(spec.env.nav).tolist() == [[1.0, 0.0]]


def test_the_change_of_the_action_costs_its_square(make_spec):
    off = {"goal": 0.0, "collision": 0.0, "step": 0.0, "progress": 0.0, "proximity": 0.0}
    env = NavVectorEnv(make_spec(EMPTY, reward={**off, "smoothness": -0.5}), 1)
    env.reset()
    rewards = [float(env.step(torch.tensor([act])).reward) for act in ([-1.0, 0.5], [-0.6, 0.2], [-0.6, 5.0])]
    # The first costs nothing; then 0.4^2 + 0.3^2, then from 0.2 to the limit 1: 0.8^2.
    assert rewards == pytest.approx([0.0, -0.5 * 0.25, -0.5 * 0.64], abs=1e-6)


def test_the_near_term_counts_from_the_centre(make_spec):
    off = {"step": 0.0, "progress": 0.0, "proximity": 0.0, "near": -0.1, "nearMeters": 0.4}
    for x, expected in ((0.39, -0.1), (0.41, 0.0)):
        env = NavVectorEnv(make_spec(EMPTY, reward=off), 1)
        env.reset()
        env.arrays.robot[0, : a.TURN + 1] = [x, 5, 0, 0, 0]
        assert float(env.step(torch.tensor([[-1.0, 0.0]])).reward) == pytest.approx(expected, abs=1e-6)
