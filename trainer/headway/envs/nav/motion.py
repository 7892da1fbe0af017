"""A differential drive: velocities within its limits, and the exact arc of a substep."""

import math

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.jit import kernel
from headway.envs.nav.noise import delayed, limits

f32 = np.float32
PI = f32(math.pi)


@kernel
def steer(params, robot, forward, turn, shares):
    """Set the velocities for this step: the action's, as far as the acceleration limits allow.

    `shares` of the nominal limits are this robot's: of speed, turn rate and both accelerations.
    """
    share = (min(max(forward, f32(-1.0)), f32(1.0)) + f32(1.0)) * f32(0.5)
    speed = (params.min_speed + share * (params.max_speed - params.min_speed)) * shares[0]
    rate = min(max(turn, f32(-1.0)), f32(1.0)) * params.max_turn * shares[1]
    faster = params.speed_change * shares[2]
    sharper = params.turn_change * shares[3]
    robot[a.SPEED] = min(max(speed, robot[a.SPEED] - faster), robot[a.SPEED] + faster)
    robot[a.TURN] = min(max(rate, robot[a.TURN] - sharper), robot[a.TURN] + sharper)


@kernel
def command(params, robot, queue, key, step, who, forward, turn):
    """Let an action reach the wheels: after this episode's latency, within this episode's limits."""
    forward, turn = delayed(params, queue, key, step, who, forward, turn)
    steer(params, robot, forward, turn, limits(params, key, who))


@kernel
def drive(robot, along, around, seconds):
    """Move along the exact arc of constant velocities: a chord of v t sinc(w t / 2) at the mean heading.

    `along` and `around`: what share of the wheels' speed and turn rate the body makes.
    """
    half = f32(0.5) * robot[a.TURN] * around * seconds
    sinc = f32(math.sin(half)) / half if abs(half) > f32(1e-4) else f32(1.0)
    chord = robot[a.SPEED] * along * seconds * sinc
    robot[a.X] += chord * f32(math.cos(robot[a.HEADING] + half))
    robot[a.Y] += chord * f32(math.sin(robot[a.HEADING] + half))
    heading = robot[a.HEADING] + f32(2.0) * half
    if heading > PI:
        heading -= f32(2.0) * PI
    elif heading < -PI:
        heading += f32(2.0) * PI
    robot[a.HEADING] = heading
