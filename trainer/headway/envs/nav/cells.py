"""Coarse random cells, by the rule of JaxNav's worlds (Rutherford et al. 2024): first how many, then which."""

import numpy as np

from headway.envs.nav.clutter import place_rectangle
from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import LAYOUT, integer, uniforms

f32 = np.float32
FIRST_DRAW = np.int64(2000)


@kernel
def build_cells(world, queue, stage, key, attempt, easing):
    """Make n of the coarse cells solid, n uniform below the largest number; each of `block` x `block` cells."""
    height = np.int64(stage.height)
    width = np.int64(stage.width)
    block = np.int64(stage.block)
    across = (width - 2) // block
    total = across * ((height - 2) // block)
    u0, _, _, _ = uniforms(key, LAYOUT, attempt, FIRST_DRAW)
    wanted = int(u0 * f32(int(stage.fill * f32(total) + f32(1e-3))) * easing)
    for k in range(total):
        queue[k] = k
    for k in range(wanted):  # the beginning of a random permutation (Fisher and Yates)
        other = k + integer(key, LAYOUT, attempt, FIRST_DRAW + 1 + k, total - k)
        chosen = np.int64(queue[other])
        queue[other] = queue[k]
        x = 1 + (chosen % across) * block
        y = 1 + (chosen // across) * block
        place_rectangle(world.grid, height, width, x, y, block, block)
