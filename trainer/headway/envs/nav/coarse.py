"""The range scanner in worlds of few, large, solid cells: beams against the borders of the cells, without a march.

Where a beam crosses the border to the next column is a product, and what it meets there is one bit of a word that holds
the column; likewise with rows. So nothing is looked up, no lane waits for another, and LLVM makes vector instructions
of all of it. The work grows with the cells in reach, where that of `lidar.march` grows with what is in the way: this
one is for grids of at most SIDE cells a side.
"""

import numpy as np

from headway.envs.nav.jit import kernel
from headway.envs.nav.shapes import SHAPES

f32 = np.float32
i32 = np.int32
u32 = np.uint32
SIDE = 32  # a row or a column fits into the bits of one word
LAST = f32(SIDE - 1)
# Which cell lies behind a border is asked so many cells before it: a beam that goes through the corner between two
# solid cells must not slip between them by rounding, which is less than this.
BEFORE = f32(2e-5)


@kernel
def is_coarse(world):
    """Say whether `pack` and `cross` can be used."""
    return world.used[SHAPES] == 0 and max(world.grid.shape[0], world.grid.shape[1]) <= SIDE


@kernel
def pack(grid, words):
    """Write solid cells as bits: bit y of words[x], and bit x of words[SIDE + y]."""
    height, width = grid.shape
    words[:] = 0
    for y in range(height):
        row = u32(0)
        for x in range(width):
            solid = u32(1) if grid[y, x] == 0 else u32(0)
            words[x] |= solid << u32(y)
            row |= solid << u32(x)
        words[SIDE + y] = row


@kernel
def cross(words, size, along, aside, way, inverse, turn, bound):
    """Shorten the lanes that enter a solid cell across a border of one axis, lengths in cells.

    `words` [SIDE]: the axis' columns, `size` of them; `along`, `aside`: the scanner's place on this axis and the other;
    `way`, `turn`: the lanes' directions on both, and `inverse` of the first; `bound`: what is shortened.
    """
    cell = int(along)
    for k in range(max(cell, size - 1 - cell)):
        ahead = words[min(cell + 1 + k, size - 1)]
        behind = words[max(cell - 1 - k, 0)]
        to_ahead = f32(cell + 1 + k) - along
        to_behind = f32(cell - k) - along
        live = i32(0)
        for lane in range(way.shape[0]):
            forward = way[lane] > 0
            t = (to_ahead if forward else to_behind) * inverse[lane]
            at = aside + (t - BEFORE) * turn[lane]
            bit = u32(i32(min(max(at, f32(0.0)), LAST))) & u32(31)
            solid = u32(u32(ahead if forward else behind) >> bit) & u32(1)
            best = bound[lane]
            bound[lane] = t if (t < best) & (solid > 0) else best
            live += i32(1) if t < best else i32(0)
        if live == 0:
            return
