"""ORCA against pyrvo, the authors' own library, and against cases that can be done by hand."""

import numpy as np
import pyrvo
import pytest
from headway.envs.nav import orca

HORIZON, STEP, SIGHT, MOST = 3.0, 0.2, 5.0, 10
f32 = np.float32


def ours(place, velocity, wanted, radius, top):
    found = np.zeros_like(velocity)
    for i in range(len(place)):
        squared = ((place - place[i]) ** 2).sum(1)
        near = [j for j in np.argsort(squared, kind="stable") if j != i and squared[j] < SIGHT**2][:MOST]
        lines, room = np.zeros((2, orca.MAX_LINES, 4), f32)
        for k, j in enumerate(near):
            orca.avoid(
                lines[k], *(place[j] - place[i]), *velocity[i], *velocity[j], radius[i] + radius[j],
                f32(HORIZON), f32(STEP), f32(0.5),
            )  # fmt: skip
        found[i] = orca.solve(lines, orca.ZERO, len(near), top[i], *wanted[i], room)
    return found


def theirs(place, velocity, wanted, radius, top):
    world = pyrvo.RVOSimulator()
    world.set_time_step(STEP)
    world.set_agent_defaults(SIGHT, MOST, HORIZON, HORIZON, 0.3, 1.0)
    for i in range(len(place)):
        agent = world.add_agent(tuple(map(float, place[i])))
        world.set_agent_velocity(agent, tuple(map(float, velocity[i])))
        world.set_agent_pref_velocity(agent, tuple(map(float, wanted[i])))
        world.set_agent_radius(agent, float(radius[i]))
        world.set_agent_max_speed(agent, float(top[i]))
    world.do_step()
    return np.array([(world.get_agent_velocity(i).x, world.get_agent_velocity(i).y) for i in range(len(place))])


def crowd(seed, side):
    """Two to ten agents of any speeds in a square; the smaller it is, the more of them overlap."""
    draw = np.random.default_rng(seed)
    n = draw.integers(2, 11)
    place, velocity, wanted = draw.uniform(0, side, (n, 2)), draw.uniform(-1, 1, (n, 2)), draw.uniform(-1, 1, (n, 2))
    rest = draw.uniform(0.2, 0.4, n), draw.uniform(0.5, 1.5, n)
    return [x.astype(f32) for x in (place, velocity, wanted, *rest)]


@pytest.mark.parametrize("side", [2.0, 3.5, 6.0])
def test_new_velocities_are_those_of_the_authors_library(side):
    # Single precision here and there: almost parallel lines may amplify its rounding in a few agents of a thousand.
    errors = np.concatenate(
        [np.abs(ours(*crowd(seed, side)) - theirs(*crowd(seed, side))).max(1) for seed in range(150)]
    )
    assert (errors < 1e-4).mean() > 0.995
    assert errors.max() < 0.02
    moved = np.concatenate([np.abs(ours(*crowd(s, side)) - crowd(s, side)[2]).max(1) for s in range(20)])
    assert (moved > 0.01).mean() > 0.2  # and the neighbours do change what was wanted


def test_two_that_meet_head_on_each_do_half():
    # 2 m apart, radii 0.25, closing at 2 m/s. Over 2 s they may close 1.5 m: 0.75 m/s; each gives up half of 1.25.
    line = np.zeros(4, f32)
    orca.avoid(line, *map(f32, (2, 0, 1, 0, -1, 0, 0.5, 2, 0.2, 0.5)))
    assert line[3] != 0  # wanting exactly straight on, the nearest way out is to one side: a leg
    assert orca.violation(line, f32(1.0), f32(0.0)) > 0.1
    slow = np.zeros(4, f32)  # at 0.8 m/s of closing speed the cut-off disc is nearest: 0.75 is allowed
    orca.avoid(slow, *map(f32, (2, 0, 0.4, 0, -0.4, 0, 0.5, 2, 0.2, 0.5)))
    assert slow.tolist() == pytest.approx([0.375, 0.0, 0.0, 1.0], abs=1e-5)


def test_whoever_overlaps_is_apart_after_one_step():
    line = np.zeros(4, f32)  # 0.1 m of overlap: 0.1 m / 0.2 s = 0.5 m/s, all of it by one agent
    orca.avoid(line, *map(f32, (0.4, 0, 0, 0, 0, 0, 0.5, 2, 0.2, 1)))
    assert line.tolist() == pytest.approx([-0.5, 0.0, 0.0, 1.0], abs=1e-5)


def test_a_wall_is_never_given_up_for_a_neighbour():
    lines, room = np.zeros((2, orca.MAX_LINES, 4), f32)
    orca.keep_off(lines[0], f32(0), f32(1), f32(0.05), f32(0.5))  # a wall below, 0.05 m away: v_y >= -0.1
    orca.avoid(lines[1], *map(f32, (0, 0.3, 0, 0, 0, -1, 0.5, 2, 0.2, 1)))  # someone presses down from above
    x, y = orca.solve(lines, np.int64(1), 2, f32(1), f32(0), f32(0), room)
    assert y == pytest.approx(-0.1, abs=1e-5)
    assert np.hypot(x, y) <= 1 + 1e-5
