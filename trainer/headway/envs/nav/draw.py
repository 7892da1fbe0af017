"""Which level an episode plays: its stage, whether it is a remembered one, and which scene it lies in.

All of it is drawn from counters: of the episode, for what is chosen anew each time; of the level, for what a level
always is.
"""

import numpy as np

from headway.envs.nav import arrays as a
from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import SCENE, STAGE, integer, uniforms
from headway.envs.nav.scenes import MAP
from headway.envs.nav.shapes import World, map_world

f32 = np.float32
ZERO, ONE = np.int64(0), np.int64(1)


@kernel
def episode_key(params, count, i):
    """Name the draws of environment i's present episode: (seed, split, stage, episode, index)."""
    index = params.offset + i
    episode = count[a.EPISODE]
    if params.stride > 0:  # every level id once: ids i, i + stride, i + 2 stride ...
        index += episode * params.stride
        episode = 0
    return params.seed, params.split, count[a.STAGE], episode, index


@kernel
def level_key(params, count):
    """Name the level of the present episode and all its draws: the same whenever a level is played again."""
    return params.seed, params.split, count[a.STAGE], count[a.LEVEL_EPISODE], count[a.LEVEL_INDEX]


@kernel
def draw_stage(params, count, i, stage):
    """Choose the stage of the episode that begins: the present one, or now and then an earlier one."""
    count[a.STAGE] = 0
    u0, u1, _, _ = uniforms(episode_key(params, count, i), STAGE, ZERO, ZERO)
    count[a.STAGE] = int(u1 * f32(stage)) if stage > 0 and u0 < params.replay else stage


@kernel
def find_level(remembered, point):
    """Find the first remembered level whose sum of weights is above `point`, by bisection."""
    low = 0
    high = remembered.shape[0] - 1
    while low < high:
        middle = (low + high) // 2
        if remembered[middle, 2] > point:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def draw_level(params, arrays, count, i, stage):
    """Fill in STAGE, LEVEL_EPISODE, LEVEL_INDEX, SLOT and SCENE of the episode that begins."""
    draw_stage(params, count, i, stage)
    key = episode_key(params, count, i)
    _, _, _, count[a.LEVEL_EPISODE], count[a.LEVEL_INDEX] = key
    count[a.SLOT] = -1
    levels = arrays.remembered.shape[0]
    if levels > 0 and count[a.STAGE] == stage and uniforms(key, STAGE, ZERO, ONE)[0] < params.remember:
        slot = find_level(arrays.remembered, integer(key, STAGE, ONE, ZERO, arrays.remembered[levels - 1, 2]))
        count[a.LEVEL_EPISODE] = arrays.remembered[slot, 0]
        count[a.LEVEL_INDEX] = arrays.remembered[slot, 1]
        count[a.SLOT] = slot
    draw_scene(params, arrays.choices[count[a.STAGE]], count)


@kernel
def draw_scene(params, choices, count):
    """Draw the entry of the mixture evenly, then its scene evenly: a part of what the level is."""
    key = level_key(params, count)
    entry = 1 + integer(key, SCENE, ZERO, ZERO, choices[0, 0])
    count[a.SCENE] = choices[entry, 0] + integer(key, SCENE, ZERO, ONE, choices[entry, 1])


@kernel(allocates=True, inline="always")
def world_of(arrays, stage, i):
    """Select the world that environment i drives in."""
    height = stage.height
    width = stage.width
    if stage.kind == MAP:
        return map_world(arrays, stage.map, height, width)
    heads = arrays.heads[i, :height, :width]
    return World(arrays.grid[i, :height, :width], heads, arrays.links[i], arrays.shapes[i], arrays.used[i])


@kernel(allocates=True, inline="always")
def open_cells(arrays, stage, i):
    """Where robots of environment i can be put and go: (cells, how many of them)."""
    cells = arrays.queue[i]
    count = arrays.reachable[i]
    if stage.kind == MAP:
        cells = arrays.places[stage.map]
        count = arrays.place_count[stage.map]
    return cells, count
