"""Philox4x32-10, the counter-based generator of Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3").

A draw is a pure function of its counter and key: there is no state to lose, and any environment can be computed by any
rank, thread or device with the same result.

Key: (seed, split and stage and stream). Counter: (draw, sub-counter, episode, index). Splits have different keys, so
train, validation and test levels never share a stream.
"""

import numpy as np

from headway.envs.nav.jit import kernel

u32 = np.uint32
u64 = np.uint64

SPLITS = {"train": 0, "validation": 1, "test": 2}

# Streams: what a draw is for. Each has its own key, so adding one never shifts another. numpy's integers, because
# numba compiles a function once for each Python constant that it is called with.
LAYOUT = np.int64(1)  # obstacles
PLACE = np.int64(2)  # start, heading, goal
CROWD = np.int64(3)  # where people begin and how fast they walk
WALK = np.int64(4)  # where people go next
STAGE = np.int64(5)  # which stage an episode is of, and which remembered level it plays
SCENE = np.int64(6)  # which world of a mixture, which file of a list
BEAMS = np.int64(7)  # noise and dropout of each beam
SLIP = np.int64(8)  # slip at each step
BODY = np.int64(9)  # limits and latency of an episode
TRIP = np.int64(10)  # where other robots are put and go
ROUTE = np.int64(11)  # noise of a fixed start


@kernel
def philox(c0, c1, c2, c3, k0, k1):
    """Four uint32 from a 128-bit counter and a 64-bit key, all uint32 words."""
    for _ in range(10):
        p0 = u64(0xD2511F53) * u64(c0)
        p1 = u64(0xCD9E8D57) * u64(c2)
        c0 = u32(p1 >> u64(32)) ^ c1 ^ k0
        c1 = u32(p1 & u64(0xFFFFFFFF))
        c2 = u32(p0 >> u64(32)) ^ c3 ^ k1
        c3 = u32(p0 & u64(0xFFFFFFFF))
        k0 = u32(u64(k0) + u64(0x9E3779B9))
        k1 = u32(u64(k1) + u64(0xBB67AE85))
    return c0, c1, c2, c3


@kernel
def uniforms(key, stream, sub, draw):
    """Draw number `draw` of a stream: four float32 in [0, 1).

    `key` is (seed, split, stage, episode, index) as int64; `sub` separates draws of one stream, such as people.
    """
    seed, split, stage, episode, index = key
    r0, r1, r2, r3 = philox(
        u32(draw), u32(sub), u32(episode), u32(index), u32(seed), u32((split << 24) | (stage << 8) | stream)
    )
    scale = np.float32(2.0**-24)
    return (
        np.float32(r0 >> u32(8)) * scale,
        np.float32(r1 >> u32(8)) * scale,
        np.float32(r2 >> u32(8)) * scale,
        np.float32(r3 >> u32(8)) * scale,
    )


@kernel
def integer(key, stream, sub, draw, bound):
    """Draw an integer from 0 to bound - 1, int64; `bound` up to 2**40. Uneven by less than bound / 2**62."""
    seed, split, stage, episode, index = key
    r0, r1, _, _ = philox(
        u32(draw), u32(sub), u32(episode), u32(index), u32(seed), u32((split << 24) | (stage << 8) | stream)
    )
    return np.int64(((u64(r0) << u64(32)) | u64(r1)) >> u64(2)) % np.int64(bound)
