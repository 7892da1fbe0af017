"""How robot and sensors differ from the ideal: noise and dropout of the scan, latency, slip, dynamics.

Everything is a draw at a counter of (level, step, who), each kind with a stream of its own; nothing is drawn, and not a
bit is changed, where a kind is 0. `who` is 0 for the learner; the other robots are 1, 2, ...
"""

import math

import numpy as np

from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import BEAMS, BODY, SLIP, uniforms

f32 = np.float32
MOST = f32(2.0)  # standard deviations: where the draws of slip are cut, so that substeps stay short enough
LIMITS, LATENCY = np.int64(0), np.int64(1)  # draws of BODY


@kernel
def normals(u0, u1):
    """Two independent standard normals from two uniforms in [0, 1) (Box and Muller 1958)."""
    size = f32(math.sqrt(f32(-2.0) * f32(math.log(f32(1.0) - u0))))
    angle = f32(2.0 * math.pi) * u1
    return size * f32(math.cos(angle)), size * f32(math.sin(angle))


@kernel
def moment(step, who):
    """Name a step of one robot in a draw's sub-counter; an episode has at most 10,000 steps."""
    return step | (np.int64(who) << np.int64(16))


@kernel
def disturb(ranges, params, key, step, who, lane, lanes):
    """Disturb a scan in place, in metres: beams that see something by noise, some of all see nothing.

    What is farther than the range is no hit and has no noise. Lane k of `lanes` does the k-th beam and so on.
    """
    for b in range(lane, ranges.shape[0], lanes):
        u0, u1, u2, _ = uniforms(key, BEAMS, moment(step, who), b)
        if u2 < params.scan_dropout:
            ranges[b] = params.lidar_range
        elif params.scan_noise > 0 and ranges[b] < params.lidar_range:
            error, _ = normals(u0, u1)
            ranges[b] = min(max(ranges[b] + params.scan_noise * error, f32(0.0)), params.lidar_range)


@kernel
def limits(params, key, who):
    """This episode's limits of speed, turn rate and both accelerations, as shares of the nominal ones."""
    if params.dynamics == 0:
        return f32(1.0), f32(1.0), f32(1.0), f32(1.0)
    u0, u1, u2, u3 = uniforms(key, BODY, np.int64(who), LIMITS)
    low = f32(1.0) - params.dynamics
    wide = f32(2.0) * params.dynamics
    return low + wide * u0, low + wide * u1, low + wide * u2, low + wide * u3


@kernel
def grip(params, key, step, who):
    """What share of the wheels' speed and turn rate the body makes at this step."""
    if params.slip == 0:
        return f32(1.0), f32(1.0)
    u0, u1, _, _ = uniforms(key, SLIP, moment(step, who), LIMITS)
    n0, n1 = normals(u0, u1)
    along = f32(1.0) + params.slip * min(max(n0, -MOST), MOST)
    around = f32(1.0) + params.slip * min(max(n1, -MOST), MOST)
    return along, around


@kernel
def stand(params):
    """The first entry of the action that asks for speed 0."""
    return f32(-2.0) * params.min_speed / (params.max_speed - params.min_speed) - f32(1.0)


@kernel
def delayed(params, queue, key, step, who, forward, turn):
    """Return the action that takes effect now, and keep this step's for later; before the first: stand still.

    `queue` float32 [latencySteps, 2] holds the actions of the last steps, that of step t in row t % latency.
    """
    if params.latency == 0:
        return forward, turn
    u0, _, _, _ = uniforms(key, BODY, np.int64(who), LATENCY)
    late = int(u0 * f32(params.latency + 1))
    if late == 0:
        return forward, turn
    row = step % late
    before = queue[row, 0], queue[row, 1]
    queue[row, 0] = min(max(forward, f32(-1.0)), f32(1.0))
    queue[row, 1] = min(max(turn, f32(-1.0)), f32(1.0))
    if step < late:
        return stand(params), f32(0.0)
    return before
